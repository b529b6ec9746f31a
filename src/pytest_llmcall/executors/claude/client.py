"""The way of one call: folders and launch line, a process, its ending, the reply; and the tape of all that."""

from __future__ import annotations

import errno
import math
import os
import time
import uuid
from collections import ChainMap
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply
from pytest_llmcall.executors.claude.ahead import Ahead
from pytest_llmcall.executors.claude.argv import launch_line
from pytest_llmcall.executors.claude.conversation import stdin_lines
from pytest_llmcall.executors.claude.ending import init_fault, reply_from
from pytest_llmcall.executors.claude.environment import child_environment
from pytest_llmcall.executors.claude.failures import is_rejected_login, is_without_login
from pytest_llmcall.executors.claude.find import INSTALL
from pytest_llmcall.executors.claude.guardian import Guardian
from pytest_llmcall.executors.claude.login import login_settings
from pytest_llmcall.executors.claude.process import Finished, Grace, Launch, Started, started_process
from pytest_llmcall.executors.claude.relapse import Relapse
from pytest_llmcall.executors.claude.stream import Event, Transcript
from pytest_llmcall.executors.claude.sweeper import Sweeper
from pytest_llmcall.executors.claude.traces import log_folder, read_logs, remove_logs
from pytest_llmcall.executors.claude.workspace import Workspace, has_files, make_workspace, read_files, remove_folder
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.executors.tape import Tape, TapeFolder, too_many_files
from pytest_llmcall.reply import Reply

_BUSY_SYSTEM = {errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY}


class ClaudeCLI:
    """Asks through the real CLI, one process and one attempt per call.

    Args:
        binary: The CLI, see `find_claude`.
        run_id: Marks every process of the run.
        guardian: Ends everything when pytest is killed; None leaves that to chance.
        tapes: Where the evidence goes; None keeps none.
        environment: Goes over the inherited environment, for example `ANTHROPIC_BASE_URL`.
        unset: Names to drop from the inherited environment.
        version: The CLI's version, for the tapes.
        grace: How long processes may take for an end of their own.
        ahead: How many calls may have their process started while they wait for a slot, at most one per core.
    """

    def __init__(  # noqa: PLR0913 - what a run is set up with
        self,
        binary: Path,
        *,
        run_id: str,
        guardian: Guardian | None = None,
        tapes: TapeFolder | None = None,
        environment: Mapping[str, str] | None = None,
        unset: Sequence[str] = (),
        version: str = "",
        grace: Grace | None = None,
        ahead: int = 1,
    ) -> None:
        self._binary = binary
        self._run_id = run_id
        self._guardian = guardian
        self._tapes = tapes
        self._environment = dict(environment or {})
        self._unset = tuple(unset)
        self._version = version
        self._grace = grace or Grace()
        self._login = Relapse()
        self._program = Relapse()
        # More start-ups at once than cores only make each of them slower.
        cores = max(1, os.cpu_count() or 1)
        self._startup = anyio.Semaphore(cores)
        self._sweeper = Sweeper()
        self._ahead = Ahead(self._begin, most=min(cores, ahead))

    def prepare(self, call: Call) -> AbstractAsyncContextManager[None]:
        """Start the process of a call that waits for its slot; it is told what to do, or ended, inside.

        Not if it would start servers: those are the user's, who counts on no more of them than calls in flight.
        """
        return nullcontext() if call.mcp else self._ahead.prepare(call)

    async def execute(self, call: Call) -> Reply:
        """Return what came back for a call, after one attempt.

        Raises:
            NoReply: One of its subclasses; only InfrastructureError is worth another try.
        """
        tape = self._open_tape(call)
        try:
            reply = await self._ask_with_files(call, tape)
            tape.end_with_reply(reply)
        except NoReply as none:
            none.evidence = tape.path
            tape.end_without_reply(none)
            raise
        finally:
            tape.close()
        return reply

    async def _ask_with_files(self, call: Call, tape: Tape) -> Reply:
        try:
            return await self._ask(call, tape)
        except OSError as error:
            scarce = too_many_files(error)
            if scarce is None:
                raise
            raise scarce from error

    async def _ask(self, call: Call, tape: Tape) -> Reply:
        transcript = Transcript(partial(init_fault, call))
        async with self._ahead.begun(call) as begun:
            finished = await self._finish(begun, transcript, tape)
            files = await to_thread.run_sync(read_files, begun.work) if has_files(begun.work) else {}
            servers = await to_thread.run_sync(read_logs, begun.logs) if call.mcp else ()
        tape.check()
        try:
            reply = reply_from(call, finished, transcript, servers=servers)
        except ConfigurationError as error:
            raise self._unless_login_may_return(error, transcript, begun.since) from error.__cause__
        self._login.worked()
        return replace(reply, files=files, tape=tape.path)

    def _unless_login_may_return(self, error: ConfigurationError, transcript: Transcript, began: float) -> NoReply:
        lost = self._login.has_worked and is_without_login(transcript)
        if (lost or is_rejected_login(transcript)) and self._login.may_pass(began):
            return _for_now(error)
        return error

    @asynccontextmanager
    async def _begin(self, call: Call) -> AsyncIterator[_Begun]:
        """Start the process of a call in its folders, and leave nothing of all that at the end."""
        since = time.monotonic()
        async with self._workspace(call) as (space, logs), AsyncExitStack() as held:
            launch = self._launch(call, space)
            process = started_process(launch, startup=self._startup, registry=self._guardian, sweeper=self._sweeper)
            with self._explaining(launch.cwd, since):
                started = await held.enter_async_context(process)
            yield _Begun(process=started, work=space.work, logs=logs, since=since)

    async def _finish(self, begun: _Begun, transcript: Transcript, tape: Tape) -> Finished:
        with self._explaining(begun.work, begun.since):
            finished = await begun.process.to_the_end(transcript, _Evidence(tape))
        self._program.worked()
        return finished

    @contextmanager
    def _explaining(self, cwd: Path, since: float) -> Iterator[None]:
        """Turn what the system says of a process that does not start into why there is no reply."""
        try:
            yield
        except OSError as error:
            none = _not_started(self._binary, error, cwd)
            # One that is being updated is not there for a moment.
            is_missing = isinstance(none, ConfigurationError) and none.scope == "executor"
            if is_missing and self._program.has_worked and self._program.may_pass(since):
                none = _for_now(none)
            raise none from error

    def _launch(self, call: Call, space: Workspace) -> Launch:
        call_id = uuid.uuid4().hex
        timeout = math.inf if call.timeout is None else call.timeout
        return Launch(
            argv=launch_line(
                self._binary,
                call,
                model=parse_model(call.model or "max/default").model,
                system_file=space.system_file,
                mcp_file=space.mcp_file,
                session_file=space.session_file,
                login_file=space.login_file,
            ),
            environment=child_environment(
                os.environ,
                run_id=self._run_id,
                call_id=call_id,
                scratch=space.scratch,
                overrides=self._environment,
                unset=self._unset,
                timeout=timeout,
            ),
            cwd=space.work,
            stdin=stdin_lines(call),
            call_id=call_id,
            timeout=timeout,
            grace=self._grace,
        )

    @asynccontextmanager
    async def _workspace(self, call: Call) -> AsyncIterator[tuple[Workspace, Path]]:
        """Make the folders of a call and know where its servers' logs will be; remove all of it at the end."""
        with anyio.CancelScope(shield=True):
            login = login_settings(os.environ, self._environment)
            space = await to_thread.run_sync(partial(make_workspace, call, run_id=self._run_id, login=login))
        logs = log_folder(space.work, ChainMap(self._environment, os.environ))
        if self._guardian:
            self._guardian.register_folder(space.root, logs)
        try:
            yield space, logs
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_remove, space.root, logs)

    def _open_tape(self, call: Call) -> Tape:
        if self._tapes is None:
            return Tape.nowhere()
        return self._tapes.open(call, executor="claude", version=self._version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A call whose process waits for its prompt."""

    process: Started
    work: Path
    logs: Path
    since: float

    async def settle(self) -> None:
        """Return when the process is ready."""
        await self.process.settle()


class _Evidence:
    """Puts on the tape what arrives, but for the pieces of answers, which whole answers repeat."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def event(self, line: bytes, event: Event | None) -> None:
        """Take one line of stdout."""
        if event is None:
            self._tape.line(line)
        elif event.get("type") != "stream_event":
            self._tape.event(line)

    def stderr(self, chunk: bytes) -> None:
        """Take some bytes of stderr."""
        self._tape.stderr(chunk)


def _remove(root: Path, logs: Path) -> None:
    remove_folder(root)
    remove_logs(logs)


def _for_now(error: NoReply) -> InfrastructureError:
    for_now = InfrastructureError(error.reason, received=error.received, detail=error.detail, remedy=error.remedy)
    for_now.cost_usd, for_now.tokens = error.cost_usd, error.tokens
    return for_now


def _not_started(binary: Path, error: OSError, cwd: Path) -> NoReply:
    scarce = too_many_files(error)
    if scarce:
        return scarce
    if os.fspath(error.filename or "") == os.fspath(cwd):  # the same errors as for a missing program
        reason = f"the call's folder {cwd} is gone: {error.strerror or error}"
        return InfrastructureError(reason, remedy="keep what cleans the folder for temporary files away from it")
    reason = f"{binary} does not start: {error.strerror or error}"
    if error.errno in _BUSY_SYSTEM:
        return InfrastructureError(reason, remedy="lower --llm-concurrency, or raise the limit of `ulimit -u`")
    if error.errno == errno.E2BIG:
        return ConfigurationError(reason, scope="call", remedy="make the environment or the schema smaller")
    return ConfigurationError(reason, remedy=INSTALL)
