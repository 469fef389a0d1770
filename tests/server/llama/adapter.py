#!/usr/bin/env python3
"""Starts `woolly serve` for a command line of llama-server: what llama.cpp's tests take for the program that they test.

The environment says where things are: WOOLLY_BIN is the program, WOOLLY_STORIES the model that the tests download
otherwise. An option that Woolly has not ends it with status 2, so a test that needs it fails at once.
"""

import argparse
import json
import os
import sys

# The repositories whose model is the local file.
STORIES = ["ggml-org/test-model-stories260K", "ggml-org/models:tinyllamas/stories260K.gguf"]

# What is always so here, or makes no difference.
DROPPED = ["--offline", "--cont-batching", "--jinja", "--no-jinja", "--slots", "--backend_sampling"]

# What is called the same, with a value and without.
SAME = [
    "--host", "--port", "--temp", "--seed", "--alias", "--n-predict", "--batch-size", "--threads", "--slot-save-path",
    "--chat-template", "--chat-template-file", "--api-key",
]
SAME_FLAGS = ["--no-slots", "--no-ui", "--verbose"]


def parser() -> argparse.ArgumentParser:
    """The options of llama-server that have a counterpart."""
    options = argparse.ArgumentParser(allow_abbrev=False)
    for name in [*DROPPED, *SAME_FLAGS, "--metrics", "--kv-unified"]:
        options.add_argument(name, action="store_true")
    for name in [*SAME, "--hf-repo", "--hf-file", "--reasoning"]:
        options.add_argument(name)
    # llama-server lets pages from everywhere use it unless it is told otherwise.
    options.add_argument("--cors-origins", dest="cors_origin", default="*")
    options.add_argument("--ctx-size", type=int, default=512)
    options.add_argument("--parallel", type=int, default=4)
    return options


def model(given: argparse.Namespace) -> str:
    """The file to serve."""
    name = given.hf_repo if given.hf_file is None else f"{given.hf_repo}:{given.hf_file}"
    # Without a model, llama-server waits for requests that name one.
    if name is not None and name not in STORIES:
        print(f"the model {name} is not here", file=sys.stderr)
        sys.exit(2)
    return os.environ["WOOLLY_STORIES"]


def thinking(given: argparse.Namespace) -> list[str]:
    """Whether the chat template is told that the model is to think, which is a variable of the template."""
    if given.reasoning is None:
        return []
    return ["--chat-template-kwargs", json.dumps({"enable_thinking": given.reasoning != "off"})]


def arguments(given: argparse.Namespace) -> list[str]:
    """The same for `woolly serve`, whose context is that of one slot."""
    context = given.ctx_size if given.kv_unified else given.ctx_size // given.parallel
    result = ["serve", model(given), "--ctx", str(context), "--parallel", str(given.parallel), *thinking(given)]
    for name in [*SAME, "--cors-origin", *SAME_FLAGS]:
        value = getattr(given, name.removeprefix("--").replace("-", "_"))
        result += {None: [], False: [], True: [name]}.get(value, [f"{name}={value}"])
    return result if given.metrics else [*result, "--no-metrics"]


def main() -> None:
    given = parser().parse_args()
    program = os.environ["WOOLLY_BIN"]
    os.execv(program, [program, *arguments(given)])


if __name__ == "__main__":
    main()
