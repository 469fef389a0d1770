"""What goes wrong outside must not go wrong inside: no crash, no leak, the right status, and what is kept stays whole."""

import json
import os
import random
import resource
import shutil
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from woolly import STORIES, Server, until

PROMPT = "Once upon a time there was a girl who had a red ball and a small dog."


def cut_stream(server: Server, events: int) -> None:
    """Goes away after so many events of an answer that would be long."""
    body = {"prompt": PROMPT, "n_predict": 400, "stream": True, "ignore_eos": True}
    with requests.post(server.url + "/completion", json=body, stream=True, timeout=60) as response:
        lines = response.iter_lines()
        for _ in range(events):
            next(lines)


def test_clients_that_go_away_free_their_slots(server):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: cut_stream(server, at % 5), range(40)))
    until(server.idle, "slots are still busy")
    assert server.complete(PROMPT)["content"]


def test_client_that_goes_away_while_it_waits(tmp_path):
    """One slot is busy, and those who wait for it leave: the queue is empty again."""
    with Server(tmp_path, "--parallel", 1, "--ctx", 2048) as server:
        body = {"prompt": PROMPT, "n_predict": 1900, "stream": True, "ignore_eos": True}
        with requests.post(server.url + "/completion", json=body, stream=True, timeout=60) as first:
            next(first.iter_lines())
            for _ in range(10):
                with pytest.raises(requests.Timeout):
                    server.post("/completion", timeout=0.2, prompt=PROMPT, n_predict=1900, ignore_eos=True)
        until(server.idle, "the slot is still busy")
        assert server.complete(PROMPT, n_predict=4)["timings"]["predicted_n"] == 4


def slot_file(server: Server, action: str, name: str, slot: int = 0) -> requests.Response:
    return server.post(f"/slots/{slot}?action={action}", filename=name)


def test_saved_slots_survive_a_kill(tmp_path):
    """What was saved is there after kill -9 in the middle of saving, whole or not at all; damage is refused."""
    options = ["--parallel", 1, "--ctx", 512, "--slot-save-path", tmp_path]
    with Server(tmp_path, *options) as server:
        expected = server.complete(PROMPT, n_predict=40, id_slot=0)["content"]
        saved = slot_file(server, "save", "kept.bin").json()["n_saved"]
        saving = threading.Thread(target=save_again_and_again, args=(server,))
        saving.start()
        until(lambda: (tmp_path / "again.bin").exists(), "nothing was saved")
        server.kill()
        saving.join()
        server.start()
        assert slot_file(server, "restore", "kept.bin").json()["n_restored"] == saved
        assert slot_file(server, "restore", "again.bin").status_code == 200
        answer = server.complete(PROMPT, n_predict=40, id_slot=0)
        assert answer["content"] == expected and answer["timings"]["prompt_n"] == 1
        leftovers = {path.name for path in tmp_path.iterdir() if path.suffix != ".log"}
        assert {"kept.bin", "again.bin"} <= leftovers and len(leftovers) <= 3
        refuse_damage(server, tmp_path)
        assert server.complete(PROMPT, n_predict=40, id_slot=0)["content"] == expected


def save_again_and_again(server: Server) -> None:
    try:
        while slot_file(server, "save", "again.bin").ok:
            pass
    except requests.RequestException:
        pass


def refuse_damage(server: Server, folder) -> None:
    """Saved slots that are cut, changed or nothing of the kind."""
    whole = (folder / "kept.bin").read_bytes()
    middle = len(whole) // 2
    damaged = [b"", whole[:10], whole[:middle], whole[:-1], whole + b"x", b"x" + whole, os.urandom(4096)]
    damaged.append(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
    for bytes_ in damaged:
        (folder / "bad.bin").write_bytes(bytes_)
        response = slot_file(server, "restore", "bad.bin")
        assert response.status_code == 400, response.text
        assert response.json()["error"]["message"]
    for name in ["../kept.bin", "/etc/passwd", "", "none.bin", ".", "a/b", "\0"]:
        assert slot_file(server, "restore", name).status_code in (400, 404)
    for name in ["../out.bin", "/tmp/woolly-out.bin", "", ".", "\0", "x" * 500]:
        assert slot_file(server, "save", name).status_code == 400
    assert not (folder.parent / "out.bin").exists()


def test_prefix_cache_on_disk_survives_a_kill(tmp_path):
    """A prompt is found again after kill -9 and a restart; what is damaged is computed again."""
    cache = tmp_path / "cache"
    options = ["--parallel", 1, "--ctx", 512, "--cache-dir", cache]
    with Server(tmp_path, *options) as server:
        # What is short is not worth keeping.
        prompt = PROMPT * 5
        expected = server.complete(prompt)["content"]
        # Other prompts drive it out of the slot.
        for word in ["Winter", "Garden", "Letter"]:
            server.complete(f"{word}: {prompt}")
        until(lambda: cache.exists() and any(path.is_file() for path in cache.rglob("*")), "nothing on disk")
        server.kill()
        server.start()
        answer = server.complete(prompt)
        assert answer["content"] == expected and answer["timings"]["cache_n"] > 0
        server.stop()
        damage_files(cache)
        server.start()
        assert server.complete(prompt)["content"] == expected
        assert server.alive()


def damage_files(folder) -> None:
    choice = random.Random(1)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        whole = bytearray(path.read_bytes())
        if whole:
            whole[choice.randrange(len(whole))] ^= 1
        path.write_bytes(whole[:-1] if choice.random() < 0.5 else whole)


def test_model_file_replaced_while_loaded(tmp_path):
    """A new file in the place of the model's changes nothing: the loaded one is still mapped."""
    model = tmp_path / "model.gguf"
    shutil.copy(STORIES, model)
    with Server(tmp_path, "--parallel", 1, "--ctx", 512, model=model) as server:
        expected = server.complete(PROMPT)["content"]
        (tmp_path / "new").write_bytes(b"not a model" * 1000)
        (tmp_path / "new").rename(model)
        assert server.complete(PROMPT, cache_prompt=False)["content"] == expected
        model.unlink()
        assert server.complete(PROMPT, cache_prompt=False)["content"] == expected


def test_model_file_truncated_while_loaded(tmp_path):
    """Pages that are gone cannot be computed with: an error for the request, and a server that says so and stays."""
    model = tmp_path / "model.gguf"
    shutil.copy(STORIES, model)
    with Server(tmp_path, "--parallel", 1, "--ctx", 512, model=model) as server:
        server.complete(PROMPT)
        os.truncate(model, 4096)
        response = server.post("/completion", prompt=PROMPT, n_predict=8, cache_prompt=False)
        assert response.status_code >= 500, response.text
        assert response.json()["error"]["message"]
        assert server.process.poll() is None
        assert server.get("/health").status_code == 503


def small_files() -> None:
    """In a process to be started: writing more than this to a file fails, as it does where the disk is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_disk_full_while_saving(tmp_path):
    """No room for a slot's file: an error, nothing half written, and the file that was there is still whole."""
    options = ["--parallel", 2, "--ctx", 512, "--slot-save-path", tmp_path, "--cache-dir", tmp_path / "cache"]
    with Server(tmp_path, *options, preexec_fn=small_files, restore_signals=False) as server:
        server.complete("Hi", n_predict=1, id_slot=0)
        assert slot_file(server, "save", "slot.bin").status_code == 200
        before = (tmp_path / "slot.bin").read_bytes()
        server.complete(PROMPT * 6, n_predict=64, id_slot=0)
        response = slot_file(server, "save", "slot.bin")
        assert response.status_code == 500 and response.json()["error"]["message"]
        assert (tmp_path / "slot.bin").read_bytes() == before
        assert sorted(path.name for path in tmp_path.glob("*slot*")) == ["slot.bin"]
        assert slot_file(server, "restore", "slot.bin").status_code == 200
        assert server.complete(PROMPT)["content"]


def test_queue_and_limits(tmp_path):
    """Over a limit the answer comes at once, and says which."""
    with Server(tmp_path, "--parallel", 1, "--ctx", 2048, "--queue", 2, "--body-limit", 100_000) as server:
        assert server.post("/completion", prompt="x" * 200_000).status_code == 413
        long = {"prompt": PROMPT, "n_predict": 1900, "ignore_eos": True, "stream": True}
        with ThreadPoolExecutor(12) as pool:
            streams = list(pool.map(lambda _: requests.post(server.url + "/completion", json=long, stream=True), range(12)))
        refused = [stream for stream in streams if stream.status_code != 200]
        # One runs and two wait; all others are over the limit.
        assert len(refused) == 9
        for stream in refused:
            assert stream.status_code in (429, 503)
            assert {"message", "type", "code"} <= stream.json()["error"].keys()
        for stream in streams:
            stream.close()
        until(server.idle, "slots are still busy")
        assert server.complete(PROMPT, n_predict=4)["content"]


def test_slow_loris_and_idle_connections(tmp_path):
    """1,000 connections that send nothing, and 100 that send a byte now and then, keep nobody else from being served."""
    with Server(tmp_path, "--parallel", 2, "--ctx", 512) as server:
        before = server.descriptors()
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        request = b"POST /completion HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
        for at in range(len(request)):
            for connection in slow:
                drip(connection, request[at:at + 1])
            if at % 20 == 0:
                assert server.complete("Hi", n_predict=1)["timings"]["predicted_n"] == 1
        memory, threads = server.memory(), server.threads()
        assert memory < 400 << 20 and threads < 64
        for connection in idle + slow:
            connection.close()
        until(lambda: server.descriptors() <= before + 2, "connections are still open")
        assert server.alive()


def drip(connection: socket.socket, byte: bytes) -> None:
    try:
        connection.sendall(byte)
    except OSError:
        # The server may well have had enough of it.
        pass


def test_stops_gracefully(tmp_path):
    """What streams when it is asked to end comes to its end; who comes later is refused."""
    with Server(tmp_path, "--parallel", 1, "--ctx", 512) as server:
        body = {"prompt": PROMPT, "n_predict": 200, "stream": True, "ignore_eos": True}
        with requests.post(server.url + "/completion", json=body, stream=True, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            server.process.terminate()
            last = [line for line in lines if line][-1]
        assert json.loads(last.removeprefix(b"data: "))["stop"] is True
        assert json.loads(last.removeprefix(b"data: "))["tokens_predicted"] == 200
        assert server.process.wait(timeout=60) == 0
        with pytest.raises(requests.ConnectionError):
            server.get("/health")
