"""The examples of docs/python-tests.md pass, against a scripted model and the real CLI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_llmcall.testing import Refusal, ScriptedModel, Text

pytestmark = pytest.mark.real_cli

PAGE = Path(__file__).parent.parent / "docs" / "python-tests.md"
EXAMPLE = re.compile(r"<!-- test -->\n```python\n(.*?)```", re.DOTALL)


def test_the_examples_for_python_tests_pass(tmp_path: Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    for number, text in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(text, encoding="utf-8")
    others = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "CLAUDE"))}
    with ScriptedModel() as model:
        model.on("capital", Text("Paris"))
        model.on("fox", Text("A fox slept."))
        model.on("lock", Refusal())
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "llm"],
            cwd=tmp_path,
            env={**others, **model.environment, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert len(examples) == 4
    assert " 9 passed" in done.stdout, done.stdout


def test_every_argument_of_a_call_is_in_the_table() -> None:
    from pytest_llmcall._asking import Options

    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in Options.__annotations__ if f"| `{name}` |" not in page] == []
