"""A scripted model behind the real CLI, and inner pytest runs in processes of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmcall.testing import ScriptedModel

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedModel]:
    """The model that the inner run's CLI talks to; nothing of the developer's own set-up reaches it."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE"))]:
        monkeypatch.delenv(name)
    with ScriptedModel() as scripted:
        for name, value in {
            **scripted.environment,
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "CLAUDE_CODE_MAX_RETRIES": "0",
        }.items():
            monkeypatch.setenv(name, value)
        yield scripted


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run an inner pytest in a process of its own, with LLM items on."""

    def inner(*args: str, llm: bool = True) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*(["--llm"] if llm else []), "-p", "no:cacheprovider", *args, timeout=120)

    return inner


@pytest.fixture
def outcomes(pytester: pytest.Pytester) -> Callable[[], dict[str, dict[str, Any]]]:
    """Return the newest run's outcomes by case."""

    def read() -> dict[str, dict[str, Any]]:
        newest = max((pytester.path / ".llmcall" / "runs").glob("*/outcomes.jsonl"))
        lines = map(json.loads, newest.read_text(encoding="utf-8").splitlines())
        return {line["nodeid"].partition("::")[2]: line for line in lines}

    return read


@pytest.fixture
def write(pytester: pytest.Pytester) -> Callable[[str, str], Path]:
    """Write a file of the inner suite."""

    def file(name: str, text: str) -> Path:
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return file


@pytest.fixture(autouse=True)
def nothing_is_left(pytester: pytest.Pytester) -> Iterator[None]:
    """After each test: no process that belongs to a run of this test."""
    yield
    runs = {path.name.rpartition("-")[2] for path in (pytester.path / ".llmcall" / "runs").glob("*")}
    left = [process.info for process in _marked(runs)]
    assert not left


def _marked(runs: set[str]) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            marker = process.environ().get("PYTEST_LLMCALL_RUN", "")
        except psutil.Error:
            continue
        if marker[:8] in runs:
            yield process
