"""Every failure of a call, caused for real: it ends in its one right way, as docs/failures.md says, and leaves nothing.

A row of that page names a scene here, and `python -m pytest -k NAME` plays it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from tests.executors.claude.failures_page import PAGE, ROOT, rows
from tests.executors.claude.scenes import (
    SUBSCRIPTION,
    Played,
    Scene,
    breaks_off,
    child,
    only_for,
    play_all,
    real,
    refuses,
    says,
    sends,
    served,
    uses,
    with_options,
)

from pytest_llmcall.call import McpServer
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply, TimedOut
from pytest_llmcall.executors.claude import ClaudeCLI
from pytest_llmcall.outcome import Status as Outcome
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.testing import (
    BAD_KEY,
    NO_CREDIT,
    OVERLOADED,
    RATE_LIMITED,
    UNKNOWN_MODEL,
    CutStream,
    Hang,
    Overlong,
    Refusal,
    Status,
    Text,
    UseTool,
)

pytestmark = pytest.mark.real_cli

NUMBERS = range(1, 43)
SERVER = Path(__file__).parents[2] / "children" / "faulty_server.py"
PERSON = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
EXPIRED = "OAuth token has expired. Please obtain a new token or refresh your existing token."
NOT_ALLOWED = "OAuth authentication is currently not allowed for this organization."
OWN_KILL = "kill -{} $PPID; sleep 5"
USED_UP = {
    "anthropic_ratelimit_unified_status": "rejected",
    "anthropic_ratelimit_unified_reset": str(int(time.time()) + 3 * 3600),
    "anthropic_ratelimit_unified_representative_claim": "five_hour",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The one right ending of a scene."""

    how: Ending | type[NoReply]
    scope: str | None = None
    attempts: int = 1
    text: str | None = None
    received: str | None = None
    detail: str = ""


PASSES = Ends(how=Ending.COMPLETED)
WEATHER = Ends(how=InfrastructureError)
LATE = Ends(how=TimedOut)
STOPS_ALL = Ends(how=ConfigurationError, scope="executor")
STOPS_MODEL = Ends(how=ConfigurationError, scope="model")
STOPS_CALL = Ends(how=ConfigurationError, scope="call")


def ends(how: Ending, **fields: Any) -> Ends:
    return Ends(how=how, **fields)


def server(how: str) -> tuple[McpServer, ...]:
    return (McpServer(name="faulty", command=sys.executable, args=("-IS", str(SERVER), how)),)


def bash(command: str) -> UseTool:
    return UseTool("Bash", {"command": command})


async def take_the_folder(temporary: Path, cli: ClaudeCLI) -> None:
    """Remove the call's folder while it waits for its turn to start."""
    slots = cli._startup.value
    for _ in range(slots):
        cli._startup.acquire_nowait()
    with anyio.fail_after(20):
        while not (found := private_folders(temporary, cli)):  # noqa: ASYNC110 - another thread sets no event
            await anyio.sleep(0.01)
    for folder in found:
        await to_thread.run_sync(shutil.rmtree, folder.parent)
    for _ in range(slots):
        cli._startup.release()


def private_folders(temporary: Path, cli: ClaudeCLI) -> list[Path]:
    return [*temporary.glob(f"*{cli._run_id[:8]}*/private")]


BUSY_MODEL = only_for("opus", refuses(529, "Overloaded"), says("ok"))
PATIENT = {"CLAUDE_CODE_MAX_RETRIES": "4"}  # it changes to the other model at the third overload
FALLBACK: dict[str, Any] = {
    "model": "max/opus",
    "make_cli": with_options("--fallback-model=claude-sonnet-5"),
    "waits": True,
}
ASK = UseTool("mcp__faulty__ask", {})
BASH: dict[str, Any] = {"tools": ("Bash",)}

THE_API: dict[str, tuple[Scene, Ends]] = {
    "overloaded": (real(OVERLOADED), WEATHER),
    "overloaded_all_the_time": (
        real(OVERLOADED, timeout=8, environment={"CLAUDE_CODE_MAX_RETRIES": "10"}, waits=True),
        Ends(how=TimedOut, detail=r"retried \d+ times?, lastly because of overloaded \(529\)"),
    ),
    "overload_that_passes": (real(OVERLOADED, Text("ok"), environment={"CLAUDE_CODE_MAX_RETRIES": "1"}), PASSES),
    "rate_limited": (real(RATE_LIMITED), WEATHER),
    "rate_limited_in_a_stream": (
        served(breaks_off("", kind="rate_limit_error"), refuses(429, "slow down", "rate_limit_error")),
        WEATHER,
    ),
    "limit_used_up": (
        served(refuses(429, "over the limit", "rate_limit_error", **USED_UP), login=SUBSCRIPTION),
        WEATHER,
    ),
    "api_failed": (real(Status(500)), WEATHER),
    "gateway_failed": (served(sends(502, "text/html", "<h1>Bad Gateway</h1>")), WEATHER),
    "no_api": (served(sends(200, "text/html", "<h1>Please log in</h1>")), WEATHER),
    "cut": (real(CutStream()), WEATHER),
    "cut_late": (real(CutStream(after=11)), WEATHER),
    "connection_refused": (real(Text("ok"), environment={"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}), WEATHER),
    "breaks_off": (served(breaks_off("The first part.")), WEATHER),
    "breaks_off_and_is_resumed": (served(breaks_off("The first part."), says("The rest.")), WEATHER),
    "breaks_off_before_a_tool": (
        served(breaks_off("Let me"), uses(bash("true")), says("done"), **BASH),
        ends(Ending.COMPLETED, text="done"),
    ),
    "silent": (real(Hang(), timeout=8, waits=True), LATE),
    "stalls": (
        real(Hang("I was about to"), timeout=8, waits=True),
        Ends(how=TimedOut, received="I was about to"),
    ),
    "slow_tool": (real(bash("sleep 3; echo done"), Text("done"), **BASH, waits=True), PASSES),
    "bad_request": (real(Status(400, message="tools.0: bad")), STOPS_CALL),
}
THE_ACCOUNT: dict[str, tuple[Scene, Ends]] = {
    "bad_key": (real(BAD_KEY), STOPS_ALL),
    "not_logged_in": (real(Text("ok"), login={}), STOPS_ALL),
    "login_expired": (
        served(refuses(401, EXPIRED, "authentication_error"), login=SUBSCRIPTION, again=True),
        Ends(how=ConfigurationError, scope="executor"),
    ),
    "login_being_refreshed": (
        served(
            *[refuses(401, EXPIRED, "authentication_error")] * 2, says("ok"), login=SUBSCRIPTION, again=True, waits=True
        ),
        ends(Ending.COMPLETED, attempts=2),
    ),
    "login_not_allowed": (served(refuses(403, NOT_ALLOWED, "permission_error"), login=SUBSCRIPTION), STOPS_ALL),
    "no_credit": (real(NO_CREDIT), STOPS_ALL),
    "unknown_model": (real(UNKNOWN_MODEL), STOPS_MODEL),
    "unpriced_model": (real(Text("ok"), model="max/claude-future-9"), PASSES),
    "retired_model": (real(Text("ok"), model="max/claude-opus-4-1-20250805"), STOPS_CALL),
    "other_model_not_wanted": (served(BUSY_MODEL, **FALLBACK, environment=PATIENT), WEATHER),
    "other_model_since_overloaded": (
        served(BUSY_MODEL, **FALLBACK, environment={**PATIENT, "CLAUDE_CODE_NO_MODEL_FALLBACK": ""}),
        WEATHER,
    ),
    "other_model_since_refused": (child("other_model_since_refused"), STOPS_CALL),
}
THE_MODEL: dict[str, tuple[Scene, Ends]] = {
    "refusal": (real(Refusal("I will not.")), ends(Ending.REFUSAL, text="I will not.")),
    "prompt_too_long": (real(Text("ok"), prompt="word " * 1_000_000), ends(Ending.PROMPT_TOO_LONG, text="")),
    "prompt_too_long_for_the_api": (
        real(Status(400, message="prompt is too long: 210000 tokens > 200000 maximum")),
        ends(Ending.PROMPT_TOO_LONG, text=""),
    ),
    "max_turns": (real(bash("true"), **BASH, max_turns=2), ends(Ending.MAX_TURNS)),
    "max_cost": (real(bash("true"), **BASH, max_cost_usd=0.000001), ends(Ending.MAX_BUDGET)),
    "max_tokens": (real(Overlong("and so on ")), ends(Ending.MAX_TOKENS, text="and so on " * 4)),
    "max_tokens_and_resumed": (
        real(Overlong("and so "), Text("on.")),
        ends(Ending.COMPLETED, text="and so on."),
    ),
    "structured_output_wrong": (
        real(UseTool("StructuredOutput", {"age": "thirty"}), schema=PERSON),
        ends(Ending.NO_STRUCTURED_OUTPUT),
    ),
    "structured_output_missing": (
        real(Text("I prefer prose"), schema=PERSON),
        ends(Ending.NO_STRUCTURED_OUTPUT, text="I prefer prose"),
    ),
    "tool_denied": (real(bash("touch made.txt"), Text("done"), tools=("Bash(git:*)",)), ends(Ending.COMPLETED)),
}
THE_SERVERS: dict[str, tuple[Scene, Ends]] = {
    "server_does_not_start": (real(Hang(), mcp=(McpServer(name="faulty", command="/no/server"),)), STOPS_CALL),
    "server_hangs": (real(Hang(), mcp=server("hangs"), timeout=12, waits=True), STOPS_CALL),
    "server_pending": (
        child("server_pending", mcp=server("works"), environment={"FAKE_SERVERS": '["faulty"]'}),
        WEATHER,
    ),
    "server_without_tools": (real(Hang(), mcp=server("lists_nothing")), STOPS_CALL),
    "server_dies": (
        real(ASK, Text("The tool says 42."), mcp=server("dies_in_call")),
        Ends(how=ConfigurationError, scope="call", received="The tool says 42."),
    ),
    "server_does_not_end": (real(ASK, Text("The tool says 42."), mcp=server("does_not_end"), waits=True), PASSES),
}
THE_MACHINE: dict[str, tuple[Scene, Ends]] = {
    "bad_schema": (real(Text("ok"), schema={"type": "objct"}), STOPS_CALL),
    "bad_option": (real(Text("ok"), make_cli=with_options("--no-such-option")), STOPS_ALL),
    "bad_session": (real(Text("ok"), make_cli=with_options("--session-id=nonsense")), STOPS_ALL),
    "bad_settings": (real(Text("ok"), make_cli=with_options("--settings=/no/such/file")), STOPS_ALL),
    "bad_servers": (real(Text("ok"), make_cli=with_options("--mcp-config=/no/such/file")), STOPS_CALL),
    "cli_missing": (real(Text("ok"), make_cli=lambda folder: folder / "claude"), STOPS_ALL),
    "cli_not_executable": (real(Text("ok"), make_cli=lambda _: PAGE), STOPS_ALL),
    "folder_gone": (child("ok", meanwhile=take_the_folder), WEATHER),
    "bypass_as_root": (child("bypass_as_root"), STOPS_ALL),
    "config_broken": (real(Text("ok"), home={".claude.json": "{torn"}), STOPS_ALL),
    "config_empty": (real(Text("ok"), home={".claude.json": ""}), PASSES),
    "killed": (real(bash(OWN_KILL.format("KILL")), **BASH), WEATHER),
    "terminated": (real(bash(OWN_KILL.format("TERM")), **BASH), WEATHER),
    "interrupted": (real(bash(OWN_KILL.format("INT")), **BASH), WEATHER),
    "interrupted_with_exit_0": (child("interrupted"), WEATHER),
    "no_result": (child("no_result"), WEATHER),
    "no_result_and_a_bad_exit": (child("no_result_and_a_bad_exit"), WEATHER),
    "torn": (child("torn"), WEATHER),
    "hangs_after_result": (child("hang_after_result"), PASSES),
    "background_process": (
        real(bash("nohup setsid sleep 600 >/dev/null 2>&1 & echo started"), Text("done"), **BASH),
        PASSES,
    ),
    "line_too_long": (child("too_long_line"), STOPS_CALL),
    "invalid_utf8": (child("invalid_utf8"), ends(Ending.COMPLETED, text="caf\N{REPLACEMENT CHARACTER}")),
    "noise": (child("unknown_events"), PASSES),
    "stderr_flood": (child("stderr_flood"), PASSES),
    "flood_after_result": (child("flood_after_result"), PASSES),
    "waits_for_the_end_of_stdin": (child("waits_for_the_end_of_stdin"), PASSES),
    "writes_lost": (child("writes_lost"), PASSES),
}
CATALOGUE = {**THE_API, **THE_ACCOUNT, **THE_MODEL, **THE_SERVERS, **THE_MACHINE}
if os.geteuid() == 0:
    option = "--dangerously-skip-permissions"
    CATALOGUE["bypass_as_root"] = (real(Text("ok"), make_cli=with_options(option)), STOPS_ALL)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Mapping[str, Played]:
    """How the scenes that are asked for ended, each played once."""
    module = Path(__file__)
    names = {
        item.callspec.params["name"]
        for item in request.session.items
        if item.path == module and isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    scenes = {name: scene for name, (scene, _) in CATALOGUE.items() if name in names}
    return play_all(scenes, tmp_path_factory.mktemp("catalogue"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_failure_ends_in_its_one_right_way(played: Mapping[str, Played], name: str) -> None:
    scene = played[name]
    _, expected = CATALOGUE[name]
    ended = scene.ended
    assert how(ended) == expected.how, f"{ended!r}\n{getattr(ended, 'detail', '')}"
    assert getattr(ended, "scope", None) == expected.scope
    assert ended.attempts == expected.attempts
    if expected.text is not None:
        assert isinstance(ended, Reply)
        assert ended.text == expected.text
    if isinstance(ended, NoReply):
        assert re.search(expected.detail, ended.detail)
        assert ended.received == expected.received or expected.received is None
        assert ended.evidence == scene.tapes[-1].path
    if isinstance(ended, ConfigurationError):
        assert ended.remedy


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_failure_leaves_nothing_behind_but_its_tape(played: Mapping[str, Played], name: str) -> None:
    scene = played[name]
    assert scene.left == ()
    kept = scene.tapes[-1].ending
    assert kept is not None
    assert how(kept) == how(scene.ended)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_failure_is_shown_as_the_page_says(played: Mapping[str, Played], name: str) -> None:
    (row,) = [row for row in rows() if name in row.tests]
    scene = played[name]
    assert WORDS[scene.outcome().status] == row.ends
    assert re.fullmatch(row.pattern, scene.line()), scene.line()


def how(ended: Reply | NoReply) -> Ending | type[NoReply]:
    return ended.ending if isinstance(ended, Reply) else type(ended)


def test_a_call_that_failed_after_it_was_paid_for_says_what_it_cost(played: Mapping[str, Played]) -> None:
    ended = played["server_dies"].ended
    assert isinstance(ended, NoReply)
    assert ended.cost_usd
    assert ended.tokens


WORDS = {Outcome.PASSED: "passes", Outcome.FAILED: "FAILED", Outcome.NO_REPLY: "ERROR"}


def test_every_failure_that_is_known_stands_on_the_page() -> None:
    numbers = {number for row in rows() for number in row.numbers}
    assert numbers == set(NUMBERS)


def test_every_row_of_the_page_names_tests_that_there_are() -> None:
    collected = collect()
    for row in rows():
        assert row.tests, row
        for test in row.tests:
            assert test in CATALOGUE or test in collected, test


def test_every_scene_stands_on_the_page_once() -> None:
    named = [test for row in rows() for test in row.tests if test in CATALOGUE]
    assert sorted(named) == sorted(CATALOGUE)


def test_no_row_of_the_page_is_overlooked() -> None:
    lines = PAGE.read_text(encoding="utf-8").partition("\n## ")[2].splitlines()
    tabular = [line for line in lines if line.startswith("|") and not re.match(r"\| (no\.|---)", line)]
    assert len(tabular) == len(rows())


def collect() -> set[str]:
    """Return the node ids of the tests that the page may name besides the scenes, with and without parameters."""
    named = {test.partition("::")[0] for row in rows() for test in row.tests if "::" in test}
    if not named:
        return set()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(named)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    tests = {line.strip() for line in done.stdout.splitlines() if "::" in line}
    return tests | {test.partition("[")[0] for test in tests}
