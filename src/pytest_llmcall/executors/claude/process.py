"""One CLI process from start to last trace: one task starts it, feeds it, drains it, and ends its whole tree.

Says how it ended, never what that means (`ending.py`). Every wait is bounded.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Final, Protocol

import anyio
from anyio import to_thread
from anyio.abc import Process

from pytest_llmcall.executors.claude.leftovers import (
    cpu_seconds,
    end_family,
    family,
    remove_socket,
    signal_group,
)
from pytest_llmcall.executors.claude.stream import Event, LineFramer, LineTooLongError, Transcript, parse_line
from pytest_llmcall.executors.claude.sweeper import Sweeper

REAP_S: Final = 5.0
STARTUP_S: Final = 5.0  # a slow MCP server must not keep the others from starting
_LOOK_S: Final = 0.1  # a process that is ready to run gets some time within this, also on a busy machine
CHUNK: Final = 64 * 1024
LARGE_LINE: Final = 1024 * 1024  # parsing more than this on the loop would delay every other call
KEPT_STDERR: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grace:
    """How many seconds a process has for an end of its own.

    Attributes:
        deadline_s: After its deadline; the CLI ends its tools and servers within 0.6 s if it can.
        cancel_s: When it is not wanted any more; Ctrl-C has to feel immediate.
        result_s: After its result, when nothing is missing; some versions then wait for background work.
        drain_s: For its pipes after its end; an orphan that hides its marks may hold one open.
    """

    deadline_s: float = 3.0
    cancel_s: float = 0.5
    result_s: float = 5.0
    drain_s: float = 2.0


class Cause(Enum):
    """Why a process is no more."""

    EXITED = "it ended by itself"
    DEADLINE = "the deadline passed"
    HUNG = "it gave its result, but did not end"
    STOPPED = "what it wrote made going on pointless"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started, and how many seconds it may take."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    cwd: Path
    stdin: bytes = field(repr=False)
    call_id: str
    timeout: float
    grace: Grace = field(default_factory=Grace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a process ended.

    Attributes:
        exit_code: As the system reports it; negative for a signal.
        cause: Why it is no more.
        duration_s: From its start to its end.
        stderr: The head and tail of what it wrote there.
        fault: Why it was stopped, for `Cause.STOPPED`.
    """

    exit_code: int | None
    cause: Cause
    duration_s: float
    stderr: str = ""
    fault: BaseException | None = None


class Evidence(Protocol):
    """Takes what arrives, as it arrives."""

    def event(self, line: bytes, event: Event | None) -> None:
        """Take one line of stdout, with the event that it holds."""

    def stderr(self, chunk: bytes) -> None:
        """Take some bytes of stderr."""


class Registry(Protocol):
    """Knows the process groups to end when this process is gone."""

    def register(self, group: int) -> None:
        """Take a group."""

    def forget(self, group: int) -> None:
        """Drop a group that has ended."""


class HeadAndTail:
    """Keeps the beginning and the end of a flood of bytes."""

    def __init__(self, most: int = KEPT_STDERR) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = self._dropped = 0

    def add(self, chunk: bytes) -> None:
        """Take some bytes."""
        room = self._half - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:]
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
        while self._tail and self._tail_size - len(self._tail[0]) >= self._half:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self._dropped += len(gone)

    def text(self) -> str:
        """Return what was kept; a cut is stated."""
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._half)
        dropped = self._dropped + cut
        note = f"\n[... {dropped} bytes ...]\n".encode() if dropped else b""
        return (bytes(self._head) + note + tail[cut:]).decode("utf-8", "replace")


async def run_process(
    launch: Launch,
    transcript: Transcript,
    *,
    startup: anyio.Semaphore,
    evidence: Evidence | None = None,
    registry: Registry | None = None,
    sweeper: Sweeper | None = None,
) -> Finished:
    """Run one process to its end, and return how it ended. Nothing of it is left, also if this is cancelled.

    Args:
        launch: What is started.
        transcript: Takes the events; its `fault` ends the process early.
        startup: Bounds how many processes start at once; waiting for it does not count.
        evidence: Takes the raw lines.
        registry: Hears of the process group.
        sweeper: Ends what the process leaves; shared, it looks for that of many processes at once.

    Raises:
        OSError: The process cannot be started.
    """
    async with started_process(launch, startup=startup, registry=registry, sweeper=sweeper) as started:
        return await started.to_the_end(transcript, evidence)


@asynccontextmanager
async def started_process(
    launch: Launch, *, startup: anyio.Semaphore, registry: Registry | None = None, sweeper: Sweeper | None = None
) -> AsyncIterator[Started]:
    """Start a process, which is told nothing before `to_the_end`; whatever is left of it at the end is ended.

    Raises:
        OSError: The process cannot be started.
    """
    await startup.acquire()
    try:
        with anyio.CancelScope(shield=True):  # a child that is cancelled half-way through its start would be lost
            process = await anyio.open_process(
                launch.argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=launch.cwd,
                env=launch.environment,
                start_new_session=True,
            )
    except BaseException:
        startup.release()
        raise
    started = Started(process, launch, startup, sweeper or Sweeper())
    try:
        if registry:
            registry.register(process.pid)
        yield started
    finally:
        await started.leave_nothing()
        if registry:
            registry.forget(process.pid)


class Started:
    """A process that has been started: the rest of its life."""

    def __init__(self, process: Process, launch: Launch, startup: anyio.Semaphore, sweeper: Sweeper) -> None:
        self.process = process
        self._launch = launch
        self._sweeper = sweeper
        self._startup: anyio.Semaphore | None = startup
        self._transcript = Transcript()
        self._evidence: Evidence | None = None
        self._stderr = HeadAndTail()
        self._turn = anyio.Event()  # exited, gave a result, or is to be stopped
        self._exited = anyio.Event()
        self._drained = anyio.Event()
        self._fault: BaseException | None = None
        self._is_swept = False
        self._is_over = False

    def started_up(self) -> None:
        """Let the next process start."""
        if self._startup is not None:
            self._startup.release()
            self._startup = None

    async def settle(self) -> None:
        """Wait until the process waits for what it is told, and let the next one start.

        Getting ready takes CPU time all along, and waiting takes none; nothing else tells the two apart.
        """
        with anyio.move_on_after(STARTUP_S):
            before = -1.0
            while (now := await to_thread.run_sync(cpu_seconds, self.process.pid)) != before:
                before = now
                await anyio.sleep(_LOOK_S)
        self.started_up()

    async def to_the_end(self, transcript: Transcript, evidence: Evidence | None = None) -> Finished:
        """Tell the process what to do, and watch it until nothing of it is left."""
        self._transcript, self._evidence = transcript, evidence
        began = time.monotonic()
        process = self.process
        try:
            async with anyio.create_task_group() as tasks:
                for task in (self._feed, self._read, self._drain_stderr, self._wait, self._open_gate_in_time):
                    tasks.start_soon(task, process)
                cause = await self._watch(process)
                tasks.cancel_scope.cancel()
        finally:
            await self.leave_nothing()
        return Finished(
            exit_code=process.returncode,
            cause=cause,
            duration_s=time.monotonic() - began,
            stderr=self._stderr.text(),
            fault=self._fault,
        )

    async def leave_nothing(self) -> None:
        """End what is left of the process and of all that it has started; a second time does nothing."""
        self.started_up()
        if self._is_over:
            return
        self._is_over = True
        process = self.process
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                await end_tree(process, grace=self._launch.grace.cancel_s)
            await self._sweep(process)
            if process.returncode != 0:
                remove_socket(process.pid)
            with anyio.move_on_after(REAP_S):
                await process.aclose()

    async def _watch(self, process: Process) -> Cause:
        with anyio.move_on_after(self._launch.timeout):
            await self._turn.wait()
        if not self._turn.is_set():
            await end_tree(process, grace=self._launch.grace.deadline_s)
            return Cause.DEADLINE
        if not self._stopped:
            with anyio.move_on_after(self._launch.grace.result_s):
                await self._exited.wait()
        if not self._exited.is_set():
            await end_tree(process, grace=self._launch.grace.cancel_s)
            return Cause.STOPPED if self._stopped else Cause.HUNG
        await self._sweep(process)  # an orphan may hold a pipe open, and its end would never be read
        with anyio.move_on_after(self._launch.grace.drain_s):
            await self._drained.wait()
        return Cause.STOPPED if self._stopped else Cause.EXITED

    @property
    def _stopped(self) -> bool:
        return self._fault is not None

    async def _feed(self, process: Process) -> None:
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - a pipe was asked for
        # It may end before it has read everything; what it then says tells more than the broken pipe.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await stdin.send(self._launch.stdin)
        with suppress(anyio.BrokenResourceError):
            await stdin.aclose()

    async def _read(self, process: Process) -> None:
        stdout = process.stdout
        assert stdout is not None  # noqa: S101 - a pipe was asked for
        framer = LineFramer()
        try:
            while True:
                for line in framer.feed(await stdout.receive(CHUNK)):
                    await self._take(line)
        except anyio.EndOfStream:
            await self._take(framer.rest())
        except LineTooLongError as fault:
            self._stop(fault)
            await _discard(process)
        self._drained.set()

    async def _take(self, line: bytes) -> None:
        parse = partial(parse_line, line)
        event = await to_thread.run_sync(parse) if len(line) > LARGE_LINE else parse()
        if self._evidence and line:
            self._evidence.event(line, event)
        if event is None:
            self._transcript.add_noise(line)
            return
        self._transcript.add(event)
        self.started_up()
        if self._transcript.fault is not None:
            self._stop(self._transcript.fault)
        elif self._transcript.result is not None:
            self._turn.set()

    def _stop(self, fault: BaseException) -> None:
        self._fault = fault
        self._turn.set()

    async def _drain_stderr(self, process: Process) -> None:
        stderr = process.stderr
        assert stderr is not None  # noqa: S101 - a pipe was asked for
        with suppress(anyio.EndOfStream):
            while True:
                chunk = await stderr.receive(CHUNK)
                self._stderr.add(chunk)
                if self._evidence:
                    self._evidence.stderr(chunk)

    async def _wait(self, process: Process) -> None:
        await process.wait()
        self._exited.set()
        self._turn.set()

    async def _open_gate_in_time(self, _: Process) -> None:
        await anyio.sleep(STARTUP_S)
        self.started_up()

    async def _sweep(self, process: Process) -> None:
        """End what is left when the process has ended: nobody is there then who could start more."""
        if self._is_swept:
            return
        signal_group(process.pid, signal.SIGKILL)
        await self._sweeper.end(self._launch.call_id)
        self._is_swept = True


async def end_tree(process: Process, *, grace: float) -> None:
    """End a process and its family: politely first, and completely after a grace in seconds."""
    # Taken before the first signal: orphans can no longer be found by their parents afterwards.
    members = await to_thread.run_sync(family, process.pid)
    with suppress(ProcessLookupError):
        process.terminate()
    with anyio.move_on_after(grace):
        await process.wait()
    signal_group(process.pid, signal.SIGKILL)
    await to_thread.run_sync(end_family, members)
    with anyio.move_on_after(REAP_S):
        await process.wait()


async def _discard(process: Process) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    with suppress(anyio.EndOfStream):
        while True:
            await process.stdout.receive(CHUNK)
