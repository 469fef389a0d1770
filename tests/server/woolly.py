"""`woolly serve` as a child process, and what can be seen of it from outside.

The environment says where things are: WOOLLY_BIN the program, WOOLLY_STORIES the tiny model, WOOLLY_MODELS the folder of
the real ones, WOOLLY_NGINX nginx, WOOLLY_NODE the folder of the Node part with its packages installed.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

BIN = os.environ["WOOLLY_BIN"]
STORIES = Path(os.environ["WOOLLY_STORIES"])
SMOLLM2 = Path(os.environ["WOOLLY_MODELS"]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
NGINX = os.environ["WOOLLY_NGINX"]
NODE = Path(os.environ["WOOLLY_NODE"])

# What nothing here takes; who waits longer waits for something that does not come.
PATIENCE = 60


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(condition, what: str, patience: float = PATIENCE):
    """Waits for something to be so, and returns what the condition returned."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.02)
    raise TimeoutError(what)


class Server:
    """A running server; its log is in `log`."""

    def __init__(self, folder: Path, *options: object, model: Path | None = STORIES, env: dict | None = None, **popen):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"serve-{self.port}.log"
        models = [] if model is None else [model]
        self.command = [BIN, "serve", *map(str, models), "--port", str(self.port), *map(str, options)]
        self.env = {**os.environ, **(env or {})}
        self.popen = popen
        self.process: subprocess.Popen | None = None

    def start(self) -> "Server":
        """Starts it and waits until it is ready."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env, **self.popen)
        until(self.ready, f"not ready: {self.command}\n{self.said()}")
        return self

    def ready(self) -> bool:
        """Whether it answers that it is."""
        if self.process.poll() is not None:
            raise RuntimeError(f"ended with {self.process.returncode}: {self.command}\n{self.said()}")
        try:
            return requests.get(f"{self.url}/health", timeout=PATIENCE).status_code == 200
        except requests.ConnectionError:
            return False

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def alive(self) -> bool:
        """Whether it is the same process and answers."""
        return self.process.poll() is None and requests.get(f"{self.url}/health", timeout=PATIENCE).status_code == 200

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def post(self, url: str, /, timeout: float = 300, **body) -> requests.Response:
        """Sends JSON."""
        return requests.post(self.url + url, json=body, timeout=timeout)

    def get(self, path: str, **options) -> requests.Response:
        """Fetches."""
        return requests.get(self.url + path, timeout=PATIENCE, **options)

    def complete(self, prompt, **options) -> dict:
        """An answer of `/completion`; greedy unless told otherwise."""
        body = {"prompt": prompt, "temperature": 0, "n_predict": 16, **options}
        response = self.post("/completion", **body)
        assert response.status_code == 200, f"{response.status_code} {response.text}"
        return response.json()

    def idle(self) -> bool:
        """Whether no slot works."""
        return not any(slot["is_processing"] for slot in self.get("/slots").json())

    def memory(self) -> int:
        """Bytes of its own memory: without the pages of the model's file."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        """Threads."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))
