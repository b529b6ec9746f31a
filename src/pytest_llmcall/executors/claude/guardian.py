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
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pytest_llmcall.executors.claude.environment import RUN_MARK

_CHILD: Final = Path(__file__).with_name("guardian_child.py")
_END_S: Final = 10.0  # one second of grace for groups, the rest for a slow machine
_MOST_PAUSE_S: Final = 1.0  # a guardian that cannot live must not be started in a busy loop


class Guardian:
    """The guardian process of a run. Use it as a context manager: `with Guardian.start(run_id) as guardian`.

    Args:
        run_id: Marks every process of the run.
        look_s: How many seconds may pass until it sees that pytest is gone, if somebody holds its pipe open.
        grace_s: How many seconds a process group has to end politely.
    """

    def __init__(self, run_id: str, *, look_s: float = 1.0, grace_s: float = 1.0) -> None:
        self.run_id = run_id
        self._how = (_libraries(), str(look_s), str(grace_s))
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._folders: set[str] = set()
        self._closed = threading.Event()
        self._process = self._spawn()
        # A daemon: whoever forgets to close must not be kept from exiting.
        self._watcher = threading.Thread(target=self._watch, name="llmcall-guardian", daemon=True)
        self._watcher.start()

    @classmethod
    def start(cls, run_id: str, *, look_s: float = 1.0, grace_s: float = 1.0) -> Self:
        """Start the guardian of a run. Returns at once: the pipe keeps what is said before it listens."""
        return cls(run_id, look_s=look_s, grace_s=grace_s)

    @property
    def pid(self) -> int:
        """The number of the guardian process, which knows all that was registered."""
        with self._lock:
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

    def register_folder(self, *paths: Path) -> None:
        """Have folders removed when pytest is gone."""
        with self._lock:
            self._folders.update(map(os.fspath, paths))
            self._say(*(f"@{path}" for path in paths))

    def close(self) -> None:
        """End the guardian; it sweeps the run's marks and removes the registered folders first."""
        self._closed.set()
        with self._lock:
            _close(self._process)
        self._watcher.join(_END_S)
        if self._watcher.is_alive():
            self._process.kill()
            self._watcher.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _watch(self) -> None:
        """Replace the guardian at once when somebody has killed it: calls in flight must not be left unguarded."""
        pause_s = 0.0
        while True:
            began = time.monotonic()
            self._process.wait()
            self._closed.wait(pause_s)
            lived_s = time.monotonic() - began - pause_s
            pause_s = min(_MOST_PAUSE_S, 2 * pause_s + 0.05) if lived_s < _MOST_PAUSE_S else 0.0
            with self._lock:
                if self._closed.is_set():
                    return
                with suppress(OSError):  # no process or no file to be had just now; the next round tries again
                    self._replace()

    def _replace(self) -> None:
        fresh = self._spawn()
        _close(self._process)
        self._process = fresh
        self._say(*(f"+{group}" for group in self._groups), *(f"@{each}" for each in self._folders))

    def _say(self, *lines: str) -> None:
        # If it has been killed, the watcher tells its successor everything.
        with suppress(BrokenPipeError):
            _write(self._process, lines)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Whatever ends pytest may be sent to all processes; blocked signals stay blocked in what is started here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            # Isolated and without site: faster, and nothing of the user's start-up files runs in it.
            return subprocess.Popen(
                [sys.executable, "-I", "-S", _CHILD, RUN_MARK, self.run_id, str(os.getpid()), *self._how],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write(process: subprocess.Popen[bytes], lines: Sequence[str]) -> None:
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
