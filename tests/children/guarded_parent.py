"""Stands in for a pytest process: starts a guardian and children, says what they are, and waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pytest_llmcall.executors.claude import Guardian
from pytest_llmcall.executors.claude.environment import RUN_MARK

RESISTING = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PLAIN = "import time; print('up', flush=True); time.sleep(600)"


def child(code: str, **fields: Any) -> int:
    process = subprocess.Popen([sys.executable, "-IS", "-c", code], stdout=subprocess.PIPE, **fields)
    assert process.stdout
    process.stdout.readline()
    return process.pid


def lose(guardian: Guardian) -> None:
    first = guardian.pid
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 10
    while guardian.pid == first:
        assert time.monotonic() < end, "the guardian was not replaced"
        time.sleep(0.01)


def main(how: str, run_id: str, folder: str) -> None:
    guardian = Guardian.start(run_id, look_s=0.2, grace_s=0.2)
    registered = child(RESISTING if how == "resists" else PLAIN, start_new_session=True)
    guardian.register(registered)
    marked = child(PLAIN, start_new_session=True, env={**os.environ, RUN_MARK: run_id})
    forgotten = child(PLAIN, start_new_session=True)
    guardian.register(forgotten)
    guardian.forget(forgotten)
    guardian.register_folder(Path(folder))
    forked = os.fork() if how == "forks" else None
    if forked == 0:
        time.sleep(600)
    if how == "loses":
        lose(guardian)
    pids = {"guardian": guardian.pid, "registered": registered, "marked": marked, "forgotten": forgotten}
    sys.stdout.write(json.dumps({**pids, "forked": forked}) + "\n")
    sys.stdout.flush()
    if how == "exits":
        sys.exit(0)
    time.sleep(600)


main(*sys.argv[1:])
