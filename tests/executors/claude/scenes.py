"""One scene of the failure catalogue: a call, what makes it fail for real, and how it ends. Nothing may be left."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from pytest_llmcall import validators as v
from pytest_llmcall._run import run_case
from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors.claude import ClaudeCLI, find_claude
from pytest_llmcall.executors.claude.environment import RUN_MARK
from pytest_llmcall.executors.claude.leftovers import marked
from pytest_llmcall.executors.claude.process import Grace
from pytest_llmcall.executors.claude.workspace import PREFIX
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.executors.tape import LoadedTape, TapeFolder, load_tape
from pytest_llmcall.local_model.http_api import ApiHandler, LoopbackServer
from pytest_llmcall.local_model.messages_api import Answer, TextBlock, as_events, as_message, encode_event, error_body
from pytest_llmcall.outcome import Outcome
from pytest_llmcall.reply import Reply
from pytest_llmcall.reports.terminal import case_text
from pytest_llmcall.testing import FakeExecutor, Request, ScriptedModel, Turn, UseTool
from pytest_llmcall.testing.scripted_model import answer_for

CHILD = Path(__file__).parents[2] / "children" / "fake_claude.py"
BOUND_S = 120.0
AT_ONCE = 2
IMPATIENT = Grace(deadline_s=0.3, cancel_s=0.3, result_s=0.5, drain_s=0.5)
DIRECT = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "CLAUDE_CODE_MAX_RETRIES": "0"}
KEY = {"ANTHROPIC_API_KEY": "sk-ant-scripted"}
SUBSCRIPTION = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-scripted"}

Step = Callable[[ApiHandler, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One call and what happens to it.

    Attributes:
        api: Where the model is, as a context manager that gives the environment of the CLI.
        make_cli: Makes the CLI in a folder; the real one by default.
        home: Files of the user's configuration folder.
        environment: Goes over all else.
        again: Ask once more after a failure of the infrastructure, as a run does.
        waits: It mostly waits, so that it may run beside others.
        meanwhile: Is done while the call runs, with the folder for temporary files.
    """

    call: Call
    api: Callable[[], AbstractContextManager[Mapping[str, str]]] = field(default=lambda: nullcontext({}))
    make_cli: Callable[[Path], Path] = field(default=lambda _: find_claude().path)
    home: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: Grace | None = None
    again: bool = False
    waits: bool = False
    meanwhile: Callable[[Path, ClaudeCLI], Coroutine[Any, Any, None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a scene ended, and what it left behind."""

    call: Call
    ended: Reply | NoReply
    tapes: tuple[LoadedTape, ...]
    left: tuple[object, ...]

    def outcome(self) -> Outcome:
        """Return what a case makes of it whose only check is that there is some text."""

        executor = FakeExecutor(self.ended)
        return run_case(self.call, (v.not_empty(),), executor=executor, wait=asyncio.run, keep=lambda _: None)

    def line(self) -> str:
        """Return the line of the terminal that says how it ended; empty if the case passes."""
        outcome = self.outcome()
        text = "" if outcome.status.value == "passed" else case_text(outcome)
        return text.splitlines()[0] if text else ""


def real(*turns: Turn, login: Mapping[str, str] = KEY, **fields: Any) -> Scene:
    """Return a scene of the real CLI, in which the model takes some turns, the last one again and again."""
    own = {name: fields.pop(name) for name in Scene.__dataclass_fields__ if name in fields}
    own["environment"] = {**login, **own.get("environment", {})}

    def api() -> AbstractContextManager[Mapping[str, str]]:
        return _Scripted(turns)

    return Scene(call=call_of(**fields), **{"api": api, **own})


def served(*steps: Step, login: Mapping[str, str] = KEY, **fields: Any) -> Scene:
    """Return a scene of the real CLI with an API that takes steps of its own, the last one again and again."""
    return real(login=login, api=lambda: Api(*steps), **fields)


def child(how: str, **fields: Any) -> Scene:
    """Return a scene of a child process that behaves as the real CLI cannot be made to."""
    own = {name: fields.pop(name) for name in Scene.__dataclass_fields__ if name in fields}
    own["environment"] = {"FAKE_CLAUDE": how, **own.get("environment", {})}
    return Scene(call=call_of(**fields), **{"make_cli": fake_cli, "grace": IMPATIENT, **own})


def with_options(*options: str) -> Callable[[Path], Path]:
    """Return a maker of the real CLI behind a script of the user's that adds options."""

    def make(folder: Path) -> Path:
        return program(folder, f'#!/bin/sh\nexec "{find_claude().path}" {" ".join(options)} "$@"\n')

    return make


def fake_cli(folder: Path) -> Path:
    """Make the child that stands in for the CLI."""
    return program(folder, f"#!{sys.executable} -IS\n{CHILD.read_text()}")


def program(folder: Path, text: str) -> Path:
    path = folder / "claude"
    path.write_text(text)
    path.chmod(0o755)
    return path


def call_of(prompt: str = "Hi", **fields: Any) -> Call:
    return Call(messages=(Message(role="user", content=prompt),), **fields).resolved(model="max/default", timeout=30)


class _Scripted(AbstractContextManager[Mapping[str, str]]):
    def __init__(self, turns: tuple[Turn, ...]) -> None:
        self._model = ScriptedModel()
        self._turns = turns

    def __enter__(self) -> Mapping[str, str]:
        self._model.__enter__()
        self._model.script(*self._turns[:-1])
        self._model.default(self._turns[-1])
        return {"ANTHROPIC_BASE_URL": self._model.url}

    def __exit__(self, *error: object) -> None:
        self._model.close()


class Api(AbstractContextManager[Mapping[str, str]]):
    """A Messages API whose every answer is a step of its own, down to the bytes."""

    def __init__(self, *steps: Step) -> None:
        left = list(steps)

        class Handler(ApiHandler):
            def post(self, path: str, body: dict[str, Any]) -> None:
                if path == "/v1/messages":
                    (left.pop(0) if len(left) > 1 else left[0])(self, body)
                else:
                    self.send_json(404, error_body(404, f"nothing at {path}"))

        self._server = LoopbackServer(Handler)

    def __enter__(self) -> Mapping[str, str]:
        self._server.start()
        return {"ANTHROPIC_BASE_URL": self._server.url}

    def __exit__(self, *error: object) -> None:
        self._server.close()


def says(text: str) -> Step:
    """Answer with a text."""

    def step(handler: ApiHandler, body: Mapping[str, Any]) -> None:
        _send(handler, body, _answer(body, text))

    return step


def refuses(status: int, message: str, kind: str | None = None, **headers: str) -> Step:
    """Answer with an error."""

    def step(handler: ApiHandler, _: Mapping[str, Any]) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send_json(status, error_body(status, message, kind=kind), named)

    return step


def breaks_off(text: str, *, kind: str = "overloaded_error") -> Step:
    """Say a text, or nothing, and then report an error in the stream, whose status is 200 by then."""

    def step(handler: ApiHandler, body: Mapping[str, Any]) -> None:
        handler.start_stream()
        for event in as_events(_answer(body, text)) if text else ():
            if event["type"] == "message_delta":
                break
            handler.send_chunk(encode_event(event))
        handler.send_chunk(encode_event({**error_body(529, "the stream broke", kind=kind), "type": "error"}))
        handler.send_chunk(b"")

    return step


def sends(status: int, kind: str, text: str) -> Step:
    """Answer with something that no Messages API sends."""

    def step(handler: ApiHandler, _: Mapping[str, Any]) -> None:
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text.encode())

    return step


def uses(tool: UseTool) -> Step:
    """Answer with the use of a tool."""

    def step(handler: ApiHandler, body: Mapping[str, Any]) -> None:
        request = Request(path="/v1/messages", body=body, headers={}, at=0.0)
        _send(handler, body, answer_for(tool, request))

    return step


def only_for(part: str, step: Step, other: Step) -> Step:
    """Take a step if the asked model's name holds a part, else another one."""
    return lambda handler, body: (step if part in body["model"] else other)(handler, body)


def _answer(body: Mapping[str, Any], text: str) -> Answer:
    return Answer(blocks=(TextBlock(text),), model=str(body.get("model")), input_tokens=5, output_tokens=5)


def _send(handler: ApiHandler, body: Mapping[str, Any], answer: Answer) -> None:
    if body.get("stream"):
        handler.start_stream()
        for event in as_events(answer):
            handler.send_chunk(encode_event(event))
        handler.send_chunk(b"")
    else:
        handler.send_json(200, as_message(answer))


@dataclass(frozen=True, slots=True)
class _Stage:
    """The folders of one scene."""

    folder: Path
    temporary: Path
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def build(cls, folder: Path, temporary: Path, home: Mapping[str, str]) -> Self:
        (folder / "home" / "config").mkdir(parents=True)
        for name, text in home.items():
            (folder / "home" / "config" / name).write_text(text)
        return cls(folder, temporary)

    @property
    def environment(self) -> dict[str, str]:
        home = self.folder / "home"
        return {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / "config"), "XDG_CACHE_HOME": str(home / "cache")}

    def tapes(self) -> tuple[LoadedTape, ...]:
        folder = self.folder / "tapes"
        return tuple(load_tape(path) for path in sorted(folder.iterdir())) if folder.exists() else ()

    def left(self) -> tuple[object, ...]:
        """Return processes, folders, login and session files, logs and sockets of the scene that are still there."""
        sockets = [Path(event.get("messaging_socket_path") or "/-") for tape in self.tapes() for event in tape.events]
        return (
            *marked(RUN_MARK, self.run_id),
            *self.temporary.glob(f"{PREFIX}{self.run_id[:8]}*"),
            *(self.folder / "home" / "config").glob("projects/**/*.jsonl"),
            *(self.folder / "home").rglob("mcp-logs-*"),
            *(path for path in sockets if path.exists()),
        )


async def play(scene: Scene, folder: Path, temporary: Path, gate: anyio.Semaphore) -> Played:
    """Return how a scene ended.

    Args:
        scene: What happens.
        folder: The scene's own.
        temporary: Where calls make their folders.
        gate: Bounds how many CLIs start at once, over all scenes: a deadline counts from the start.
    """
    stage = _Stage.build(folder, temporary, scene.home)
    with scene.api() as api:
        environment = {**DIRECT, **stage.environment, **api, **scene.environment}
        cli = ClaudeCLI(
            scene.make_cli(folder),
            run_id=stage.run_id,
            tapes=TapeFolder(folder / "tapes"),
            environment=environment,
            version="for tests",
            grace=scene.grace,
        )
        if scene.meanwhile is None:
            cli._startup = gate
        executor = Retry(cli, pause_s=0.0) if scene.again else cli
        async with anyio.create_task_group() as tasks:
            if scene.meanwhile:
                tasks.start_soon(scene.meanwhile, temporary, cli)
            try:
                ended: Reply | NoReply = await executor.execute(scene.call)
            except NoReply as none:
                ended = none
    return Played(call=scene.call, ended=ended, tapes=stage.tapes(), left=stage.left())


def play_all(scenes: Mapping[str, Scene], folder: Path) -> dict[str, Played]:
    """Return how each scene ended; those that mostly wait go on while the others take turns."""
    played: dict[str, Played] = {}
    slots, gate = anyio.Semaphore(AT_ONCE), anyio.Semaphore(AT_ONCE)
    temporary = folder / "temporary"
    temporary.mkdir()

    async def one(name: str, scene: Scene) -> None:
        if scene.waits:
            played[name] = await play(scene, folder / name, temporary, gate)
            return
        async with slots:
            played[name] = await play(scene, folder / name, temporary, gate)

    async def all_of_them() -> None:
        with anyio.fail_after(BOUND_S):
            async with anyio.create_task_group() as tasks:
                for name, scene in scenes.items():
                    tasks.start_soon(one, name, scene)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        anyio.run(all_of_them)
    return played
