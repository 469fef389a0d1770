"""The endpoints of the Ole desktop client, with the options as it sends them."""

import json
import shutil

import pytest
import requests
from websockets.sync.client import connect

from woolly import STORIES, Server

MESSAGES = [{"role": "user", "content": "Tell me a story."}]
OPTIONS = {"temperature": 0.8, "top_p": 0.9, "top_k": 40, "max_tokens": 8, "repetition_penalty": 1.1, "stop_sequences": []}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A models folder with two models, and a file outside it."""
    folder = tmp_path_factory.mktemp("ole") / "models"
    folder.mkdir()
    for name in ["first.gguf", "second.gguf", "../outside.gguf"]:
        shutil.copy(STORIES, folder / name)
    (folder / "link.gguf").symlink_to(folder.parent / "outside.gguf")
    return folder


@pytest.fixture(scope="module")
def ole(folder):
    with Server(folder.parent, "--models-dir", folder, "--ctx", 256, model=folder / "first.gguf") as server:
        yield server


def events(response: requests.Response) -> list[dict]:
    """The events of a stream."""
    lines = response.content.decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def socket_address(server: Server) -> str:
    return server.url.replace("http", "ws") + "/v1/stream"


@pytest.mark.parametrize("path", ["health", "health/ready", "health/live", "models", "metrics"])
def test_reads(ole, path):
    assert ole.get(f"/api/v1/{path}").status_code == 200


def test_load_and_unload(ole):
    loaded = ole.post("/api/v1/models/second/load", path="second.gguf")
    assert loaded.status_code == 200, loaded.text
    names = ole.get("/api/v1/models").text
    assert "second" in names and "first" in names
    assert ole.get("/api/v1/models/second").status_code == 200
    answer = ole.post("/api/v1/inference/chat", model="second", messages=MESSAGES, **OPTIONS)
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"]
    assert ole.post("/api/v1/models/second/unload").status_code == 200
    assert ole.get("/api/v1/models/nothing").status_code == 404


@pytest.mark.parametrize("path", ["../outside.gguf", "/etc/passwd", "link.gguf", "no/../../outside.gguf", "", "\0", "."])
def test_no_path_leads_outside(ole, path):
    response = ole.post("/api/v1/models/outside/load", path=path)
    assert 400 <= response.status_code < 500, response.text
    assert "root:" not in response.text and ole.alive()


@pytest.mark.parametrize("name", ["..%2Foutside", "..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "..%5Coutside"])
def test_no_name_leads_outside(ole, name):
    for response in [ole.post(f"/api/v1/models/{name}/load"), ole.get(f"/api/v1/models/{name}")]:
        assert 400 <= response.status_code < 500, response.text


def test_inference(ole):
    chat = ole.post("/api/v1/inference/chat", messages=MESSAGES, seed=3, **OPTIONS).json()
    assert chat["choices"][0]["message"]["content"] and chat["usage"]["completion_tokens"] == 8
    complete = ole.post("/api/v1/inference/complete", prompt="Once upon a time", seed=3, **OPTIONS)
    assert complete.status_code == 200 and complete.json()
    *tokens, done = events(ole.post("/api/v1/inference/stream", messages=MESSAGES, seed=3, **OPTIONS))
    assert all(token["type"] == "token" for token in tokens) and done["type"] == "done"
    assert "".join(token["content"] for token in tokens) == chat["choices"][0]["message"]["content"]
    assert done["usage"]["total_tokens"] == chat["usage"]["total_tokens"]


def test_stop_sequences(ole):
    greedy = {**OPTIONS, "temperature": 0, "repetition_penalty": 1, "max_tokens": 12}
    whole = ole.post("/api/v1/inference/chat", messages=MESSAGES, **greedy).json()["choices"][0]["message"]["content"]
    word = whole.split()[-1]
    cut = ole.post("/api/v1/inference/chat", messages=MESSAGES, **{**greedy, "stop_sequences": [word]}).json()
    assert cut["choices"][0]["message"]["content"] == whole.split(word)[0]


def test_websocket(ole):
    with connect(socket_address(ole)) as socket:
        for _ in range(2):
            socket.send(json.dumps({"prompt": "Once upon a time", "max_tokens": 8, "stream": True, "temperature": 0}))
            messages = []
            while not messages or messages[-1]["type"] != "done":
                messages.append(json.loads(socket.recv(timeout=60)))
            tokens, done = messages[:-1], messages[-1]
            assert len(tokens) > 3 and all(message["type"] == "token" for message in tokens)
            assert done["usage"]["completion_tokens"] == 8
            text = "".join(message["content"] for message in tokens)
            assert text == ole.complete("Once upon a time", n_predict=8)["content"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"prompt": 5}', '{"max_tokens": 3}', "\0" * 100, "[" * 100_000])
def test_websocket_errors(ole, text):
    with connect(socket_address(ole)) as socket:
        socket.send(text)
        message = json.loads(socket.recv(timeout=60))
        assert message["type"] == "error" and message
        socket.send(json.dumps({"prompt": "Once", "max_tokens": 2, "stream": True}))
        assert json.loads(socket.recv(timeout=60))["type"] == "token"
