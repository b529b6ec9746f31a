"""Stands in for the CLI in runs of hundreds of calls, too many for the real one: the prompt says what it does.

It starts in a fraction of the time, so it imports nothing that it can do without.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

FOREVER = 600
PIECE = "x" * 1_000 + "\n"


def say(kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")
    sys.stdout.flush()


def init(*servers: dict[str, str]) -> None:
    say("system", subtype="init", tools=[], mcp_servers=servers, model="fake", claude_code_version="0.0.0")


def answer(text: str = "done", **fields: Any) -> None:
    content = [{"type": "text", "text": text}]
    say("assistant", message={"id": "m1", "role": "assistant", "model": "fake", "content": content}, **fields)


def result(text: str = "done", **fields: Any) -> None:
    good = {"subtype": "success", "is_error": False, "result": text, "num_turns": 1, "stop_reason": "end_turn"}
    say("result", **{**good, **fields})


def healthy() -> None:
    init()
    answer()
    result()


def wrong() -> None:
    init()
    answer("something else")
    result("something else")


def refuses() -> None:
    init()
    answer("I will not.")
    result("refused", is_error=True, stop_reason="refusal")
    sys.exit(1)


def crashes() -> None:
    init()
    answer("almost")
    sys.exit(3)


def is_killed() -> None:
    init()
    os.kill(os.getpid(), signal.SIGKILL)


def torn() -> None:
    init()
    answer("half of")
    sys.stdout.write('{"type":"result","subtype":"suc')


def says_nothing() -> None:
    sys.exit(0)


def fails_without_a_word() -> None:
    sys.exit(1)


def overloaded() -> None:
    init()
    say("system", subtype="api_retry", attempt=1, max_retries=1, error="overloaded", error_status=529)
    message = {"id": "m0", "role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": "529"}]}
    say("assistant", error="server_error", message=message)
    result("API Error: 529", is_error=True, api_error_status=529, terminal_reason="api_error")
    sys.exit(1)


def is_error() -> None:
    init()
    answer()
    result(is_error=True)


def server_is_down() -> None:
    init({"name": "tools", "status": "failed"})
    time.sleep(FOREVER)


def hangs() -> None:
    init()
    answer("so far")
    time.sleep(FOREVER)


def ignores_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangs()


def leaves_a_grandchild() -> None:
    have_a_child()
    healthy()


def hangs_with_a_grandchild() -> None:
    have_a_child()
    hangs()


def have_a_child() -> None:
    import subprocess

    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-IS", "-c", code], start_new_session=True)


def floods_stdout() -> None:
    for _ in range(3_000):
        sys.stdout.write(PIECE)
    healthy()


def floods_stderr() -> None:
    for _ in range(3_000):
        sys.stderr.write(PIECE)
    healthy()


def hangs_after_its_result() -> None:
    healthy()
    time.sleep(FOREVER)


def main() -> None:
    if "--version" in sys.argv:
        sys.stdout.write("2.1.330 (Claude Code)\n")
        return
    word = json.loads(sys.stdin.readline())["message"]["content"].split()[0]
    globals()[word]()


main()
