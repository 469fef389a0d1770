"""Runs the tests of the server: this folder's, and llama.cpp's own. `python run.py [--only NAME]… [PYTEST ARGUMENT]…`.

Besides what `woolly.py` reads, the environment's WOOLLY_LLAMA_TESTS names the folder of llama.cpp's tests. NAME is part of
a file's name; `llama` stands for all of llama.cpp's. Prints what pytest prints, and then one line: `N passed, N failed`.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from woolly import free_port

HERE = Path(__file__).parent

# The files of llama.cpp's tests that are about what Woolly offers. Others: LoRA, embeddings, reranking, speculative
# decoding, images, tools of its own, its router of processes and its protocols for other services.
LLAMA = ["basic", "completion", "chat_completion", "tokenize", "template", "stream", "slot_save", "security", "metrics", "ctx_shift", "ignore_eos"]


def pytest(files: list[str], folder: Path, more: list[str], env: dict[str, str]) -> tuple[int, int]:
    """Runs some files, showing what it prints; returns how many cases passed and failed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "--disable-warnings", "--durations=5", *more, *files]
    run = subprocess.Popen(command, cwd=folder, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)
    last = ""
    for line in run.stdout:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    status = run.wait()
    count = lambda words: sum(int(number) for number in re.findall(rf"(\d+) (?:{words})\b", last))
    passed, failed = count("passed"), count("failed|errors?")
    # One that died, or found no test, has not passed.
    return passed, failed or int(status != 0)


def own(only: list[str], more: list[str]) -> tuple[int, int]:
    """This folder's tests."""
    files = [path.name for path in sorted(HERE.glob("test_*.py")) if not only or any(name in path.stem for name in only)]
    return pytest(files, HERE, more, {}) if files else (0, 0)


def llama(only: list[str], more: list[str]) -> tuple[int, int]:
    """llama.cpp's."""
    names = LLAMA if not only or "llama" in only else [name for name in LLAMA if f"llama/{name}" in only]
    if not names:
        return 0, 0
    adapter, tests = HERE / "llama/adapter.py", Path(os.environ["WOOLLY_LLAMA_TESTS"])
    env = {"LLAMA_SERVER_BIN_PATH": str(adapter), "PYTHONPATH": str(HERE / "llama"), "PORT": str(free_port())}
    more = ["-p", "plugin", "-m", "not slow", "--quiet", *more]
    return pytest([f"unit/test_{name}.py" for name in names], tests, more, env)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", default=[])
    given, more = options.parse_known_args()
    counts = [own(given.only, more), llama(given.only, more)]
    passed, failed = (sum(numbers) for numbers in zip(*counts))
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
