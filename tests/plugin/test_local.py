"""`--llm-local`: the real CLI, answered by the embedded model, which starts and ends with the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real_cli, pytest.mark.real_model]

Run = Callable[..., pytest.RunResult]
HOME = os.environ["HOME"]  # pytester gives each test another one, where no model was pulled


def test_every_call_is_answered_by_the_embedded_model(
    run: Run,
    write: Callable[[str, str], Path],
    outcomes: Callable[[], dict[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", HOME)
    # A login or a provider of the developer's must not be asked instead.
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "not to be sent")
    write(
        "cases.llm.yaml",
        "cases:\n"
        "  - {id: asked, model: max/opus, system: 'You are Ada, a librarian.', prompt: Who are you?, "
        "validate: [{contains: Ada}]}\n"
        "  - {id: too_hard, prompt: x, needs: [capable-model], validate: [not_empty]}\n",
    )
    result = run("--llm-local", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "llmcall: model the embedded model, which is small and gets things wrong; *",
            "1 skipped: needs capable-model: the embedded model is too small",
        ]
    )
    assert outcomes()["asked"]["model"].startswith("SmolLM2")
    assert outcomes()["asked"]["cost_usd"] == 0.0


def test_a_model_that_was_not_pulled_is_a_usage_error_with_the_command(
    run: Run, write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write("cases.llm.yaml", "cases:\n  - {id: a, prompt: x, validate: [not_empty]}\n")
    result = run("--llm-local")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest-llmcall local pull*"])
