"""Answers that a schema or a grammar holds to a form."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from woolly import SMOLLM2, Server

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 40},
        "people": {"type": "integer", "minimum": 0, "maximum": 50_000_000},
        "rivers": {"type": "array", "items": {"type": "string", "maxLength": 30}, "minItems": 1, "maxItems": 3},
        "capital": {"type": "boolean"},
    },
    "required": ["city", "people", "rivers", "capital"],
    "additionalProperties": False,
}
ASK = [{"role": "user", "content": "Describe a city in JSON: its name, how many people live there, its rivers."}]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """A server with a model that can say something."""
    with Server(tmp_path_factory.mktemp("forms"), "--parallel", 4, "--ctx", 1024, model=SMOLLM2) as server:
        yield server


def conforms(text: str) -> bool:
    """Whether a text is what `CITY` describes."""
    city = json.loads(text)
    return (
        set(city) == set(CITY["required"]) and isinstance(city["city"], str) and type(city["people"]) is int
        and 0 <= city["people"] <= 50_000_000 and 1 <= len(city["rivers"]) <= 3 and isinstance(city["capital"], bool)
    )


def chat(server: Server, **options):
    """The choices of an answer."""
    response = server.post("/v1/chat/completions", messages=ASK, max_tokens=400, **options)
    assert response.status_code == 200, response.text
    return response.json()["choices"]


@pytest.mark.parametrize("temperature", [0, 0.8, 1.5])
def test_schema(smollm2, temperature):
    """Whatever is drawn conforms, each of several choices by itself."""
    form = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    choices = chat(smollm2, response_format=form, temperature=temperature, seed=3, n=4)
    for choice in choices:
        assert choice["finish_reason"] == "stop" and conforms(choice["message"]["content"]), choice
    assert temperature == 0 or len({choice["message"]["content"] for choice in choices}) > 1


def test_stream_and_seed(smollm2):
    """A stream has the same text as the whole answer, and company changes nothing."""
    options = dict(json_schema=CITY, temperature=0.9, seed=11)
    [alone] = chat(smollm2, **options)
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(chat, smollm2, **{**options, "seed": seed}) for seed in range(6)]
        stream = smollm2.post("/v1/chat/completions", messages=ASK, max_tokens=400, stream=True, **options)
        [other.result() for other in others]
    data = [line[6:] for line in stream.content.decode().splitlines() if line.startswith("data: ") and "[DONE]" not in line]
    deltas = [choice["delta"].get("content") or "" for event in map(json.loads, data) for choice in event["choices"]]
    assert "".join(deltas) == alone["message"]["content"]


def test_grammar(smollm2):
    """A grammar that contains itself, characters of several bytes, and a list that ends by itself."""
    grammar = 'root ::= item{3}\nitem ::= "- " [^\\n]{1,40} "\\n"'
    text = smollm2.complete("Three colours:\n", grammar=grammar, n_predict=200)
    assert text["stop_type"] == "eos" and re.fullmatch(r"(- [^\n]{1,40}\n){3}", text["content"]), text
    sums = smollm2.complete("The sum:", grammar='root ::= [0-9] ("+" root)?', n_predict=20, temperature=1, seed=5)
    assert re.fullmatch(r"([0-9]\+)*[0-9]?", sums["content"]), sums
    greek = smollm2.complete("Once upon a", grammar="root ::= [α-ω]{2}", n_predict=40, n_probs=3)
    assert re.fullmatch(r"[α-ω]{2}", greek["content"]), greek
    # Probabilities are the model's own, of whatever would have come.
    first = greek["completion_probabilities"][0]
    assert first["logprob"] < first["top_logprobs"][0]["logprob"] and "time" in first["top_logprobs"][0]["token"]


def test_object_and_end(smollm2):
    """An object ends the answer even where ends are not wanted."""
    [choice] = chat(smollm2, response_format={"type": "json_object", "schema": CITY}, ignore_eos=True, temperature=0)
    assert choice["finish_reason"] == "stop" and conforms(choice["message"]["content"])


HOSTILE = [
    {"grammar": "root ::= " + "(" * 60 + "[a-z]" + "){0,2000}" * 60},
    {"grammar": "root ::= r1\n" + "".join(f'r{i} ::= "a" r{i + 1} | "b" r{i + 1}\n' for i in range(1, 4000)) + 'r4000 ::= "c" root | "d"'},
    {"grammar": "root ::= [a-z]* \"a\" [a-z]{500} [b-z]{500}"},
    {"grammar": "root ::= x\nx ::= (x | \"a\") \"b\""},
    {"json_schema": {"type": "string", "pattern": "(a{1,999}){1,999}"}},
    {"json_schema": {"type": "string", "pattern": "(.*a.{200}b){50}"}},
    {"json_schema": {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}},
    {"json_schema": {"enum": [f"{i}" * 20 for i in range(5000)]}},
    {"json_schema": {"allOf": [{"anyOf": [{"properties": {f"p{i}{j}": {"const": j}}} for j in range(8)]} for i in range(12)]}},
]


def test_hostile_forms(smollm2):
    """What is too much is refused, or is over soon, while others are answered."""
    with ThreadPoolExecutor(len(HOSTILE)) as pool:
        tries = [pool.submit(smollm2.post, "/completion", prompt="a", n_predict=8, **form) for form in HOSTILE]
        start = time.monotonic()
        assert smollm2.complete("Once upon", n_predict=4)["tokens_predicted"] == 4
        other = time.monotonic() - start
        statuses = [one.result().status_code for one in tries]
    assert set(statuses) <= {200, 400} and other < 30, (statuses, other)
    assert smollm2.alive()
