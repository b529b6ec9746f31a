"""docs/case-files.md and the code say the same: keys, validators with their examples, codes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from pytest_llmcall import Reply
from pytest_llmcall import validators as v
from pytest_llmcall._casefile import Code, load
from pytest_llmcall._casefile.cases import ADDED, KEYS
from pytest_llmcall.verdict import Validator

TEXT = (Path(__file__).parents[2] / "docs" / "case-files.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^\| `(?P<validator>.+?)` \| `(?P<reply>.*?)` \| (?P<verdict>yes|no) \|$", re.MULTILINE)


def section(title: str) -> str:
    level, name = title.split(" ", 1)
    found = re.search(rf"^{level} {re.escape(name)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"docs/case-files.md has no section {title!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    return [cell for cell in re.findall(r"^\| (\S+) \|", text, re.MULTILINE) if cell not in ("key", "code", "---")]


def test_every_key_is_documented_and_no_other() -> None:
    assert first_cells(section("## Keys").partition("**Defaults.**")[0]) == [f"`{key}`" for key in KEYS]


def test_the_lists_that_are_added_to_are_documented() -> None:
    assert f"The lists {', '.join(f'`{each}`' for each in ADDED[:-1])} and `{ADDED[-1]}` are added to" in TEXT


def test_every_code_is_documented_with_its_meaning() -> None:
    rows = re.findall(r"^\| (LC\d+) \| (.+) \|$", section("## Codes"), re.MULTILINE)
    assert rows == [(each.code, each.meaning) for each in Code]


def test_every_validator_has_a_section_and_every_section_a_validator() -> None:
    titles = re.findall(r"^### (.+)$", section("## Validators"), re.MULTILINE)
    assert sorted(titles) == sorted([*v.names(), "Your own"])


@pytest.mark.parametrize("name", v.names())
def test_every_parameter_of_a_validator_is_documented(name: str) -> None:
    documented = section(f"### {name}")
    if "As `contains`" in documented:
        documented += section("### contains")
    for parameter in dataclasses.fields(v.BUILT_IN[name]):  # type: ignore[arg-type]
        assert re.search(rf"`{parameter.name}\b", documented), parameter.name


@pytest.mark.parametrize("name", v.names())
def test_every_validator_has_an_accepting_and_a_rejecting_example(name: str) -> None:
    assert {match["verdict"] for match in EXAMPLE.finditer(section(f"### {name}"))} == {"yes", "no"}


@pytest.mark.parametrize("row", [match.groupdict() for match in EXAMPLE.finditer(TEXT)], ids=repr)
def test_every_example_is_true(row: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.llm.yaml"
    path.write_text(f"cases:\n- id: a\n  prompt: x\n  validate:\n  - {row['validator']}\n", encoding="utf-8")
    [case] = load(path)
    [validator] = case.checks
    assert isinstance(validator, v.BuiltIn | Validator)
    verdict = validator.judge(Reply(text=row["reply"].replace("⏎", "\n"), model="m"))
    assert not hasattr(verdict, "__await__")
    assert verdict.passed is (row["verdict"] == "yes"), verdict


def test_the_yaml_of_the_first_example_is_a_case_file(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "capital.llm.yaml"
    path.write_text(blocks[0], encoding="utf-8")
    assert [case.id for case in load(path)] == ["capital", "person"]


def test_the_functions_example_is_one(tmp_path: Path) -> None:
    [block] = [each for each in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "functions:" in each]
    path = tmp_path / "a.llm.yaml"
    path.write_text(block + "cases: [{id: a, prompt: x, validate: [not_empty]}]", encoding="utf-8")
    [function] = load(path)[0].call.functions
    assert function["name"] == "get_weather"
    assert function["parameters"]["required"] == ["city"]


def test_the_mcp_example_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_TOKEN", "n")
    monkeypatch.setenv("WEB_TOKEN", "w")
    [block] = [each for each in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if each.startswith("mcp:")]
    path = tmp_path / "a.llm.yaml"
    path.write_text(block + "cases: [{id: a, prompt: x, validate: [not_empty]}]", encoding="utf-8")
    assert [each.name for each in load(path)[0].call.mcp] == ["notes", "web"]
