"""Evidence on disk: one folder per run with a line per outcome, written the moment that the outcome is known.

The layout is `.llmcall/runs/<start>-<run>/`, with `outcomes.jsonl` and `tapes/`, where the executors write one
file per attempt; `.llmcall/.gitignore` keeps all of it out of git.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pytest_llmcall.errors import SettingsError

KEPT_RUNS: Final = 20
_RUN_NAME: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run's evidence; held against pruning until it is closed."""

    path: Path
    _hold: int = field(default=-1, repr=False)

    @property
    def tapes(self) -> Path:
        """The folder of the run's tapes."""
        return self.path / "tapes"

    @property
    def outcomes(self) -> Path:
        """The file with a line per outcome."""
        return self.path / "outcomes.jsonl"

    def close(self) -> None:
        """Let other runs prune the folder."""
        if self._hold >= 0:
            os.close(self._hold)

    def write(self, outcome: Mapping[str, Any]) -> None:
        """Append one line; workers of one run share the file, so a line is one system call.

        Raises:
            OSError: It cannot be written.
        """
        line = json.dumps(outcome, ensure_ascii=False, default=str) + "\n"
        descriptor = os.open(self.outcomes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _write_all(descriptor, line.encode("utf-8", "surrogatepass"))
        finally:
            os.close(descriptor)


def run_name(now: datetime, run_id: str) -> str:
    """Return the name of a run's folder; names sort in the order of the runs' starts."""
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{run_id[:8]}"


def open_run(evidence: Path, name: str) -> RunFolder:
    """Make a run's folder, and prune the oldest runs beyond the last 20.

    Raises:
        SettingsError: The folder cannot be made.
    """
    path = evidence / "runs" / name
    try:
        (path / "tapes").mkdir(parents=True, exist_ok=True)
        ignore = evidence / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        folder = RunFolder(path, _hold(path, fcntl.LOCK_SH))
    except OSError as error:
        raise SettingsError(
            f"the evidence folder {evidence} cannot be written: {error.strerror}; name another with --llm-evidence=DIR"
        ) from error
    prune(evidence, keep=KEPT_RUNS)
    return folder


def prune(evidence: Path, *, keep: int) -> None:
    """Remove the oldest runs' folders, so that at most `keep` are left, but for runs that are still going on."""
    runs = sorted(path for path in (evidence / "runs").iterdir() if path.is_dir() and _RUN_NAME.fullmatch(path.name))
    for old in runs[: max(0, len(runs) - keep)]:
        # Another run may prune at the same time.
        with contextlib.suppress(OSError):
            hold = _hold(old, fcntl.LOCK_EX)
            shutil.rmtree(old, ignore_errors=True)
            os.close(hold)


def _hold(folder: Path, kind: int) -> int:
    """Lock a run's folder; the system gives the lock back however the process ends."""
    descriptor = os.open(folder / ".running", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
