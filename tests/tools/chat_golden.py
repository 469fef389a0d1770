#!/usr/bin/env python3
"""Renders chat templates with Jinja as the transformers library sets it up (needs: pip install jinja2).

    chat_golden.py                    writes tests/fixtures/chat/expected.json for the templates of that folder,
                                      and snippets_expected.json for its snippets
    chat_golden.py FOLDER OUT.json    writes the same for all *.jinja of another folder, with their sources;
                                      WOOLLY_CHAT_CASES=OUT.json cargo test -p woolly-tests --test chat then compares
"""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures" / "chat"
NOW = datetime.datetime(2024, 7, 4, 15, 5, 9)


class Generation(jinja2.ext.Extension):
    """The generation block: transparent, with variables of its own."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_run"), [], [], body).set_lineno(line)

    def _run(self, caller):
        return caller()


class Raised(Exception):
    """The template called raise_exception."""


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    # transformers takes the ImmutableSandboxedEnvironment, which refuses to change lists; we, and llama.cpp, do not.
    env = jinja2.sandbox.SandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.filters["from_json"] = json.loads
    # "safe" marks a text as HTML, and what is added to it is then escaped; a prompt is not HTML.
    env.filters["safe"] = lambda value: value
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(template, conversation, tools):
    variables = {
        "messages": conversation["messages"],
        "tools": tools if conversation.get("tools") else None,
        "documents": None,
        "add_generation_prompt": conversation.get("add_generation_prompt", True),
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    try:
        return {"text": template.render(**variables, **conversation.get("extra", {}))}
    except Raised as raised:
        return {"raised": str(raised)}
    except Exception as error:  # whatever else goes wrong inside a template
        return {"error": f"{type(error).__name__}: {error}"}


def render_snippet(env, snippet):
    try:
        template = env.from_string(snippet)
    except jinja2.TemplateSyntaxError as error:
        return {"error": f"syntax: {error}"}
    return render(template, {"messages": []}, None)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES
    out = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else FIXTURES / "expected.json"
    conversations = json.loads((FIXTURES / "conversations.json").read_text())
    tools = json.loads((FIXTURES / "tools.json").read_text())
    env = environment()
    cases = []
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes().decode()
        try:
            template = env.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            print(f"{path.name}: line {error.lineno}: {error}", file=sys.stderr)
            continue
        expected = {c["name"]: render(template, c, tools) for c in conversations}
        case = {"template": path.name, "expected": expected}
        if folder != FIXTURES:
            case["source"] = source
        cases.append(case)
    out.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
    if folder == FIXTURES:
        snippets = json.loads((FIXTURES / "snippets.json").read_text())
        expected = [render_snippet(env, snippet) for snippet in snippets]
        text = json.dumps(expected, ensure_ascii=False, indent=1) + "\n"
        (FIXTURES / "snippets_expected.json").write_text(text)


main()
