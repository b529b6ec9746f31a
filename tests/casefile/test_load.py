"""What a right case file means."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall import Case, CaseFileError, McpServer, WorkFile
from pytest_llmcall import validators as v
from pytest_llmcall._casefile import load
from pytest_llmcall.case import CustomCheck, Mark
from pytest_llmcall.errors import Source

EXAMPLE = """\
model: max/default          # any key of a case may stand here as the default of the file
timeout: 60
cases:
  - id: capital
    prompt: What is the capital of France? Answer with one word.
    validate:
      - contains: Paris
      - max_words: 3
  - id: person
    description: structured output
    messages: [{role: user, content: "John Doe, 30, New York, as JSON"}]
    system: You return JSON only.
    schema: {type: object, required: [name], properties: {name: {type: string}, age: {type: integer}}}
    marks: [smoke, {xfail: {reason: known, strict: false}}]
    validate: [json, {field: {path: age, equals: 30}}]
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "a.llm.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def one(path: Path) -> Case:
    [case] = load(path)
    return case


def case_text(**keys: Any) -> str:
    """Return a file with one case, as JSON, which YAML reads too."""
    keys = {"id": "a", "prompt": "Hi", "validate": ["not_empty"], **keys}
    return json.dumps({"cases": [{key: value for key, value in keys.items() if value is not ...}]})


def test_the_example_of_the_docs_is_read(write: Any) -> None:
    path = write(EXAMPLE)
    capital, person = load(path)
    assert capital.id == "capital"
    assert capital.source == Source(path, 4, 5)
    assert capital.call.prompt == "What is the capital of France? Answer with one word."
    assert capital.call.model == "max/default"
    assert capital.call.timeout == 60
    assert capital.checks == (v.contains("Paris"), v.max_words(3))
    assert person.description == "structured output"
    assert person.call.system == "You return JSON only."
    assert person.call.schema is not None
    assert person.call.schema["required"] == ["name"]
    assert person.marks == (Mark(name="smoke"), Mark(name="xfail", kwargs={"reason": "known", "strict": False}))
    assert person.checks == (v.json(), v.field("age", equals=30))


def test_json_files_mean_the_same_as_yaml_files(write: Any) -> None:
    text = case_text(prompt='Say \u00e9 \U0001f600 \\ / " \t', timeout=1.5, tools=["Read"])
    ours = [one(write(text, name)) for name in ("a.llm.yaml", "a.llm.json")]
    assert ours[0].call == ours[1].call
    assert ours[0].checks == ours[1].checks


def test_a_json_file_may_use_all_of_json(write: Any) -> None:
    text = '{\n\t"cases": [\n\t\t{"id": "a", "prompt": "\\ud83d\\ude00 \\/", "validate": ["not_empty"]}]}'
    case = one(write(text, "a.llm.json"))
    assert case.call.prompt == "\U0001f600 /"
    assert case.source.line == 3


@pytest.mark.parametrize("text", ["yes", "no", "on", "12:30", "2024-01-01", "1_000", "0b1", "1e", "=", "0o8"])
def test_what_yaml_1_1_made_something_else_is_text(write: Any, text: str) -> None:
    assert one(write(f"cases: [{{id: a, prompt: {text}, validate: [not_empty]}}]")).call.prompt == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("", None),
        ("null", None),
        ("'3'", "3"),
        ("! 3", "3"),
        ("!!str 3", "3"),
        ("!!float 3", 3),
        ('"\\u00e9"', "é"),
        ("[]", []),
    ],
)
def test_values_follow_the_core_schema(write: Any, text: str, value: object) -> None:
    case = one(write(f"cases: [{{id: a, prompt: x, validate: [mine: {{value: {text}}}]}}]"))
    [check] = case.checks
    assert isinstance(check, CustomCheck)
    assert check.params == {"value": value}
    assert type(check.params["value"]) is type(value)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    for name in ("a.llm.yaml", "a.llm.json"):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + case_text().encode())
        assert one(path).id == "a"


def test_a_case_replaces_defaults_but_adds_to_lists_of_marks_needs_and_validators(write: Any) -> None:
    base = "model: max/opus\nsystem: S\ntools: [Read]\nmarks: [m]\nneeds: [tools]\nvalidate: [not_empty]\n"
    text = base + (
        "cases:\n"
        "- {id: a, prompt: x}\n"
        "- {id: b, prompt: x, model: max/haiku, system: T, tools: [], marks: [n], needs: [judge], validate: [json]}\n"
    )
    a, b = load(write(text))
    assert (a.call.model, a.call.system, a.call.tools) == ("max/opus", "S", ("Read",))
    assert (a.marks, a.needs, a.checks) == ((Mark(name="m"),), ("tools",), (v.not_empty(),))
    assert (b.call.model, b.call.system, b.call.tools) == ("max/haiku", "T", ())
    assert (b.marks, b.needs) == ((Mark(name="m"), Mark(name="n")), ("tools", "judge"))
    assert b.checks == (v.not_empty(), v.json())


def test_null_takes_back_a_default(write: Any) -> None:
    text = "system: S\ntimeout: 3\nvalidate: [not_empty]\ncases:\n"
    a, b = load(write(text + "- {id: a, prompt: x, system: ~, timeout: }\n- {id: b, prompt: x}\n"))
    assert (a.call.system, a.call.timeout) == (None, None)
    assert (b.call.system, b.call.timeout) == ("S", 3)


def test_messages_of_a_case_replace_the_prompt_of_the_file(write: Any) -> None:
    text = "prompt: P\nvalidate: [not_empty]\ncases:\n- {id: a}\n- {id: b, messages: [{role: user, content: M}]}"
    a, b = load(write(text))
    assert (a.call.prompt, b.call.prompt) == ("P", "M")


def test_several_turns_stay_what_they_are(write: Any) -> None:
    turns = [("user", "1"), ("assistant", "2"), ("user", "3")]
    messages = [{"role": role, "content": content} for role, content in turns]
    call = one(write(case_text(prompt=..., messages=messages))).call
    assert [(each.role, each.content) for each in call.messages] == turns
    assert call.prompt == "3"


def test_anchors_and_aliases_are_followed(write: Any) -> None:
    text = "cases:\n- {id: a, prompt: x, validate: &all [not_empty, json]}\n- {id: b, prompt: y, validate: *all}"
    a, b = load(write(text))
    assert a.checks == b.checks == (v.not_empty(), v.json())


def test_every_other_key_reaches_the_call(write: Any) -> None:
    call = one(
        write(case_text(tools=["Read", "Bash(git:*)", "mcp__fs__read"], max_turns=3, files={"a/b.txt": ""}))
    ).call
    assert call.tools == ("Read", "Bash(git:*)", "mcp__fs__read")
    assert call.max_turns == 3
    assert call.files == (WorkFile(path="a/b.txt", content=""),)


def test_mcp_servers_are_filled_from_the_environment_and_our_own_values(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_HOST", "example.com")
    servers = {
        "fs": {"command": "{{python}}", "args": ["{{ dir }}/s.py", "$${HOME}", "a{b}"], "env": {"H": "<${LLM_HOST}>"}},
        "web": {"url": "https://${LLM_HOST}/mcp", "headers": {"X": "${LLM_HOST}"}},
    }
    path = write(case_text(mcp=servers))
    assert one(path).call.mcp == (
        McpServer(
            name="fs",
            command=sys.executable,
            args=(f"{path.parent}/s.py", "${HOME}", "a{b}"),
            env={"H": "<example.com>"},
        ),
        McpServer(name="web", url="https://example.com/mcp", headers={"X": "example.com"}),
    )


def test_a_variable_that_the_case_needs_may_be_unset(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_HOST", raising=False)
    server = {"url": "${LLM_HOST}"}
    assert one(write(case_text(mcp={"web": server}, needs=["env:LLM_HOST"]))).call.mcp[0].url == "${LLM_HOST}"
    with pytest.raises(CaseFileError, match="LLM_HOST is not set"):
        load(write(case_text(mcp={"web": server})))


def test_prompts_are_not_filled(write: Any) -> None:
    assert one(write(case_text(prompt="${HOME} {{python}}"))).call.prompt == "${HOME} {{python}}"


def test_marks_become_what_pytest_takes(write: Any) -> None:
    marks = [
        "smoke",
        {"skip": "later"},
        {"skip": None},
        {"skipif": {"condition": False, "reason": "r"}},
        {"xfail": "known"},
        {"timeout": 10},
        {"usefixtures": ["db", "web"]},
        {"team": {"name": "a"}},
    ]
    assert one(write(case_text(marks=marks))).marks == (
        Mark(name="smoke"),
        Mark(name="skip", kwargs={"reason": "later"}),
        Mark(name="skip"),
        Mark(name="skipif", args=(False,), kwargs={"reason": "r"}),
        Mark(name="xfail", kwargs={"reason": "known"}),
        Mark(name="timeout", args=(10,)),
        Mark(name="usefixtures", args=("db", "web")),
        Mark(name="team", kwargs={"name": "a"}),
    )


def test_every_kind_of_need_is_taken(write: Any) -> None:
    needs = ["tools", "judge", "capable-model", "network", "env:A_B", "command:git", "command:/bin/sh"]
    assert one(write(case_text(needs=needs))).needs == tuple(needs)


def test_names_that_are_not_built_in_stand_for_fixtures(write: Any) -> None:
    path = write(
        "cases:\n- id: a\n  prompt: x\n  validate:\n  - polite\n  - polite: {level: 3}\n  - polite: 3\n  - polite:\n"
    )
    checks = one(path).checks
    params: tuple[dict[str, int], ...] = ({}, {"level": 3}, {"value": 3}, {})
    assert checks == tuple(
        CustomCheck(name="polite", params=each, source=Source(path, line, 5))
        for line, each in enumerate(params, start=5)
    )


def test_fixtures_that_are_known_not_to_exist_are_problems_at_once(write: Any) -> None:
    path = write(case_text(validate=["polite", "not_emtpy", "polit"]))
    with pytest.raises(CaseFileError) as caught:
        load(path, fixtures={"polite"})
    built_in, custom = caught.value.problems
    assert {built_in.code, custom.code} == {"LC029"}
    assert "Did you mean 'not_empty'?" in built_in.message
    assert "Did you mean 'polite'?" in custom.message


def test_a_prompt_of_just_the_limit_is_taken(write: Any) -> None:
    limit = 4 * 1024 * 1024
    assert len(one(write(case_text(prompt="x" * limit), "a.llm.json")).call.prompt) == limit


def test_a_thousand_cases_are_read(write: Any) -> None:
    lines = [f"- {{id: c{at}, prompt: Hi, validate: [not_empty, contains: x]}}" for at in range(1000)]
    assert len(load(write("cases:\n" + "\n".join(lines)))) == 1000


def test_the_limits_themselves_are_allowed(write: Any) -> None:
    deep: Any = "x"
    for _ in range(100 - 5):  # the file, its cases, the case, its validators and the check stand around it
        deep = [deep]
    [check] = one(write(case_text(validate=[{"mine": deep}], timeout=0.5, max_turns=1))).checks
    assert isinstance(check, CustomCheck)
    text = case_text()
    assert one(write(text + " " * (16 * 1024 * 1024 - len(text)), "a.llm.json")).id == "a"


def test_functions_are_read_as_they_stand(write: Any) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    function = {"name": "add", "description": "Add.", "parameters": parameters}
    keys = {"id": "a", "model": "gpt-4o", "prompt": "x", "validate": ["not_empty"]}
    [case] = load(write(json.dumps({"functions": [function], "cases": [keys]})))
    assert case.call.functions == (function,)


def test_what_a_claude_model_cannot_do_may_stand_in_a_case_without_a_model(write: Any) -> None:
    keys = {"id": "a", "prompt": "x", "validate": ["not_empty"], "functions": [{"name": "f"}], "tools": ["Read"]}
    assert load(write(json.dumps({"cases": [keys]})))[0].call.model is None
