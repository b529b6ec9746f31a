"""The README's examples run, and what it shows is what is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmcall.testing import ScriptedModel, Text, UseTool

pytestmark = pytest.mark.real_cli

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"<!-- (?P<kind>file|run|python): (?P<what>[^>]*) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)
VOLATILE = (
    (re.compile(r"\d+\.\d+ ?s\b"), "N s"),
    (re.compile(r"\S*\.llmcall/\S+"), "EVIDENCE"),
    (re.compile(r"claude \d+\.\d+\.\d+ \(.*\)"), "claude VERSION"),
    (re.compile(r"claude-[a-z0-9.-]+"), "MODEL"),
    (re.compile(r"\d+ tok"), "N tok"),
    (re.compile(r"\$\d+\.\d+"), "$N"),
    (re.compile(r"={3,}.* in N s ={3,}"), "THE END"),
    (re.compile(r" (F\.|\.F) "), " F. "),
    (re.compile(r" +"), " "),
)


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    for match in BLOCK.finditer(README.read_text(encoding="utf-8")):
        if match["kind"] == kind:
            yield match["what"].strip(), match["text"]


def steady(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        for pattern, replacement in VOLATILE:
            line = pattern.sub(replacement, line)  # noqa: PLW2901
        lines.append(line.strip())
    return [line for line in lines if line]


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a newcomer: no login, nothing configured."""
    home = str(tmp_path_factory.mktemp("home"))
    # In CI pytest does not cut the lines of its short summary.
    others = ("ANTHROPIC_", "CLAUDE", "PYTEST", "CI", "BUILD_NUMBER")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {**mine, "HOME": home, "COLUMNS": "80"}


def pytest_output(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout


def test_the_first_example_prints_what_is_shown(tmp_path: Path, environment: dict[str, str]) -> None:
    name, text = next(blocks("file"))
    (tmp_path / name).write_text(text, encoding="utf-8")
    answers, shown = next(blocks("run"))
    command, _, expected = shown.partition("\n")
    with ScriptedModel() as model:
        for country, answer in (each.split("=") for each in answers.split()):
            model.on(country.title(), Text(answer))
        printed = pytest_output(tmp_path, {**environment, **model.environment}, *command.split()[2:])
    start = printed.index("collected")
    assert sorted(steady(printed[start:])) == sorted(steady(expected))


def test_every_other_file_of_the_page_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    names = [name for name, text in blocks("file") if (tmp_path / name).write_text(text, encoding="utf-8")]
    assert names == ["capitals.llm.yaml", "test_answers.py", "person.llm.yaml", "conftest.py", "polite.llm.yaml"]
    with ScriptedModel() as model:
        model.on("salt", Text("Could you pass the salt, please?"))
        person = {"name": "John Doe", "age": 30, "city": "New York"}
        model.on("John Doe", UseTool("StructuredOutput", person), Text("done"))
        model.on("20 + 22", Text("42"))
        model.on("fox", Text("A fox slept."))
        model.on("animal", Text("Cat"))
        files = ("test_answers.py", "person.llm.yaml", "polite.llm.yaml")
        printed = pytest_output(tmp_path, {**environment, **model.environment}, "--llm", *files, "-rA")
    for test in ("test_sum", "test_sum_sync", "test_length", "test_topic"):
        assert f"PASSED test_answers.py::{test}" in printed
    assert "PASSED polite.llm.yaml::asks_nicely" in printed
    assert "XPASS person.llm.yaml::person" in printed


def test_the_scripted_example_prints_paris(tmp_path: Path, environment: dict[str, str]) -> None:
    [(_, text)] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "Paris"


def test_every_option_of_the_plugin_is_in_the_table() -> None:
    from pytest_llmcall.plugin import INI, OPTIONS

    page = README.read_text(encoding="utf-8")
    assert [name for name, *_ in (*OPTIONS, *INI) if f"`{name}" not in page] == []
