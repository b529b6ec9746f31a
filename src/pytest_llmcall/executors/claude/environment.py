"""The environment of one CLI process: the user's own, minus nesting, plus silence and our marks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

RUN_MARK: Final = "PYTEST_LLMCALL_RUN"
CALL_MARK: Final = "PYTEST_LLMCALL_CALL"

# Set where pytest itself runs inside Claude Code. Everything else of the user's stays: login, provider, proxy, config.
NESTING: Final = (
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
)
QUIET: Final = {
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # they keep `-p` alive for minutes after the answer
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",  # a verdict on one model must not rest on the answer of another
    "CLAUDE_CODE_SKIP_PROMPT_HISTORY": "1",
    "CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",  # else some start-up failures are only text on stderr
    "ENABLE_CLAUDEAI_MCP_SERVERS": "false",
    "MCP_CONNECTION_NONBLOCKING": "0",  # any other value lets the first turn start before its tools are there
    "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "0",
}
# What a user may want otherwise, so theirs stands. The deadline of the call bounds all of it anyway.
DEFAULTS: Final = {
    "CLAUDE_CODE_MAX_RETRIES": "3",  # the CLI's own 10 would eat a call's deadline unseen
    "BUN_JSC_numberOfGCMarkers": "1",  # threads that mark garbage in parallel take a fifth of the CPU time of a call
}
SERVER_S: Final = 30.0


def child_environment(
    inherited: Mapping[str, str],
    *,
    run_id: str,
    call_id: str,
    scratch: Path,
    overrides: Mapping[str, str],
    unset: Sequence[str] = (),
    timeout: float = math.inf,
) -> dict[str, str]:
    """Return the environment of a call's process.

    Args:
        inherited: What the user's shell gave us.
        run_id: Marks every process of this run, however deep, so that none is left.
        call_id: Marks every process of this call.
        scratch: Where the CLI and its tools put sockets and temporary files; it leaves some behind.
        overrides: The last word, for example where the API is.
        unset: Names to drop from what is inherited.
        timeout: How many seconds the call may take.
    """
    dropped = {*NESTING, *unset}
    kept = {name: value for name, value in inherited.items() if name not in dropped}
    marks = {RUN_MARK: run_id, CALL_MARK: call_id}
    folders = {"CLAUDE_CODE_TMPDIR": os.fspath(scratch), "TMPDIR": os.fspath(scratch)}
    return {**DEFAULTS, **_server_times(timeout), **kept, **QUIET, **folders, **marks, **overrides}


def _server_times(timeout: float) -> dict[str, str]:
    # A server that does not answer is named by the CLI when its time is over; the deadline must not come before.
    wait_ms = str(max(1, int(min(SERVER_S, timeout / 2) * 1000)))
    return {"MCP_TIMEOUT": wait_ms, "MCP_CONNECT_TIMEOUT_MS": wait_ms}
