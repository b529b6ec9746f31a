"""Finds and ends processes that a call left, by the marks in their environment and by their parents.

Stands alone at import (no third party, nothing of ours): the guardian loads it without the package.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

_PROC: Final = "/proc"
_ROUNDS: Final = 20  # a process may fork while it is being ended; each round finds the children of the last
_ROUND_S: Final = 0.05


def marked(mark: str, *values: str) -> list[int]:
    """Return the processes whose environment holds a mark with one of some values, but for this one."""
    wanted = {f"{mark}={value}" for value in values}
    environments = _environments_from_proc(mark) if sys.platform == "linux" else _environments_from_psutil()
    return [pid for pid, found in environments if not wanted.isdisjoint(found) and pid != os.getpid()]


def end_marked(mark: str, *values: str) -> list[int]:
    """Kill every process that bears one of some marks; return those that are still there, which should be none."""
    left: list[int] = []
    for _ in range(_ROUNDS):
        left = marked(mark, *values)
        if not left:
            return []
        for pid in left:
            kill(pid)
        time.sleep(_ROUND_S)
    return left


def kill(pid: int) -> None:
    """Kill a process that may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def signal_group(group: int, number: int) -> bool:
    """Signal a process group; return whether there was one. Number 0 only looks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def remove_socket(pid: int) -> None:
    """Remove the socket that a CLI with this number leaves when it is killed.

    It lies in the call's own folder, unless the user's runtime folder comes first or the path would be too long.
    """
    folders = (Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", "cc-socks"), Path(f"/tmp/cc-socks-{os.getuid()}"))  # noqa: S108 - the CLI's own choice
    for folder in folders:
        path = folder / f"{pid}.sock"
        with suppress(OSError):
            if path.is_socket():
                path.unlink()


def family(pid: int) -> list[psutil.Process]:
    """Return the descendants of a process, and everything that shares a session with it or with one of them.

    Tools run in sessions of their own, and their children change parents when they are orphaned.
    """
    import psutil  # noqa: PLC0415 - the guardian starts without third parties

    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    sessions = {_session(process.pid) for process in below} | {pid}
    known = {process.pid for process in below} | {pid, os.getpid()}
    mates = (process for process in psutil.process_iter() if process.pid not in known)
    return below + [process for process in mates if _session(process.pid) in sessions - {None, os.getsid(0)}]


def end_family(members: Iterable[psutil.Process]) -> None:
    """Kill what is still alive of a family; a process that has taken over a number since then is spared."""
    import psutil  # noqa: PLC0415 - the guardian starts without third parties

    for process in members:
        with suppress(psutil.Error):
            process.kill()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken, in all of its threads; -1 if it is gone."""
    import psutil  # noqa: PLC0415 - the guardian starts without third parties

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return -1.0
    return times.user + times.system


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _environments_from_proc(mark: str) -> Iterator[tuple[int, list[str]]]:
    needle = f"{mark}=".encode()
    for name in os.listdir(_PROC):  # noqa: PTH208 - a Path for each process costs more than reading it
        if not name.isdecimal():
            continue
        try:
            with FileIO(f"{_PROC}/{name}/environ") as file:
                content = file.readall()
        except OSError:
            continue
        if needle in content:
            yield int(name), content.decode(errors="replace").split("\0")


def _environments_from_psutil() -> Iterator[tuple[int, list[str]]]:
    import psutil  # noqa: PLC0415 - the guardian starts without third parties

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            yield process.pid, [f"{name}={value}" for name, value in process.environ().items()]
