"""What the tests of the server share."""

import pytest

from woolly import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server of the tiny model that many tests share; they leave it as they found it."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, "--parallel", 4, "--ctx", 512) as server:
        yield server
        assert server.alive(), server.said()
        assert server.idle()
