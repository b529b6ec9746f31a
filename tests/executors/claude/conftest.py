from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors.claude import ClaudeCLI, find_claude
from pytest_llmcall.executors.claude.environment import RUN_MARK
from pytest_llmcall.executors.claude.leftovers import marked
from pytest_llmcall.executors.claude.process import Grace
from pytest_llmcall.executors.tape import LoadedTape, TapeFolder, load_tape
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import ScriptedModel, Turn

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


class Scene:
    """One call of the real CLI and what the model does: the scripted turns, the last of which it repeats."""

    def __init__(self, *turns: Turn, environment: Mapping[str, str] | None = None, **fields: Any) -> None:
        self.turns = turns
        self.environment = dict(environment or {})
        self.call = Asking.call("Hi", **fields).resolved(model="max/default", timeout=20)

    async def play(self, asking: Asking) -> Reply | NoReply:
        with ScriptedModel() as model:
            model.script(*self.turns[:-1])
            model.default(self.turns[-1])
            retries = {"CLAUDE_CODE_MAX_RETRIES": "0"}
            try:
                return await asking.cli(**{**model.environment, **retries, **self.environment}).execute(self.call)
            except NoReply as none:
                return none


def play_all(waiting: Mapping[str, Scene], working: Mapping[str, Scene], folder: Path) -> dict[str, Reply | NoReply]:
    """Return how each scene ended; those that mostly wait go on while the others take turns."""
    outcomes: dict[str, Reply | NoReply] = {}
    slots = anyio.Semaphore(2)

    async def one(name: str, scene: Scene) -> None:
        outcomes[name] = await scene.play(asking)

    async def one_in_turn(name: str, scene: Scene) -> None:
        async with slots:
            await one(name, scene)

    async def all_of_them() -> None:
        with anyio.fail_after(2 * BOUND_S):
            async with anyio.create_task_group() as tasks:
                for name, scene in waiting.items():
                    tasks.start_soon(one, name, scene)
                for name, scene in working.items():
                    tasks.start_soon(one_in_turn, name, scene)

    with pytest.MonkeyPatch.context() as patch:
        make_private(folder, patch)
        asking = Asking(find_claude().path, folder, {})
        anyio.run(all_of_them)
        assert asking.leftovers() == []
    return outcomes


@pytest.fixture(autouse=True)
def private_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_private(tmp_path, monkeypatch)


def make_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.fixture(scope="module")
def scenes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reply | NoReply]:
    """How the scenes of a module ended, each played once."""
    waiting, working = request.module.make_scenes(Scene)
    return play_all(waiting, working, tmp_path_factory.mktemp("scenes"))
