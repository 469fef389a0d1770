#!/usr/bin/env python3
"""Starts `woolly serve` for a command line of llama-server: what llama.cpp's tests take for the program that they test.

The environment says where things are: WOOLLY_BIN is the program, WOOLLY_STORIES the model that the tests download
otherwise. An option that Woolly has not ends it with status 2, so a test that needs it fails at once.
"""

import argparse
import os
import sys
from pathlib import Path

# The repositories whose model is the local file.
STORIES = ["ggml-org/test-model-stories260K", "ggml-org/models:tinyllamas/stories260K.gguf"]

# What has no counterpart because it is so anyway, and what changes nothing here.
WITHOUT_COUNTERPART = ["--offline", "--cont-batching", "--jinja", "--no-jinja"]


def parser() -> argparse.ArgumentParser:
    """The options of llama-server that have a counterpart."""
    options = argparse.ArgumentParser(allow_abbrev=False)
    for name in WITHOUT_COUNTERPART + ["--metrics", "--slots", "--no-slots", "--kv-unified", "--verbose", "--no-ui"]:
        options.add_argument(name, action="store_true")
    for name in ["--host", "--port", "--temp", "--seed", "--hf-repo", "--hf-file", "--model", "--alias", "--tags", "--api-key"]:
        options.add_argument(name)
    for name in ["--n-predict", "--batch-size", "--ubatch-size", "--threads", "--slot-save-path", "--chat-template"]:
        options.add_argument(name)
    for name in ["--chat-template-file", "--cors-origins", "--reasoning"]:
        options.add_argument(name)
    options.add_argument("--ctx-size", type=int, default=512)
    options.add_argument("--parallel", type=int, default=4)
    return options


def model(given: argparse.Namespace) -> str:
    """The file to serve."""
    if given.model:
        return given.model
    name = given.hf_repo if given.hf_file is None else f"{given.hf_repo}:{given.hf_file}"
    if name not in STORIES:
        sys.exit(f"the model {name} is not here")
    return os.environ["WOOLLY_STORIES"]


def arguments(given: argparse.Namespace) -> list[str]:
    """The same for `woolly serve`, whose context is that of one slot."""
    context = given.ctx_size if given.kv_unified else given.ctx_size // given.parallel
    result = ["serve", model(given), "--ctx", str(context), "--parallel", str(given.parallel)]
    for name in ["host", "port", "temp", "seed", "n_predict", "slot_save_path", "chat_template", "chat_template_file"]:
        value = getattr(given, name)
        result += [] if value is None else [f"--{name.replace('_', '-')}", value]
    return result


def main() -> None:
    given = parser().parse_args()
    program = os.environ["WOOLLY_BIN"]
    os.execv(program, [program, *arguments(given)])


if __name__ == "__main__":
    main()
