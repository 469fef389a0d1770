"""A short load: no error and no leak. How fast it is, `cargo xtask load` measures."""

import asyncio
import math

from load import load
from woolly import Server, until


def test_sixteen_clients(tmp_path):
    with Server(tmp_path, "--parallel", 16, "--ctx", 2048, "--cache-ram", "16M") as server:
        warm = asyncio.run(load(server, 16, math.inf, iter(range(96))))
        memory, descriptors = server.memory(), server.descriptors()
        measured = asyncio.run(load(server, 16, math.inf, iter(range(100, 292))))
        assert warm.errors == [] and measured.errors == []
        assert measured.answers == 192
        until(server.idle, "slots are still busy")
        until(lambda: server.descriptors() <= descriptors, "connections are still open")
        # Caches have grown to their bounds while it warmed up; what each answer left behind would come on top.
        assert server.memory() - memory < 0.1 * memory
