"""Stands in for the CLI where the real one cannot be made to fail that way. FAKE_CLAUDE names what it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOREVER = 600
HANGING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def init() -> None:
    say(type="system", subtype="init", tools=[], mcp_servers=[], model="fake", claude_code_version="0.0.0")


def answer(text: str = "done") -> None:
    say(type="assistant", message={"id": "m1", "role": "assistant", "model": "fake", "content": text_blocks(text)})


def text_blocks(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def result(text: str = "done") -> None:
    say(type="result", subtype="success", is_error=False, result=text, num_turns=1, stop_reason="end_turn")


def everything(text: str = "done") -> None:
    init()
    answer(text)
    result(text)


def read_prompt() -> str:
    return str(json.loads(sys.stdin.readline())["message"]["content"])


def ok() -> None:
    everything(read_prompt())


def torn() -> None:
    init()
    answer("half of")
    sys.stdout.write('{"type":"result","subtype":"suc')


def huge_line() -> None:
    everything("x" * 50_000_000)


def too_long_line() -> None:
    init()
    sys.stdout.write("x" * 70_000_000)
    sys.stdout.flush()
    time.sleep(FOREVER)


def invalid_utf8() -> None:
    init()
    sys.stdout.buffer.write(b'{"type":"assistant","message":{"id":"m","model":"fake","content":"caf\xe9"}}\n')
    sys.stdout.buffer.write(b'{"type":"result","subtype":"success","result":"caf\xe9","num_turns":1}\n')


def unknown_events() -> None:
    sys.stdout.write("[SandboxDebug] noise\n\n[1, 2]\n{broken\n")
    say(type="rate_limit_event", rate_limit_info={"status": "allowed"})
    say(subtype="ui_invalidate", type="system")
    say(no_type=1)
    everything()
    say(type="system", subtype="session_writes_lost")


def stderr_flood() -> None:
    sys.stderr.write("first words\n" + "flood " * 1_000_000 + "\nlast words\n")
    sys.stderr.flush()
    everything()


def hang() -> None:
    init()
    answer("so far")
    time.sleep(FOREVER)


def ignores_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def orphan() -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGING], start_new_session=True)
    Path("child.pid").write_text(str(child.pid))


def orphan_then_hang() -> None:
    orphan()
    hang()


def orphan_then_end() -> None:
    orphan()
    everything()


def orphan_without_marks_then_hang() -> None:
    child = subprocess.Popen([sys.executable, "-c", HANGING], start_new_session=True, env={})
    Path(os.environ["FAKE_NOTES"]).write_text(str(child.pid))
    hang()


def grandchild_of_a_dead_parent_then_hang() -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {HANGING!r}], start_new_session=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
    hang()


def no_result() -> None:
    init()
    answer("almost")
    sys.exit(0)


def says_nothing() -> None:
    sys.exit(1)


def unknown_option() -> None:
    sys.stderr.write("error: unknown option '--include-partial-messages'\n")
    sys.exit(1)


def killed() -> None:
    init()
    answer("almost")
    os.kill(os.getpid(), signal.SIGKILL)


def slow_start() -> None:
    time.sleep(0.8)
    everything()


def note(word: str) -> None:
    with Path(os.environ["FAKE_NOTES"]).open("a") as file:
        file.write(f"{word}\n")


def noted_start() -> None:
    note("start")
    time.sleep(0.3)
    note("up")
    everything()


def noted_prompt() -> None:
    note(f"up {os.getpid()}")
    prompt = read_prompt()
    note(f"asked {prompt}")
    everything(prompt)


def noted_prompt_after_a_slow_start() -> None:
    time.sleep(1.2)
    noted_prompt()


def noted_prompt_and_an_orphan() -> None:
    orphan()
    noted_prompt()


def ends_when_two_are_up() -> None:
    note("up")
    init()
    while len(Path(os.environ["FAKE_NOTES"]).read_text().splitlines()) < 2:
        time.sleep(0.02)
    answer()
    result()


def interrupted() -> None:
    init()
    answer()
    say(type="result", subtype="error_during_execution", is_error=True, errors=["it was interrupted"], num_turns=1)


def unexplained_error() -> None:
    init()
    answer()
    say(type="result", subtype="success", is_error=True, result="done", num_turns=1)


def says_it_itself() -> None:
    init()
    result("Total cost: $0.00")


def hang_after_result() -> None:
    everything()
    time.sleep(FOREVER)


def error_exit_after_result() -> None:
    everything()
    sys.exit(3)


def never_reads() -> None:
    everything()


def makes_files() -> None:
    for number in range(300):
        Path(f"{number:03}.txt").write_text("text")
    Path("000-binary").write_bytes(b"\x00\xff")
    Path("000-large.txt").write_text("x" * 70_000)
    Path("000-link").symlink_to("/etc/passwd")
    Path("locked").mkdir(0o500)
    everything()


def no_result_and_a_bad_exit() -> None:
    init()
    answer("almost")
    sys.exit(1)


def flood_after_result() -> None:
    everything()
    for _ in range(2_000):
        say(type="system", subtype="informational", content="x" * 2_000)


def waits_for_the_end_of_stdin() -> None:
    prompt = read_prompt()
    assert sys.stdin.read() == ""
    everything(prompt)


def server_pending() -> None:
    servers = [{"name": name, "status": "pending"} for name in json.loads(os.environ["FAKE_SERVERS"])]
    say(type="system", subtype="init", tools=[], mcp_servers=servers, model="fake", claude_code_version="0.0.0")
    time.sleep(FOREVER)


def bypass_as_root() -> None:
    text = "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons"
    failed = {"subtype": "error_during_execution", "is_error": True, "errors": [text], "num_turns": 0}
    say(type="result", startup_failure_reason="bypass_root", **failed)
    sys.exit(1)


def other_model_since_overloaded() -> None:
    say_fallback("model_fallback", "overloaded")


def other_model_since_refused() -> None:
    say_fallback("model_refusal_fallback", "refusal")


def say_fallback(subtype: str, trigger: str) -> None:
    init()
    models = {"original_model": "claude-opus-9", "fallback_model": "claude-sonnet-9"}
    say(type="system", subtype=subtype, trigger=trigger, content="Another model goes on.", **models)
    answer()
    result()


def writes_lost() -> None:
    everything()
    say(type="system", subtype="session_writes_lost", error_code="ENOSPC", lost=["global_config"])


globals()[os.environ.get("FAKE_CLAUDE", "ok")]()
