"""Many clients at once, measured: tokens per second, first token, time between tokens, errors and memory.

`python load.py --help`; `cargo xtask load` starts it. Each client asks for one answer after the other, all different, and
reads it as it streams. With `--peer` llama-server gets the very same requests in the same run, in turns, while the other
server is idle. `--shared WORDS` measures something else: how much sooner the first token of a second conversation comes,
when the first one had the same system prompt.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from woolly import SMOLLM2, Server

WORDS = "time river stone light garden letter winter paper bridge music window silver forest morning captain island".split()


@dataclass
class Measured:
    """What a time of load showed."""

    seconds: float = 0.0
    tokens: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def add(self, other: "Measured") -> None:
        """Takes another time of the same load."""
        self.seconds += other.seconds
        self.tokens += other.tokens
        self.answers += other.answers
        for name in ["errors", "first", "between", "memory"]:
            getattr(self, name).extend(getattr(other, name))

    def rate(self) -> float:
        """Tokens per second, of all clients together."""
        return self.tokens / self.seconds

    def growth(self) -> float:
        """How much more memory the server has at the end than after the first fifth, as a fraction."""
        after = self.memory[len(self.memory) // 5:]
        part = max(1, len(after) // 10)
        return max(after[-part:]) / max(after[:part]) - 1


class Peer(Server):
    """llama-server."""

    def __init__(self, folder: Path, given: argparse.Namespace):
        super().__init__(folder, model=given.model)
        slots = ["--parallel", str(given.parallel), "--ctx-size", str(given.parallel * given.ctx)]
        self.command = [given.peer, "--model", str(given.model), "--port", str(self.port), *slots]
        self.command += ["--cache-ram", str(given.cache), "--threads", str(os.cpu_count())]


def request(seed: int, longest: bool = False) -> dict:
    """A question unlike others, of 20 to 250 tokens, and an answer of 32 to 128; or the longest ones."""
    choice = random.Random(seed)
    words = " ".join(choice.choice(WORDS) for _ in range(200 if longest else choice.randint(10, 200)))
    return {
        "messages": [{"role": "user", "content": f"{seed}: tell me more about this. {words}"}],
        "max_tokens": 128 if longest else choice.randint(32, 128),
        "temperature": 0.8,
        "seed": seed,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def client_session() -> aiohttp.ClientSession:
    """A connection for each request, since llama-server closes them when it likes."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))


async def ask(session: aiohttp.ClientSession, server: Server, body: dict, measured: Measured) -> None:
    """One answer, as it streams."""
    last, events, usage = time.monotonic(), 0, None
    async with session.post(server.url + "/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status} {await response.text()}")
        async for line in response.content:
            # To parse each event would take the servers' time, on the same processors.
            if b'"usage":{' in line:
                usage = json.loads(line.removeprefix(b"data: "))["usage"]
            elif b'"content":"' in line and b'"content":""' not in line:
                now = time.monotonic()
                (measured.between if events else measured.first).append(now - last)
                last, events = now, events + 1
                measured.tokens += 1
    if usage is None or usage["completion_tokens"] != body["max_tokens"]:
        raise RuntimeError(f"{usage} instead of {body['max_tokens']} tokens")
    # Tokens that came together with others.
    measured.tokens += body["max_tokens"] - events
    measured.answers += 1


async def client(session, server: Server, seeds, end: float, measured: Measured) -> None:
    """Asks until the time or the seeds are at their end."""
    for seed in seeds:
        try:
            await asyncio.wait_for(ask(session, server, request(seed), measured), max(0.01, end - time.monotonic()))
        except asyncio.TimeoutError:
            return
        except Exception as error:  # whatever it is, it counts
            measured.errors.append(f"{type(error).__name__}: {error}")


async def warm_up(server: Server, clients: int) -> None:
    """Has every slot hold as much as it will at most, so that memory which is taken for good is taken."""
    async with client_session() as session:
        requests = (request(10**9 + seed, longest=True) for seed in range(clients))
        # What fails here is measured later.
        await asyncio.gather(*(ask(session, server, body, Measured()) for body in requests), return_exceptions=True)


async def watch(server: Server, measured: Measured) -> None:
    """Notes how much memory the server has."""
    while True:
        measured.memory.append(server.memory())
        await asyncio.sleep(0.25)


async def load(server: Server, clients: int, seconds: float, seeds) -> Measured:
    """So many clients for a time, or until all seeds are used up."""
    measured, start = Measured(), time.monotonic()
    async with client_session() as session:
        watcher = asyncio.create_task(watch(server, measured))
        await asyncio.gather(*(client(session, server, seeds, start + seconds, measured) for _ in range(clients)))
        watcher.cancel()
    measured.seconds = time.monotonic() - start
    return measured


def measure(servers: dict[str, Server], clients: int, seconds: float, rounds: int) -> dict[str, Measured]:
    """All servers in turns, each with the same requests in each round."""
    result = {name: Measured() for name in servers}
    for round_ in range(rounds):
        for name, server in servers.items():
            seeds = iter(range(round_ * 1_000_000 + clients, 2**62))
            result[name].add(asyncio.run(load(server, clients, seconds / rounds, seeds)))
            print(f"{name}, {clients} clients: {result[name].rate():.1f} tokens/s", flush=True)
    return result


async def first_tokens(server: Server, words: int, rounds: int) -> list[tuple[float, float]]:
    """In each round a new system prompt, and of two conversations with it the seconds to the first token."""
    result = []
    async with client_session() as session:
        for seed in range(rounds):
            choice, pair = random.Random(seed), []
            system = f"{seed} " + " ".join(choice.choice(WORDS) for _ in range(words))
            for question in ["What is the capital of France?", "Name a colour, and say why you like it."]:
                messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
                measured = Measured()
                await ask(session, server, {**request(seed), "messages": messages, "max_tokens": 8}, measured)
                pair.append(measured.first[0])
            result.append((pair[0], pair[1]))
    return result


def report_shared(servers: dict[str, Server], given: argparse.Namespace) -> None:
    """Measures first tokens with a system prompt that the server does not know yet, and with one that it does."""
    for name, server in servers.items():
        pairs = asyncio.run(first_tokens(server, given.shared, given.rounds))
        first, second = (1000 * statistics.median(times) for times in zip(*pairs))
        ratio = statistics.median(again / fresh for fresh, again in pairs)
        print(f"{name}: first token after {first:.0f} ms, with the same system prompt again after {second:.0f} ms: {100 * ratio:.1f}%")


def percentiles(values: list[float]) -> str:
    """The 50th, 95th and 99th, in milliseconds."""
    ordered = sorted(values)
    return " / ".join(f"{1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)]:.0f}" for p in (50, 95, 99)) if ordered else "-"


def table(results: list[tuple[str, int, Measured]]) -> str:
    """Markdown."""
    lines = [
        "| | clients | tokens/s | answers | errors | first token ms, p50 / p95 / p99 | between tokens ms, p50 / p95 / p99 | memory MB | growth |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, clients, m in results:
        memory = f"{m.memory[-1] / 1e6:.0f} | {100 * m.growth():+.1f}%"
        lines.append(
            f"| {name} | {clients} | {m.rate():.1f} | {m.answers} | {len(m.errors)} | {percentiles(m.first)} | {percentiles(m.between)} | {memory} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SMOLLM2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=300, help="time with all clients, for each server")
    parser.add_argument("--rounds", type=int, default=5, help="turns that this time is cut into")
    parser.add_argument("--parallel", type=int, default=16, help="slots")
    parser.add_argument("--ctx", type=int, default=1024, help="context of a slot")
    parser.add_argument("--cache", type=int, default=64, help="MiB of the prefix cache, which the warm-up is to fill")
    parser.add_argument("--shared", type=int, metavar="WORDS", help="measure first tokens with a system prompt of so many words, which are about as many tokens")
    parser.add_argument("--peer", help="llama-server's program")
    given = parser.parse_args()
    given.ctx = max(given.ctx, 2 * (given.shared or 0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = ["--parallel", given.parallel, "--ctx", given.ctx, "--cache-ram", f"{given.cache}M"]
        servers = {"woolly": Server(folder, *options, model=given.model)}
        if given.peer:
            servers["llama-server"] = Peer(folder, given)
        try:
            (report_shared if given.shared else report)({name: server.start() for name, server in servers.items()}, given)
        finally:
            for server in servers.values():
                server.__exit__()


def report(servers: dict[str, Server], given: argparse.Namespace) -> None:
    """Measures one client, then all, and prints what came of it."""
    for server in servers.values():
        asyncio.run(warm_up(server, max(given.clients, given.parallel)))
    one = measure(servers, 1, given.seconds / 5, given.rounds)
    many = measure(servers, given.clients, given.seconds, given.rounds)
    rows = [(name, clients, result[name]) for name in servers for clients, result in [(1, one), (given.clients, many)]]
    print(f"\n{given.model.name}, {given.parallel} slots, {given.seconds:.0f} s\n\n{table(rows)}\n")
    for name in servers:
        print(f"{name}: {given.clients} clients get {many[name].rate() / one[name].rate():.2f} times the tokens/s of one")
        for error in sorted(set(many[name].errors + one[name].errors))[:5]:
            print(f"{name}: {error}")
    if "llama-server" in servers:
        print(f"woolly: {many['woolly'].rate() / many['llama-server'].rate():.2f} times the tokens/s of llama-server")


if __name__ == "__main__":
    main()
