"""Leaves nothing behind when pytest is killed: a process that outlives it, and ends what it had registered.

One per run and pytest process. It holds one end of a pipe; the other end closes with pytest, even on SIGKILL.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pytest_llmcall.executors.claude.environment import RUN_MARK

_CHILD: Final = Path(__file__).with_name("guardian_child.py")
_END_S: Final = 10.0  # one second of grace for groups, the rest for a slow machine


class Guardian:
    """The guardian process of a run. Use it as a context manager: `with Guardian.start(run_id) as guardian`."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._folders: set[str] = set()
        self._process = self._spawn()

    @classmethod
    def start(cls, run_id: str) -> Self:
        """Start the guardian of a run. Returns at once: the pipe keeps what is said before it listens."""
        return cls(run_id)

    @property
    def pid(self) -> int:
        """The number of the guardian process."""
        return self._process.pid

    def register(self, group: int) -> None:
        """Have a process group ended when pytest is gone. From any thread."""
        with self._lock:
            self._groups.add(group)
            self._say(f"+{group}")

    def forget(self, group: int) -> None:
        """Drop a group that has ended, so that its number may be used again. From any thread."""
        with self._lock:
            self._groups.discard(group)
            self._say(f"-{group}")

    def register_folder(self, path: Path) -> None:
        """Have a folder removed when pytest is gone."""
        with self._lock:
            self._folders.add(os.fspath(path))
            self._say(f"@{path}")

    def close(self) -> None:
        """End the guardian; it sweeps the run's marks and removes the registered folders first."""
        with self._lock:
            _close(self._process)
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _say(self, line: str) -> None:
        try:
            _write(self._process, [line])
        except BrokenPipeError:
            # Somebody has killed it; what is registered must not be left unguarded.
            self._process.wait()
            _close(self._process)
            self._process = self._spawn()
            _write(self._process, [*(f"+{group}" for group in self._groups), *(f"@{each}" for each in self._folders)])

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Whatever ends pytest may be sent to all processes; blocked signals stay blocked in what is started here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            # Isolated and without site: faster, and nothing of the user's start-up files runs in it.
            return subprocess.Popen(
                [sys.executable, "-I", "-S", _CHILD, RUN_MARK, self.run_id, str(os.getpid()), _libraries()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    process.stdin.write(b"".join(os.fsencode(line) + b"\n" for line in lines))


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    with suppress(BrokenPipeError):
        process.stdin.close()


def _libraries() -> str:
    """Return the folder that psutil is imported from, without importing it."""
    spec = importlib.util.find_spec("psutil")
    return str(Path(spec.origin).parent.parent) if spec and spec.origin else ""
