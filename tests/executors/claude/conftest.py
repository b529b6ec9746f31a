from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.executors.claude import ClaudeCLI, find_claude
from pytest_llmcall.executors.claude.environment import RUN_MARK
from pytest_llmcall.executors.claude.leftovers import marked
from pytest_llmcall.executors.claude.process import Grace
from pytest_llmcall.executors.tape import LoadedTape, TapeFolder, load_tape
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import ScriptedModel

CHILDREN = Path(__file__).parents[2] / "children"
BOUND_S = 30.0
IMPATIENT = Grace(deadline_s=0.3, cancel_s=0.3, result_s=0.5, drain_s=0.5)


class Asking:
    """Asks through one CLI, and knows what a run may not leave behind."""

    def __init__(self, binary: Path, folder: Path, environment: dict[str, str], grace: Grace | None = None) -> None:
        self.run_id = uuid.uuid4().hex
        self.temporary = folder / "temporary"
        self.binary = binary
        self.environment = environment
        self.grace = grace
        self._tapes = folder / "tapes"

    @staticmethod
    def call(*texts: str, **fields: Any) -> Call:
        """Return a call whose turns are the user's and the assistant's in alternation."""
        turns = [Message(role="assistant" if place % 2 else "user", content=text) for place, text in enumerate(texts)]
        return Call(messages=tuple(turns), **fields)

    def cli(self, **environment: str) -> ClaudeCLI:
        return ClaudeCLI(
            self.binary,
            run_id=self.run_id,
            tapes=TapeFolder(self._tapes),
            environment={**self.environment, **environment},
            version="for tests",
            grace=self.grace,
        )

    def __call__(self, call: Call | str = "Hi", **environment: str) -> Reply:
        async def bounded() -> Reply:
            with anyio.fail_after(BOUND_S):
                return await self.cli(**environment).execute(asked)

        asked = (self.call(call) if isinstance(call, str) else call).resolved(model="max/default", timeout=20)
        return anyio.run(bounded)

    def tapes(self) -> list[LoadedTape]:
        return [load_tape(path) for path in sorted(self._tapes.iterdir())]

    def leftovers(self) -> list[object]:
        return [*marked(RUN_MARK, self.run_id), *self.temporary.iterdir()]


@pytest.fixture(autouse=True)
def private_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "home" / "config"))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Asking]:
    """The scripted child process; nothing of it may be left after the test."""
    binary = tmp_path / "claude"
    source = (CHILDREN / "fake_claude.py").read_text()
    binary.write_text(f"#!{sys.executable} -IS\n{source}")
    binary.chmod(0o755)
    asking = Asking(binary, tmp_path, {}, IMPATIENT)
    yield asking
    assert asking.leftovers() == []


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
def real(tmp_path: Path, model: ScriptedModel) -> Iterator[Asking]:
    """The real CLI, answered by the scripted model; nothing of it may be left after the test."""
    asking = Asking(find_claude().path, tmp_path, {**model.environment, "CLAUDE_CODE_MAX_RETRIES": "0"})
    yield asking
    assert asking.leftovers() == []
