"""The programs that people use: official and common clients, streaming and not, talk to Woolly by changing a URL."""

import json
import subprocess

import litellm
import openai
import pytest
from langchain_openai import ChatOpenAI

from woolly import NODE

MESSAGES = [{"role": "user", "content": "Tell me a story."}]
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(client):
    """The name of the model, as a client finds it."""
    models = list(client.models.list())
    assert len(models) == 1 and models[0].object == "model"
    return models[0].id


@pytest.fixture(scope="module")
def expected(server):
    """The text that every client has to get."""
    answer = server.post("/v1/chat/completions", messages=MESSAGES, **GREEDY).json()
    text = answer["choices"][0]["message"]["content"]
    assert len(text) > 8 and answer["usage"]["completion_tokens"] == 12
    return text


def test_openai_chat(client, model, expected):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, **GREEDY)
    assert answer.choices[0].message.content == expected
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "chat.completion" and answer.model == model
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_openai_chat_stream(client, model, expected):
    chunks = list(client.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **GREEDY
    ))
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == expected
    assert choices[0].delta.role == "assistant" and choices[-1].finish_reason == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1


def test_openai_stream_comes_in_pieces(client, model):
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **GREEDY)
    with stream:
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 4


def test_openai_completion(client, model):
    whole = client.completions.create(model=model, prompt="Once upon a time", **GREEDY)
    pieces = client.completions.create(model=model, prompt="Once upon a time", stream=True, **GREEDY)
    assert "".join(chunk.choices[0].text for chunk in pieces if chunk.choices) == whole.choices[0].text
    assert whole.object == "text_completion"


def test_openai_options(client, model):
    options = {"temperature": 1.0, "max_completion_tokens": 8, "top_p": 0.9, "seed": 5}
    ask = lambda **more: client.chat.completions.create(model=model, messages=MESSAGES, **options, **more)
    two = ask(n=2, frequency_penalty=0.5, presence_penalty=0.5)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].message.content != two.choices[1].message.content
    assert ask().choices[0].message.content == ask().choices[0].message.content
    assert two.usage.completion_tokens == 16


def test_openai_stop(client, model, expected):
    word = expected.split()[-1]
    answer = client.chat.completions.create(model=model, messages=MESSAGES, stop=[word], **GREEDY)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == expected.split(word)[0]


def test_openai_logprobs(client, model, expected):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=3, **GREEDY)
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == expected
    for token in tokens:
        assert len(token.top_logprobs) == 3
        # Greedy: the likeliest is the one that was taken.
        assert token.top_logprobs[0].token == token.token and token.top_logprobs[0].logprob == token.logprob <= 0


def test_openai_logit_bias(client, server, model, expected):
    first = server.post("/tokenize", content=expected).json()["tokens"][:3]
    bias = {str(token): -100 for token in first}
    answer = client.chat.completions.create(model=model, messages=MESSAGES, logit_bias=bias, **GREEDY)
    assert answer.choices[0].message.content != expected


def test_openai_errors(client, model):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "word " * 3000}])
    assert error.value.body["type"] == "exceed_context_size_error"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=model, messages=MESSAGES, extra_body={"temperature": "hot"})


def test_openai_extra_fields(client, model):
    """llama-server's sampler fields go along with OpenAI's, and its timings come back."""
    extra = {"top_k": 1, "min_p": 0.1, "repeat_penalty": 1.1, "timings_per_token": True}
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=4, extra_body=extra)
    assert answer.timings["predicted_n"] == 4


def test_litellm(server, model, expected):
    options = {"model": f"openai/{model}", "api_base": f"{server.url}/v1", "api_key": "none", "messages": MESSAGES, **GREEDY}
    assert litellm.completion(**options).choices[0].message.content == expected
    chunks = litellm.completion(**options, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected


def test_langchain(server, model, expected):
    chat = ChatOpenAI(model=model, base_url=f"{server.url}/v1", api_key="none", **GREEDY)
    answer = chat.invoke([("human", "Tell me a story.")])
    assert answer.content == expected and answer.usage_metadata["output_tokens"] == 12
    assert "".join(chunk.content for chunk in chat.stream([("human", "Tell me a story.")])) == expected


def curl(*arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--no-buffer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_curl(server, expected):
    body = {"messages": MESSAGES, **GREEDY}
    ask = [f"{server.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d"]
    assert json.loads(curl(*ask, json.dumps(body)))["choices"][0]["message"]["content"] == expected
    lines = curl(*ask, json.dumps({**body, "stream": True})).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    deltas = [json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-2]]
    assert "".join(choice["delta"].get("content") or "" for choices in deltas for choice in choices) == expected


@pytest.mark.parametrize("case", ["chat", "stream", "completion", "models", "abort", "errors"])
def test_npm_openai(server, expected, case):
    """The official npm package; each case of `clients.mjs` is a program of its own."""
    command = ["node", "clients.mjs", case, f"{server.url}/v1", expected]
    run = subprocess.run(command, cwd=NODE, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
