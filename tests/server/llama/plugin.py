"""What pytest needs to run llama.cpp's tests of its server against Woolly: loaded with `-p plugin`.

`exceptions.toml` beside this file lists the cases that do not pass as they are, each with a reason. The list stays true,
because an entry that is not needed, or that names no case, fails the run.
"""

import importlib
import tomllib
from pathlib import Path

import pytest

EXCEPTIONS = tomllib.loads((Path(__file__).parent / "exceptions.toml").read_text())


def entries(kind: str) -> dict[str, str]:
    """Each listed case of a kind and its reason."""
    return {case: group["reason"] for group in EXCEPTIONS.get(kind, []) for case in group["cases"]}


def pytest_configure(config: pytest.Config) -> None:
    """The models that the tests would start and download first are not needed."""
    utils = importlib.import_module("utils")
    utils.ServerPreset.load_all = staticmethod(lambda: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cases that do not apply have to fail; entries have to name cases."""
    excluded, other_text = entries("excluded"), entries("other_text")
    found = {case for item in items for case in names(item)}
    if not config.option.keyword and not selected(config):
        missing = [case for case in [*excluded, *other_text] if case not in found]
        if missing:
            raise pytest.UsageError("exceptions.toml names what there is not: " + ", ".join(missing))
    for item in items:
        for case in names(item):
            if case in excluded:
                item.add_marker(pytest.mark.xfail(reason=excluded[case], strict=True))
            if case in other_text:
                item.add_marker("other_text")


def selected(config: pytest.Config) -> bool:
    """Whether single cases are asked for."""
    return any("::" in argument for argument in config.args)


def names(item: pytest.Item) -> set[str]:
    """What an entry may call a case: itself, its function with all parameters, or its file."""
    short = item.nodeid.removeprefix("unit/")
    return {short, short.split("[")[0], short.split("::")[0]}


@pytest.fixture(autouse=True)
def any_text(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """In cases whose text follows from llama.cpp's random numbers, any text will do; everything else is checked."""
    if request.node.get_closest_marker("other_text") is None:
        yield
        return
    module, differed = request.node.module, []

    def match_regex(regex: str, text: str) -> bool:
        differed.append(not original(regex, text))
        return True

    original = module.match_regex
    monkeypatch.setattr(module, "match_regex", match_regex)
    yield
    assert any(differed), "the text is the same: the entry in exceptions.toml is not needed"
