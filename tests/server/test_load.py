"""A short load: no error and no leak. How fast it is, `cargo xtask load` measures."""

import asyncio
import math

from load import load
from woolly import SMOLLM2, Server, until


def test_sixteen_clients(tmp_path):
    with Server(tmp_path, "--parallel", 16, "--ctx", 1024, model=SMOLLM2) as server:
        warm = asyncio.run(load(server, 16, math.inf, iter(range(16))))
        memory, descriptors = server.memory(), server.descriptors()
        measured = asyncio.run(load(server, 16, math.inf, iter(range(100, 132))))
        assert warm.errors == [] and measured.errors == []
        assert measured.answers == 32
        until(server.idle, "slots are still busy")
        until(lambda: server.descriptors() <= descriptors, "connections are still open")
        # The caches of slots grow to their bound while it warms up; what each answer left behind would come on top.
        assert server.memory() - memory < 0.1 * memory + (32 << 20)
