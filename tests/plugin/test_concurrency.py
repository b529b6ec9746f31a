"""Calls overlap, the limit holds, and however a run ends nothing is left; with the real CLI."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_llmcall.testing import Delay, Gate, Hang, Request, ScriptedModel, Text

pytestmark = pytest.mark.real_cli

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]
Outcomes = Callable[[], dict[str, dict[str, Any]]]
BOUND_S = 60.0


def cases(count: int, prompt: str = "number") -> str:
    lines = (f"  - {{id: c{each}, prompt: {prompt} {each}, validate: [{{contains: ok}}]}}" for each in range(count))
    return "\n".join(["timeout: 50", "cases:", *lines, ""])


def test_calls_overlap_up_to_the_limit(run: Run, write: Write, model: ScriptedModel) -> None:
    write("cases.llm.yaml", cases(4))
    model.default(Gate(Text("ok"), opens_at=4))
    result = run("--llm-concurrency", "4")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["4 calls: * at most 4 in flight*"])


def test_the_limit_is_never_exceeded(run: Run, write: Write, model: ScriptedModel) -> None:
    write("cases.llm.yaml", cases(6))
    model.default(Text("ok"))
    run("--llm-concurrency", "2").assert_outcomes(passed=6)
    assert model.peak_in_flight <= 2


def test_exitfirst_stops_what_is_in_flight_and_says_so(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    write("cases.llm.yaml", cases(3) + "  - {id: bad, prompt: bad, validate: [{contains: ok}]}\n")
    gate, hanging = Gate(Text("no")), set[str]()

    def hangs(request: Request) -> bool:
        if "number" not in request.user_text:
            return False
        hanging.add(request.user_text)
        if len(hanging) == 3:
            gate.release()
        return True

    model.on("bad", gate)
    model.on(hangs, Hang())
    result = run("-x", "--llm-concurrency", "4")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stopping after 1 failures*"])
    statuses = {name: line["status"] for name, line in outcomes().items()}
    assert statuses == {"bad": "failed", "c0": "cut", "c1": "cut", "c2": "cut"}
    result.stdout.fnmatch_lines(["4 calls: *3 of unknown cost"])


def test_what_ran_alone_is_said_with_its_reason(run: Run, write: Write, model: ScriptedModel) -> None:
    alone = "  - {id: alone, prompt: x, validate: [not_empty], marks: [{usefixtures: [monkeypatch]}]}\n"
    write("cases.llm.yaml", cases(1) + alone)
    model.default(Text("ok"))
    result = run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 of 2 ran alone: monkeypatch*"])


def test_the_debugger_turns_lanes_off_in_one_line(run: Run, write: Write) -> None:
    write("cases.llm.yaml", cases(1))
    run("--pdb", "--llm-claude=/no/such/claude").stdout.fnmatch_lines(["llmcall: --pdb: items run one after another"])


def test_workers_of_xdist_share_the_limit_and_report_to_their_controller(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    # The worker that ends first must not end what the other one has started.
    write("cases.llm.yaml", cases(2))
    model.on("number 0", Delay(5.0, Text("ok")))
    model.default(Text("ok"))
    result = run("-n", "2", "--llm-concurrency", "2")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["2 calls: *, at most 2 in flight, 0 retries*", "pytest-xdist: *", "evidence: .llmcall/*"]
    )
    assert len(outcomes()) == 2


@pytest.fixture
def inner(pytester: pytest.Pytester, write: Write, model: ScriptedModel) -> Iterator[subprocess.Popen[str]]:
    """A run of three calls that hang."""
    write("cases.llm.yaml", cases(3, "hang"))
    gate = Gate(Text("ok"))
    model.default(gate)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--llm", "--llm-concurrency", "3", "-p", "no:cacheprovider"],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        gate.wait_until_held(3, timeout=BOUND_S)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=BOUND_S)


def test_ctrl_c_ends_the_run_with_code_2_and_leaves_nothing(inner: subprocess.Popen[str]) -> None:
    children = psutil.Process(inner.pid).children(recursive=True)
    assert children
    inner.send_signal(signal.SIGINT)
    output, _ = inner.communicate(timeout=BOUND_S)
    assert inner.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_when_pytest_is_killed_its_children_go_too(inner: subprocess.Popen[str], sent: signal.Signals) -> None:
    children = psutil.Process(inner.pid).children(recursive=True)
    assert children
    inner.send_signal(sent)
    inner.communicate(timeout=BOUND_S)
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_a_run_leaves_nothing_in_the_temp_folder(
    run: Run, write: Write, model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    monkeypatch.setenv("TMPDIR", str(temp))
    write("cases.llm.yaml", cases(2))
    model.default(Text("ok"))
    run().assert_outcomes(passed=2)
    assert list(temp.iterdir()) == []
