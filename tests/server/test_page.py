"""The page to chat on, in a real browser."""

import os
import subprocess

import pytest

from woolly import NODE, SMOLLM2, Server, until


def browse(server: Server, *arguments: str) -> None:
    """Runs a case of `page.mjs`."""
    run = subprocess.run(["node", "page.mjs", *arguments], cwd=NODE, env=os.environ, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("case", ["chat", "narrow"])
def test_page(tmp_path, case):
    """Answers stream in, one after the other, on any screen."""
    with Server(tmp_path, "--ctx", 512, "--n-predict", 24) as server:
        browse(server, case, server.url)


def test_stop(tmp_path):
    """An answer without end is stopped, on the page and on the server."""
    with Server(tmp_path, "--ctx", 4096, model=SMOLLM2) as server:
        browse(server, "stop", server.url)
        until(server.idle, "the slot is still busy")


def test_key(tmp_path):
    """Who has no key is told so; with one the page works."""
    with Server(tmp_path, "--ctx", 512, "--n-predict", 8, "--api-key", "secret") as server:
        browse(server, "key", server.url, "secret")
