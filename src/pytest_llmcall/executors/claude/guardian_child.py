"""The guardian process: waits for pytest to be gone, then ends what it registered. Run as a script, not imported.

Reads lines from stdin: `+GROUP`, `-GROUP`, `@FOLDER`. The end of stdin means that pytest has ended, however.
"""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

_PIECE: Final = 65536


def main() -> None:
    """Wait, then clean up."""
    mark, run_id, parent, libraries, look_s, grace_s = sys.argv[1:7]
    groups, folders = _listen(int(parent), float(look_s))
    sys.path.append(libraries)
    leftovers = _load("leftovers")
    _end_groups(leftovers, groups, float(grace_s))
    leftovers.end_marked(mark, run_id)
    for group in groups:  # a CLI leads its group, so both have one number
        leftovers.remove_socket(group)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _listen(parent: int, look_s: float) -> tuple[set[int], set[str]]:
    groups: set[int] = set()
    folders: set[str] = set()
    rest = b""
    while True:
        # A process that pytest forked may hold the pipe open, so its end is not the only sign.
        ready, _, _ = select.select([0], [], [], look_s)
        piece = os.read(0, _PIECE) if ready else b""
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            _note(line.decode("utf-8", "surrogateescape"), groups, folders)
        if (ready and not piece) or os.getppid() != parent:
            return groups, folders


def _note(line: str, groups: set[int], folders: set[str]) -> None:
    sign, value = line[:1], line[1:]
    if sign == "+":
        groups.add(int(value))
    elif sign == "-":
        groups.discard(int(value))
    elif sign == "@":
        folders.add(value)


def _end_groups(leftovers: Any, groups: set[int], grace_s: float) -> None:
    members = [process for group in groups for process in leftovers.family(group)] if sys.platform != "linux" else []
    alive = {group for group in groups if leftovers.signal_group(group, signal.SIGTERM)}
    end = time.monotonic() + grace_s
    while alive and time.monotonic() < end:
        time.sleep(0.02)
        alive = {group for group in alive if leftovers.signal_group(group, 0)}
    for group in alive:
        leftovers.signal_group(group, signal.SIGKILL)
    if members:
        leftovers.end_family(members)


def _load(name: str) -> Any:
    # By its path: importing the package would cost more than everything else here.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a .py file beside this one
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
