"""10,000 requests that are wrong: no crash, no leak, and never an answer of the server's own failure."""

import json
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from woolly import Server, until

RAW = 6000
SHAPED = 2500
# Requests for each operation of the OpenAPI document; there are about 30 operations, and further requests that try each field by itself.
PER_OPERATION = 20


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    # Few tokens where a request does not say how many: what is asked for by accident is not to take long.
    options = ["--parallel", 4, "--ctx", 256, "--queue", 512, "--n-predict", 4, "--cache-ram", "16M"]
    folder = tmp_path_factory.mktemp("malformed")
    with Server(folder, *options, "--slot-save-path", folder, "--models-dir", folder) as server:
        yield server


@pytest.fixture
def steady(target):
    """After the test the server is the same process, serves, and holds no more than before."""
    target.complete("Once upon a time", n_predict=100)
    descriptors, threads, memory = target.descriptors(), target.threads(), target.memory()
    yield target
    assert target.alive(), target.said()
    until(target.idle, "slots are still busy")
    assert target.complete("Once upon a time")["content"]
    until(lambda: target.descriptors() <= descriptors + 2, "descriptors are still open")
    assert target.threads() <= threads + 8
    assert target.memory() - memory < 48 << 20
    assert "panicked" not in target.log.read_text(errors="replace")


PATHS = [
    "/v1/chat/completions", "/v1/completions", "/completion", "/tokenize", "/detokenize", "/apply-template", "/slots/0?action=save",
    "/api/v1/inference/chat", "/api/v1/inference/complete", "/api/v1/inference/stream", "/api/v1/models/x/load", "/v1/models", "/health",
]
START = b"POST /completion HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
RAW_REQUESTS = [
    b"", b"\0" * 64, b"GET", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"GET " + b"/" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"GET /%00%ff%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    START + b"Content-Length: -1\r\n\r\n{}", START + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}....", START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    START + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nffffffffffffffff\r\n{}", START + b"Content-Length: 2\r\n\r\n\xff\xfe",
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 1\r\nSec-WebSocket-Key: x\r\n\r\n",
    b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
]


def send_raw(server: Server, data: bytes) -> bytes:
    """What comes back for some bytes, if anything does."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536)
        except OSError:
            # It has closed the connection without reading everything.
            return b""


def mutate(data: bytes, choice: random.Random) -> bytes:
    """The same with some damage."""
    result = bytearray(data)
    for _ in range(choice.randint(0, 6)):
        at = choice.randrange(len(result) + 1)
        match choice.randrange(4):
            case 0:
                result[at:at] = choice.randbytes(choice.randint(1, 8))
            case 1:
                del result[at:at + choice.randint(1, 8)]
            case 2:
                result[at:at + 1] = choice.randbytes(1)
            case _:
                result[at:at] = result[:at][-choice.randint(1, 40):]
    return bytes(result)


def not_its_own_failure(answer: bytes) -> None:
    """No status of the server's own failure; what begins like HTTP/2 is answered in frames of that."""
    if answer and not answer.startswith(b"\0\0"):
        status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        assert status, answer[:200]
        assert int(status[1]) < 500, answer[:2000]


def test_raw_garbage(steady):
    choice = random.Random(1)
    for at in range(RAW):
        not_its_own_failure(send_raw(steady, mutate(RAW_REQUESTS[at % len(RAW_REQUESTS)], choice)))


VALUES = [
    None, True, -1, 0, 1, 2**31, -2**63, 2**64, 1e308, -0.0, 1e-320, "", "a", "\0", "\ud83d", "é" * 300, [], {}, [[]], [None], [1, "a", -5],
    [[1, -100]], {"a": {}}, {"1": "x"}, [{"role": "user", "content": "x"}], [{"role": None}], [{"type": "text", "text": "x"}], "/etc/passwd", 99999999,
]
FIELDS = (
    "prompt messages n_predict max_tokens max_completion_tokens n temperature top_k top_p min_p seed stop stream stream_options logprobs "
    "top_logprobs logit_bias n_probs repeat_penalty repeat_last_n mirostat dry_multiplier samplers id_slot cache_prompt ignore_eos tools "
    "response_format grammar json_schema model content tokens path filename add_special with_pieces stop_sequences repetition_penalty "
    "t_max_predict_ms return_tokens response_fields post_sampling_probs min_keep xtc_probability typical_p dynatemp_range"
).split()


def shaped(choice: random.Random) -> bytes:
    """A request whose JSON is well-formed and whose values mostly make no sense."""
    body = {"prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}], "n_predict": 2, "max_tokens": 2}
    for _ in range(choice.randint(1, 4)):
        body[choice.choice(FIELDS)] = choice.choice(VALUES)
    # A long answer is no fault and takes long.
    if any(not isinstance(body[field], int) or not 0 <= body[field] < 9 for field in ["n_predict", "max_tokens"]):
        body["t_max_predict_ms"] = 1
    data = json.dumps(body).encode()
    head = f"POST {choice.choice(PATHS)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + data


def test_values_without_sense(steady):
    choice = random.Random(2)
    for _ in range(SHAPED):
        request = shaped(choice)
        try:
            not_its_own_failure(send_raw(steady, request))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{request.decode()}") from None


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"b":', b"-", b'"', b"1"])
def test_deep_and_long_json(steady, opening):
    for path in PATHS:
        data = opening * 100_000
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        not_its_own_failure(send_raw(steady, head.encode() + data))


def test_schemathesis(steady, tmp_path):
    """Requests made from the OpenAPI document, right ones and wrong ones."""
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{steady.url}/openapi.json"]
    command += ["--checks", "not_a_server_error,content_type_conformance", "--phases", "coverage,fuzzing", "--mode", "all"]
    command += ["--max-examples", str(PER_OPERATION), "--workers", "1", "--seed", "1", "--generation-database", "none"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=500)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    made = re.search(r"(\d+) generated", run.stdout)
    assert made and RAW + SHAPED + int(made[1]) >= 10_000, run.stdout[-2000:]
