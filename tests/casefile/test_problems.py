"""What is wrong with a case file, and how it is said: every problem at once, with line, code and what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall import CaseFileError
from pytest_llmcall._casefile import Code, load, shadowed_name_problem, unknown_check_problem
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Problem, Source

Problems = Callable[..., list[tuple[str, int, str]]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """Write a file and return its problems as (code, line, message)."""

    def problems(content: str | bytes, name: str = "a.llm.yaml") -> list[tuple[str, int, str]]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(CaseFileError) as caught:
            load(path)
        assert all(each.source.path == path for each in caught.value.problems)
        return [(each.code, each.source.line, each.message) for each in caught.value.problems]

    return problems


CASE = "cases:\n- id: a\n  prompt: Hi\n  validate: [not_empty]\n"

WHOLE_FILES: list[tuple[str | bytes, str, int, str]] = [
    ("", "LC004", 0, "the file is empty"),
    (" \n\n", "LC004", 0, "the file is empty"),
    ("# only a comment\n", "LC004", 0, "only comments"),
    ("~\n", "LC008", 1, "must be a mapping with a list `cases:`, not nothing (null)"),
    ("- id: a\n", "LC008", 1, "not a list"),
    ("model: max/opus\n", "LC009", 0, "there is no list `cases:`"),
    ("cases: []\n", "LC009", 1, "not an empty list"),
    ("cases:\n", "LC009", 1, "not nothing (null)"),
    ("\ncases: {a: 1}\n", "LC009", 2, "not a mapping"),
    ("cases:\n- 3\n", "LC011", 2, "case 1 must be a mapping, not the number 3"),
    ("cases: [a\n", "LC003", 2, "not YAML: expected"),
    ("a: b: c\n", "LC003", 1, "mapping values are not allowed here at column 5"),
    ("cases:\n\t- a\n", "LC003", 2, "'\\t' that cannot start any token"),
    ("a: 1\nb: \x01\n", "LC003", 2, "'\\x01' may not stand"),
    ('a: "\\UFFFFFFFF"\n', "LC003", 0, "not YAML"),
    ("a: *b\n", "LC003", 1, "the alias *b has no anchor"),
    (CASE + "---\n" + CASE, "LC003", 5, "a second document"),
    ("%YAML 1.1\n---\n" + CASE, "LC003", 2, "says YAML 1.1"),
    (b"cases:\n- id: \xff\n", "LC002", 2, "byte 0xff at offset 13"),
    (b"\xef\xbb\xbfcases:\n- id: \xe9t\xe9\n", "LC002", 2, "byte 0xe9 at offset 16"),
    ("cases: &a [*a]\n", "LC006", 1, "inside its own anchor"),
    (CASE + "a: !!python/object:os.system x\n", "LC007", 5, "'!!python/object:os.system'"),
    (CASE + "a: !!int x\n", "LC007", 5, "'!!int'"),
    (CASE + "a: !!set {b}\n", "LC007", 5, "'!!set'"),
    (CASE + "1: x\n", "LC007", 5, "a key must be a text, not the number 1; write it in quotes: '1'"),
    (CASE + "? [a]\n: x\n", "LC007", 5, "not a list"),
    (CASE + "timeout: .inf\n", "LC007", 5, "is not one that JSON has"),
    (CASE + "timeout: " + "9" * 5000 + "\n", "LC007", 5, "not a number that can be read"),
    (CASE + '  description: "\\ud800"\n', "LC007", 5, "surrogate"),
    (
        'cases: [{id: "\\udc00", prompt: "\\ud800", validate: ["\\ud800", contains: "\\ud800"]}]',
        "LC007",
        1,
        "surrogate",
    ),
    (CASE + "  <<: {a: 1}\n", "LC007", 5, "merge keys"),
    (CASE + "a: " + "[" * 100 + "]" * 100, "LC007", 5, "more than 100 deep"),
    (CASE + "  prompt: Ho\n", "LC005", 5, "'prompt' stands twice in one mapping, first in line 3"),
]


@pytest.mark.parametrize(("content", "code", "line", "message"), WHOLE_FILES)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    problems: Problems, content: str | bytes, code: str, line: int, message: str
) -> None:
    found = problems(content)
    assert any(each[:2] == (code, line) and message in each[2] for each in found), found


JSON_FILES: list[tuple[str, str, int, str]] = [
    ("", "LC004", 0, "the file is empty"),
    ('{\n"cases": [1,]}', "LC003", 2, "not JSON"),
    ("cases: []", "LC003", 1, "not JSON: Expecting value at column 1"),
    ('{"cases": [NaN]}', "LC003", 0, "NaN is not a JSON value"),
    ('{"cases": [1e999]}', "LC007", 1, "is not one that JSON has"),
    ('{"cases": ["\\ud800"]}', "LC007", 1, "surrogate"),
    ('{\n"cases": [],\n"cases": []}', "LC005", 3, "first in line 2"),
    ("[" * 100_000, "LC003", 0, "nested too deeply"),
    ("[" * 200 + "]" * 200, "LC007", 1, "more than 100 deep"),
    ('{"cases": [{"id": "a",\n "prompt": 3}]}', "LC011", 2, "prompt must be a text, not the number 3"),
    ("[]", "LC008", 1, "must be a mapping"),
]


@pytest.mark.parametrize(("content", "code", "line", "message"), JSON_FILES)
def test_json_files_are_strict_and_have_lines_too(
    problems: Problems, content: str, code: str, line: int, message: str
) -> None:
    found = problems(content, "a.llm.json")
    assert any(each[:2] == (code, line) and message in each[2] for each in found), found


SERVER = {"command": "x"}
KEYS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": ""}, "LC013", "must not be empty"),
    ({"id": " a"}, "LC013", "white space"),
    ({"id": "a\nb"}, "LC013", "one line"),
    ({"id": "a\u2028b"}, "LC013", "one line"),
    ({"id": "a::b"}, "LC013", "'::'"),
    ({"id": "a[1]"}, "LC013", "'[' or ']'"),
    ({"id": 7}, "LC011", "id must be a text, not the number 7; write it in quotes: '7'"),
    ({"id": ...}, "LC013", "a case needs an id"),
    ({"promt": "x"}, "LC010", "unknown key of a case 'promt'. Did you mean 'prompt'?"),
    ({"prompt": ...}, "LC015", "neither"),
    ({"messages": [{"role": "user", "content": "x"}]}, "LC015", "both"),
    ({"prompt": ""}, "LC011", "prompt must not be empty"),
    ({"prompt": " \n"}, "LC011", "prompt must not be empty"),
    ({"prompt": None}, "LC011", "prompt must be a text, not nothing (null)"),
    ({"prompt": ..., "messages": []}, "LC016", "at least one message"),
    ({"prompt": ..., "messages": ["x"]}, "LC011", "a message must be a mapping, not 'x'"),
    ({"prompt": ..., "messages": [{"role": "user"}]}, "LC016", "a message needs 'content'"),
    ({"prompt": ..., "messages": [{"content": "x"}]}, "LC016", "a message needs 'role'"),
    ({"prompt": ..., "messages": [{"role": "user", "content": ""}]}, "LC011", "content must not be empty"),
    ({"prompt": ..., "messages": [{"role": "user", "content": "x", "name": "y"}]}, "LC010", "key of a message 'name'"),
    ({"prompt": ..., "messages": [{"role": "system", "content": "x"}]}, "LC016", "`system:` of the case"),
    ({"prompt": ..., "messages": [{"role": "usr", "content": "x"}]}, "LC016", "user or assistant, not 'usr'"),
    ({"prompt": ..., "messages": [{"role": "assistant", "content": "x"}]}, "LC016", "message 1 must be the user's"),
    (
        {"prompt": ..., "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
        "LC016",
        "the last message must be the user's",
    ),
    ({"prompt": ..., "messages": [{"role": "user", "content": "x"}] * 3}, "LC016", "message 2 must be the assistant's"),
    ({"model": "max/opsu"}, "LC018", "Did you mean max/opus?"),
    ({"model": " "}, "LC011", "model must not be empty"),
    ({"system": 3}, "LC011", "system must be a text"),
    ({"system": ""}, "LC011", "system must not be empty"),
    ({"description": []}, "LC011", "description must be a text, not a list"),
    ({"tools": "Read"}, "LC011", "tools must be a list, not 'Read'"),
    ({"tools": [3]}, "LC011", "a tool must be a text"),
    ({"tools": ["Read, Write"]}, "LC019", "'Read, Write' is not a tool"),
    ({"tools": ["Bash(git:*"]}, "LC019", "'Bash(git:*' is not a tool"),
    ({"functions": {"name": "f"}}, "LC011", "functions must be a list, not a mapping"),
    ({"functions": ["f"]}, "LC011", "a function must be a mapping, not 'f'"),
    ({"functions": [{}]}, "LC031", "a function needs a name"),
    ({"functions": [{"name": "a b"}]}, "LC031", "the function name 'a b' must be 1 to 64 letters"),
    ({"functions": [{"name": "f", "params": {}}]}, "LC010", "Did you mean 'parameters'?"),
    ({"functions": [{"name": "f", "description": 3}]}, "LC011", "the description of 'f' must be a text"),
    ({"functions": [{"name": "f", "parameters": []}]}, "LC011", "the parameters of 'f' must be a mapping"),
    ({"functions": [{"name": "f", "parameters": {"type": "object", "requried": []}}]}, "LC022", "'required'"),
    ({"functions": [{"name": "f", "parameters": {"type": "array"}}]}, "LC031", "must be the JSON Schema of an object"),
    ({"functions": [{"name": "f"}, {"name": "f"}]}, "LC031", "'f' is offered twice"),
    ({"functions": [{"name": "f"}], "model": "max/opus"}, "LC032", "`functions` are for models through LiteLLM"),
    ({"tools": ["Read"], "model": "gpt-4o"}, "LC032", "`tools` are Claude Code's own"),
    ({"mcp": {"fs": SERVER}, "model": "gpt-4o"}, "LC032", "`mcp` servers are for Claude models"),
    ({"files": {"a": "b"}, "model": "gpt-4o"}, "LC032", "`files` are for Claude models"),
    ({"max_turns": 2, "model": "gpt-4o"}, "LC032", "takes one turn"),
    ({"mcp": ["fs"]}, "LC011", "mcp must be a mapping, not a list"),
    ({"mcp": {"fs": "npx"}}, "LC011", "the MCP server 'fs' must be a mapping"),
    ({"mcp": {"fs": {}}}, "LC020", "exactly one of command and url"),
    ({"mcp": {"fs": {"command": "x", "url": "http://a"}}}, "LC020", "exactly one of command and url"),
    ({"mcp": {"fs": {"comand": "x"}}}, "LC010", "Did you mean 'command'?"),
    ({"mcp": {"fs": {"url": "http://a", "args": []}}}, "LC020", "args does not go with url"),
    ({"mcp": {"fs": {"command": "x", "headers": {}}}}, "LC020", "headers does not go with command"),
    ({"mcp": {"f s": SERVER}}, "LC020", "the server name 'f s'"),
    ({"mcp": {"fs": {"command": ""}}}, "LC011", "must not be empty"),
    ({"mcp": {"fs": {"command": "x", "args": "y"}}}, "LC011", "must be a list"),
    ({"mcp": {"fs": {"command": "x", "args": [80]}}}, "LC011", "write it in quotes: '80'"),
    ({"mcp": {"fs": {"command": "x", "env": {"A": 1}}}}, "LC011", "A in env of the MCP server 'fs' must be a text"),
    ({"mcp": {"fs": {"command": "x", "env": []}}}, "LC011", "must be a mapping"),
    ({"mcp": {"fs": {"url": "example.com"}}}, "LC020", "http:// or https://"),
    ({"mcp": {"fs": {"command": "x\0"}}}, "LC020", "NUL"),
    ({"mcp": {"fs": {"command": "${LLM_UNSET}"}}}, "LC021", "variable LLM_UNSET is not set"),
    ({"mcp": {"fs": {"command": "x", "args": ["${}"]}}}, "LC021", "names no variable"),
    ({"mcp": {"fs": {"command": "{{pyhton}}"}}}, "LC021", "Did you mean '{{python}}'?"),
    ({"schema": "object"}, "LC011", "schema must be a mapping"),
    ({"schema": {"type": "strin"}}, "LC022", "at type: 'strin'"),
    ({"schema": {"$ref": "#/a"}}, "LC022", "leads nowhere"),
    ({"files": ["a"]}, "LC011", "files must be a mapping"),
    ({"files": {"a": 3}}, "LC011", "the content of 'a' must be a text"),
    ({"validate": [{"json_schema": {"anyOf": [{"type": "strin"}]}}]}, "LC028", "at anyOf[0].type"),
    ({"files": {"/a": ""}}, "LC023", "must be relative"),
    ({"files": {"C:/a": ""}}, "LC023", "must be relative"),
    ({"files": {"a/../../b": ""}}, "LC023", "leaves the working folder"),
    ({"files": {"": ""}}, "LC023", "not written plainly"),
    ({"files": {"a/": ""}}, "LC023", "not written plainly"),
    ({"files": {"./a": ""}}, "LC023", "not written plainly"),
    ({"files": {"a\\b": ""}}, "LC023", "does not work on every system"),
    ({"files": {"a\nb": ""}}, "LC023", "does not work on every system"),
    ({"files": {"a": "", "a/b/c": ""}}, "LC023", "needs a folder 'a', which is a file"),
    ({"max_turns": 0}, "LC012", "at least 1, not 0"),
    ({"max_turns": 1.5}, "LC012", "a whole number"),
    ({"max_turns": True}, "LC011", "max_turns must be a number, not the boolean true"),
    ({"timeout": 0}, "LC012", "more than 0 seconds, not 0"),
    ({"timeout": -3}, "LC012", "not -3"),
    ({"timeout": "60"}, "LC011", "timeout must be a number, not '60'"),
    ({"marks": "smoke"}, "LC011", "marks must be a list, not 'smoke'"),
    ({"marks": ["a b"]}, "LC024", "'a b' is not the name of a mark"),
    ({"marks": [3]}, "LC024", "found the number 3"),
    ({"marks": [{"a": 1, "b": 2}]}, "LC024", "a mark is a name"),
    ({"marks": ["llm"]}, "LC024", "every case carries it"),
    ({"marks": ["parametrize"]}, "LC024", "several cases"),
    ({"marks": ["skipif"]}, "LC024", "skipif needs condition"),
    ({"marks": [{"skipif": {"condition": "os.name == 'nt'", "reason": "x"}}]}, "LC024", "not evaluated here"),
    ({"marks": [{"skipif": {"condition": True}}]}, "LC024", "skipif needs condition (true or false) and reason"),
    ({"marks": [{"xfail": {"reson": "x"}}]}, "LC024", "Did you mean 'reason'?"),
    ({"marks": [{"xfail": {"strict": "yes"}}]}, "LC024", "strict must be true or false"),
    ({"marks": [{"xfail": {"raises": "x"}}]}, "LC024", "unknown key 'raises'"),
    ({"marks": [{"xfail": {"condition": True}}]}, "LC024", "needs a reason"),
    ({"marks": [{"xfail": True}]}, "LC024", "xfail takes"),
    ({"needs": "tools"}, "LC011", "needs must be a list"),
    ({"needs": ["toosl"]}, "LC025", "Did you mean 'tools'?"),
    ({"needs": ["env:"]}, "LC025", "env:NAME"),
    ({"needs": ["command:a b"]}, "LC025", "command:NAME"),
    ({"validate": ...}, "LC026", "nothing is validated"),
    ({"validate": []}, "LC026", "add for example `validate: [not_empty]`"),
    ({"validate": None}, "LC011", "validate must be a list"),
    ({"validate": "not_empty"}, "LC011", "validate must be a list, not 'not_empty'"),
    ({"validate": [3]}, "LC027", "found the number 3"),
    ({"validate": [""]}, "LC027", "found an empty text"),
    ({"validate": [["json"]]}, "LC027", "found a list"),
    ({"validate": [{}]}, "LC027", "a validator is a name"),
    (
        {"validate": [{"contains": "a", "whole_word": True}]},
        "LC027",
        "{contains: {text: …, whole_word: …}}",
    ),
    ({"validate": [{"json": None, "not_empty": None}]}, "LC027", "found 2 in one entry: json, not_empty"),
    ({"validate": [{"contains": ""}]}, "LC028", "contains: text must be a text that is not empty"),
    ({"validate": [{"regex": "("}]}, "LC028", "regex: '(' is not a regular expression"),
    ({"validate": ["max-words"]}, "LC029", "Did you mean 'max_words'?"),
]


@pytest.mark.parametrize(("keys", "code", "message"), KEYS, ids=lambda value: repr(value)[:80])
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_is_wrong_with_a_case_is_said(
    problems: Problems, keys: dict[str, Any], code: str, message: str, suffix: str
) -> None:
    keys = {"id": "a", "prompt": "Hi", "validate": ["not_empty"], **keys}
    text = json.dumps({"cases": [{key: value for key, value in keys.items() if value is not ...}]})
    found = problems(text, f"a.llm.{suffix}")
    assert [(each[0], each[1]) for each in found] == [(code, 1)], found
    assert message in found[0][2]


def test_every_problem_is_reported_at_once_in_order_with_its_line(problems: Problems) -> None:
    found = problems("""\
modle: max/opus
timeout: -3
cases:
  - id: a
    prompt: x
    validate:
      - contains:
          txt: a
          text: 3
      - json_schema:
          type: object
          properties:
            a: {type: strin}
  - id: b
    validate: [not_empty]
    tools: Read
  - id: a
    prompt: y
    validate: [{max_words: 0}]
""")
    assert [(code, line) for code, line, _ in found] == [
        ("LC010", 1),
        ("LC012", 2),
        ("LC028", 8),
        ("LC028", 9),
        ("LC028", 13),
        ("LC015", 14),
        ("LC011", 16),
        ("LC014", 17),
        ("LC028", 19),
    ]


def test_a_duplicate_id_names_both_lines(problems: Problems) -> None:
    [(code, line, message)] = problems(CASE + CASE.removeprefix("cases:\n"))
    assert (code, line) == ("LC014", 5)
    assert message == "the id 'a' stands twice: in line 2 and in line 5"


def test_a_wrong_default_is_one_problem_however_many_cases_inherit_it(problems: Problems) -> None:
    lines = [f"- {{id: c{at}, prompt: x}}\n" for at in range(5)]
    found = problems(
        "timeout: -1\nmcp: {a: {command: '${LLM_UNSET}'}}\nvalidate: [regex: '(']\ncases:\n" + "".join(lines)
    )
    assert [(code, line) for code, line, _ in found] == [("LC012", 1), ("LC021", 2), ("LC028", 3)]


def test_an_id_at_the_top_is_no_default(problems: Problems) -> None:
    assert problems("id: x\n" + CASE)[0][:2] == ("LC010", 1)


def test_aliases_that_would_fill_the_memory_are_refused_at_once(problems: Problems) -> None:
    laughs = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    laughs += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 20)]
    [(code, _, message)] = problems("\n".join(laughs) + "\n" + CASE)
    assert code == "LC006"
    assert "33,554,432 characters" in message


def test_a_prompt_of_5_mb_is_refused_with_the_limit(problems: Problems) -> None:
    text = 'cases:\n- id: a\n  validate: [not_empty]\n  prompt: "' + "x" * 5_000_000 + '"\n'
    [(code, line, message)] = problems(text)
    assert (code, line) == ("LC017", 4)
    assert "5,000,000 bytes, more than the 4,194,304 bytes (4 MiB)" in message
    assert len(message) < 300


def test_the_system_prompt_counts_in_bytes_too(problems: Problems) -> None:
    case = {"id": "a", "prompt": "\u00e9" * (2 * 1024 * 1024), "system": "y", "validate": ["not_empty"]}
    [(code, _, message)] = problems(json.dumps({"cases": [case]}), "a.llm.json")
    assert code == "LC017"
    assert "4,194,305 bytes" in message


def test_a_file_that_is_too_large_is_not_even_parsed(problems: Problems) -> None:
    [(code, _, message)] = problems(b"#" * (16 * 1024 * 1024 + 1))
    assert code == "LC001"
    assert "16,777,216 bytes" in message


def test_a_problem_deep_in_a_list_has_its_own_line(problems: Problems) -> None:
    text = CASE.replace("[not_empty]", "\n  - json_schema:\n      anyOf:\n      - type: string\n      - type: strin\n")
    assert [each[:2] for each in problems(text)] == [("LC028", 8)]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.llm.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CaseFileError, match=f"LC001 cannot be read: {reason}"):
            load(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.llm.yaml"
    path.write_text(CASE)
    path.chmod(0)
    with pytest.raises(CaseFileError, match="Permission denied"):
        load(path)


def test_the_error_reads_as_a_list_of_file_line_code_and_message(tmp_path: Path) -> None:
    path = tmp_path / "a.llm.yaml"
    path.write_text("modle: x\n" + CASE)
    with pytest.raises(CaseFileError) as caught:
        load(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith("1 problem")
    assert second.startswith(f"{path}:1: LC010 unknown key of a case file 'modle'. Did you mean 'model'? Known: cases,")


def test_an_unknown_check_is_a_problem_with_the_nearest_name_of_fixture_or_validator() -> None:
    source = Source(Path("a.llm.yaml"), 7, 9)

    def message(name: str) -> str:
        problem = unknown_check_problem(CustomCheck(name=name, params={}, source=source), ["is_polite", "tmp_path"])
        assert (problem.source, problem.code) == (source, "LC029")
        return problem.message

    assert "Did you mean 'is_polite'?" in message("is_polit")
    assert "Did you mean 'max_words'?" in message("max_wrods")
    assert "Did you mean" not in message("entirely_else")


def test_a_fixture_with_a_built_in_name_is_a_problem_at_the_fixture() -> None:
    source = Source(Path("conftest.py"), 3)
    problem = shadowed_name_problem("contains", source)
    assert problem == Problem(source, "LC030", problem.message)
    assert "'contains'" in problem.message


def test_codes_are_unique_and_in_order() -> None:
    assert [each.code for each in Code] == [f"LC{at:03}" for at in range(1, len(Code) + 1)]
