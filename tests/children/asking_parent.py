"""Stands in for a pytest process that asks: one call with a guardian, until somebody kills it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import anyio

from pytest_llmcall.call import Call, Message
from pytest_llmcall.executors.claude import ClaudeCLI, Guardian

binary, run_id, temporary = sys.argv[1:]
tempfile.tempdir = temporary
call = Call(messages=(Message(role="user", content="Hi"),), model="max/default", timeout=600)
with Guardian.start(run_id, grace_s=0.2) as guardian:
    anyio.run(ClaudeCLI(Path(binary), run_id=run_id, guardian=guardian).execute, call)
