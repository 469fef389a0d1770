"""What `deploy/` has: nginx in front of two instances, and files that name options and metrics that exist."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import requests
import yaml
from websockets.sync.client import connect

from woolly import BIN, NGINX, Server, free_port, until

DEPLOY = Path(__file__).parents[2] / "deploy"
STORY = "Once upon a time there was a little girl who lived in a house in the forest."


class Nginx:
    """The configuration of `deploy/nginx` in front of the given servers."""

    def __init__(self, folder: Path, servers: list[Server]):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        conf = (DEPLOY / "nginx/woolly.conf").read_text()
        for at, server in enumerate(servers, 1):
            assert conf.count(f"127.0.0.1:808{at}") == 1
            conf = conf.replace(f"127.0.0.1:808{at}", f"127.0.0.1:{server.port}")
        (folder / "woolly.conf").write_text(conf.replace("listen 8080;", f"listen 127.0.0.1:{self.port};"))
        paths = "".join(f"{name}_temp_path {folder}/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        main = f"pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 2; events {{}}"
        (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {paths} include {folder}/woolly.conf; }}")
        # Workers of root's nginx become `nobody`, who has to reach what is in here.
        folder.chmod(0o755)
        self.command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]

    def __enter__(self) -> "Nginx":
        self.process = subprocess.Popen(self.command)
        until(self.listens, "nginx does not listen")
        return self

    def listens(self) -> bool:
        assert self.process.poll() is None, "nginx ended"
        try:
            return requests.get(self.url + "/metrics", timeout=5).status_code == 404
        except requests.ConnectionError:
            return False

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def turn(self, conversation: str, prompt: str) -> dict:
        """An answer within a conversation."""
        body = {"prompt": prompt, "n_predict": 8, "temperature": 0}
        headers = {"X-Conversation-Id": conversation}
        response = requests.post(self.url + "/completion", json=body, headers=headers, timeout=60)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two instances and nginx."""
    folder = tmp_path_factory.mktemp("nginx")
    options = ["--parallel", 16, "--ctx", 512]
    with Server(folder, *options) as first, Server(folder, *options) as second, Nginx(folder, [first, second]) as nginx:
        yield first, second, nginx


def answered(server: Server) -> float:
    """How many tokens it has generated so far."""
    return float(re.search(r"^llamacpp:tokens_predicted_total (\S+)", server.get("/metrics").text, re.M)[1])


def test_nginx_keeps_conversations_together(pair):
    first, second, nginx = pair
    for conversation in (f"conversation {at}" for at in range(12)):
        # Begins unlike all others, so what is cached comes of this conversation.
        prompt = f"{conversation}: {STORY}"
        for turn in range(3):
            before = [answered(server) for server in (first, second)]
            answer = nginx.turn(conversation, prompt)
            assert [answered(server) for server in (first, second)] != before
            assert turn == 0 or answer["timings"]["prompt_n"] < 16
            prompt += answer["content"] + " And then"
    assert answered(first) > 0 and answered(second) > 0


def test_nginx_streams_at_once(pair):
    first, second, nginx = pair
    body = {"prompt": STORY, "n_predict": 450, "stream": True, "ignore_eos": True}
    with requests.post(nginx.url + "/completion", json=body, stream=True, timeout=60) as response:
        lines = response.iter_lines()
        first_line = next(lines)
        assert json.loads(first_line.removeprefix(b"data: "))["stop"] is False
        # The first token is here while the others are still to come.
        assert not (first.idle() and second.idle())
    until(lambda: first.idle() and second.idle(), "a client that has gone is not heard of")


def test_nginx_passes_websockets_on(pair):
    with connect(pair[2].url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"prompt": STORY, "max_tokens": 4, "stream": True}))
        assert json.loads(socket.recv(timeout=60))["type"] == "token"


def test_nginx_goes_on_without_an_instance(pair):
    first, _, nginx = pair
    expected = first.complete(STORY, n_predict=8)["content"]
    first.kill()
    for at in range(12):
        assert nginx.turn(f"conversation {at}", STORY)["content"] == expected
    first.start()
    before = answered(first)
    until(lambda: [nginx.turn(f"conversation {at}", STORY) for at in range(12)] and answered(first) > before, "not taken back")


def options_of(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]+", text))


@pytest.fixture(scope="module")
def known():
    """The options of `woolly serve`."""
    return options_of(subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True, check=True).stdout)


def manifests() -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes/woolly.yaml").read_text()))


def manifest(kind: str) -> dict:
    return next(document for document in manifests() if document["kind"] == kind)


def test_options_exist(known):
    docker = next(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("CMD "))
    systemd = next(line for line in (DEPLOY / "systemd/woolly.service").read_text().splitlines() if line.startswith("ExecStart="))
    kubernetes = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["args"]
    page = (DEPLOY.parent / "docs/server.md").read_text()
    commands = re.findall(r"^woolly serve .*$", page, re.M)
    assert commands
    for text in [docker, systemd, " ".join(kubernetes), *commands]:
        assert "serve" in text and options_of(text) <= known, text
    assert {f"--{name.replace('_', '-')}" for name in tomllib.loads(config())} <= known


def config() -> str:
    return manifest("ConfigMap")["data"]["woolly.toml"]


def test_kubernetes_configuration_serves(tmp_path):
    """The configuration, probes and the autoscaler's metric of the manifest, with a server."""
    (tmp_path / "woolly.toml").write_text(config().replace("/var/lib/woolly", str(tmp_path)))
    (tmp_path / "keys").write_text("secret\n")
    options = ["--config", tmp_path / "woolly.toml", "--api-key-file", tmp_path / "keys", "--host", "127.0.0.1"]
    pod = manifest("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    with Server(tmp_path, *options) as server:
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            assert server.get(pod[probe]["httpGet"]["path"]).status_code == 200
        metric = manifest("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
        metrics = server.get("/metrics", headers={"Authorization": "Bearer secret"})
        assert metrics.status_code == 200
        assert re.search(rf"^# TYPE {metric} gauge$", metrics.text, re.M)
        assert server.post("/completion", prompt="Hi").status_code == 401


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_unit(tmp_path):
    unit = (DEPLOY / "systemd/woolly.service").read_text().replace("/usr/local/bin/woolly", BIN)
    (tmp_path / "woolly.service").write_text(unit)
    run = subprocess.run(["systemd-analyze", "verify", tmp_path / "woolly.service"], capture_output=True, text=True)
    assert run.returncode == 0 and "woolly" not in run.stderr, run.stderr
