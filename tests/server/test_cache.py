"""What one request computed another need not; and no answer depends on it, nor on who else is served."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from woolly import SMOLLM2, Server

WORDS = "time river stone light garden letter winter paper bridge music window silver forest morning captain".split()


def text(seed: int, words: int) -> str:
    """So many words."""
    choice = random.Random(seed)
    return " ".join(choice.choice(WORDS) for _ in range(words))


def test_shared_system_prompt(tmp_path):
    """The second conversation with a system prompt of 1,000 tokens computes its own words alone."""
    system = {"role": "system", "content": text(1, 1000)}
    ask = lambda server, question, cache: server.post(
        "/v1/chat/completions", messages=[system, {"role": "user", "content": question}],
        max_tokens=8, temperature=0, cache_prompt=cache,
    ).json()
    questions = ["What is the capital of France?", "Name a colour.", "What is two and two?"]
    with Server(tmp_path, "--parallel", 2, "--ctx", 2048, model=SMOLLM2) as server:
        with_cache = [ask(server, question, True) for question in questions]
        without = [ask(server, question, False) for question in questions]
    assert with_cache[0]["timings"]["cache_n"] == 0 and with_cache[0]["timings"]["prompt_n"] > 1000
    for answer in with_cache[1:]:
        assert answer["timings"]["cache_n"] > 1000 and answer["timings"]["prompt_n"] < 60
    for cached, fresh in zip(with_cache, without):
        assert cached["choices"] == fresh["choices"]
        assert fresh["timings"]["cache_n"] == 0


def test_conversation_goes_on(server):
    """Each turn of a conversation finds the turns before it."""
    prompt, cached = "Once upon a time there was", []
    for _ in range(4):
        answer = server.complete(prompt, n_predict=12)
        cached.append(answer["timings"]["cache_n"])
        prompt += answer["content"] + " And then"
        assert server.complete(prompt, n_predict=4, cache_prompt=False)["timings"]["cache_n"] == 0
    assert cached == sorted(cached) and cached[-1] > cached[1] > 0


def mix(seed: int) -> dict:
    """A request unlike others: its prompt, length and way of sampling."""
    choice = random.Random(seed)
    return {
        "prompt": text(seed % 7, choice.randint(1, 40)) + text(seed, choice.randint(1, 20)),
        "n_predict": choice.randint(1, 60),
        "temperature": choice.choice([0, 0.7, 1.2]),
        "seed": seed,
        "top_k": choice.choice([0, 5, 40]),
        "repeat_penalty": choice.choice([1.0, 1.2]),
        "cache_prompt": choice.choice([True, False]),
        "n_probs": choice.choice([0, 0, 3]),
    }


def answer(server: Server, request: dict) -> tuple:
    """What has to be the same."""
    body = server.post("/completion", **request, return_tokens=True).json()
    return body["content"], body["tokens"], body["stop_type"], body.get("completion_probabilities")


@pytest.mark.parametrize("parallel", [1, 4, 16])
def test_fifty_at_once(tmp_path, parallel):
    """Fifty different requests at once give each, byte for byte, what it gives alone."""
    requests = [mix(seed) for seed in range(50)]
    with Server(tmp_path, "--parallel", 1, "--ctx", 512) as server:
        alone = [answer(server, {**request, "cache_prompt": False}) for request in requests]
    with Server(tmp_path, "--parallel", parallel, "--ctx", 512) as server, ThreadPoolExecutor(50) as pool:
        together = list(pool.map(lambda request: answer(server, request), requests))
    assert len({content for content, *_ in alone}) > 40
    for request, one, other in zip(requests, alone, together):
        assert one == other, request
