"""A run keeps its limits, and is no success if it could not ask everything; a dry run asks nothing. The CLI is real."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_llmcall.testing import BAD_KEY, OVERLOADED, ScriptedModel, Text, UseTool

pytestmark = pytest.mark.real_cli

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]
Outcomes = Callable[[], dict[str, dict[str, Any]]]

HOME = os.environ["HOME"]  # pytester gives each test another one, where no model was pulled
CENT = Text("x" * 4_000)  # 1000 tokens of max/sonnet cost a cent
XFAIL = "marks: [{xfail: {reason: known, strict: true}}]"


def cases(count: int, *, extra: str = "") -> str:
    lines = (
        f"  - {{id: c{each}, prompt: number {each}, validate: [not_empty]{', ' + extra if extra else ''}}}"
        for each in range(count)
    )
    return "\n".join(["timeout: 30", "model: max/sonnet", "cases:", *lines, ""])


def not_asked(outcomes: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, line in outcomes.items() if line["status"] == "not asked"}


def test_what_the_money_does_not_cover_is_skipped_and_listed_and_the_run_is_no_success(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes, pytester: pytest.Pytester
) -> None:
    write("cases.llm.yaml", cases(6))
    model.default(CENT)
    result = run("--llm-max-cost", "0.035", "--llm-concurrency", "4", "--junitxml=junit.xml", "-rs")

    result.assert_outcomes(passed=3, skipped=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    skipped = not_asked(outcomes())
    assert len(skipped) == 3
    assert sum("max_tokens" in each.body for each in model.requests) == 3
    reason = "budget: $0.0300 of $0.035 spent (--llm-max-cost), and this call was expected to cost $0.0100"
    result.stdout.fnmatch_lines(
        [
            "llmcall: budget: at most $0.035",
            "3 calls: *, 0 retries, *",
            *(f"not asked because of the budget: cases.llm.yaml::{name}" for name in sorted(skipped)),
            "budget: $0.0300 of $0.035 spent; 3 not asked, so the run is no success",
            f"SKIPPED * {reason}",
        ]
    )
    suite = ET.parse(pytester.path / "junit.xml")
    told = {case.attrib["name"]: case.find("skipped") for case in suite.iter("testcase")}
    assert {name for name, each in told.items() if each is not None} == skipped
    assert {each.attrib["message"] for each in told.values() if each is not None} == {reason}


def test_a_budget_that_covers_everything_changes_nothing(run: Run, write: Write, model: ScriptedModel) -> None:
    write("cases.llm.yaml", cases(2))
    write("pytest.ini", "[pytest]\nllm_max_cost = 1\nllm_max_calls = 2\nllm_max_tokens = 9999\nllm_max_time = 600\n")
    model.default(CENT)
    result = run()
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "llmcall: budget: at most $1, 2 calls, 9999 tokens, no call that would end after 600 s",
            "budget: $0.0200 of $1 spent, 2 of 2 calls, 200? of 9999 tokens, * of 600 s; everything was asked",
        ]
    )


def test_without_limits_nothing_is_said_of_a_budget(run: Run, write: Write, model: ScriptedModel) -> None:
    write("cases.llm.yaml", cases(1))
    model.default(CENT)
    result = run()
    result.assert_outcomes(passed=1)
    assert "budget:" not in result.stdout.str()


def test_no_xfail_covers_what_was_not_asked(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes, pytester: pytest.Pytester
) -> None:
    write("cases.llm.yaml", cases(2, extra=XFAIL).replace("not_empty", "{contains: nothing of the kind}"))
    model.default(CENT)
    result = run("--llm-max-calls", "1", "--llm-concurrency", "1")
    result.assert_outcomes(xfailed=1, skipped=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["budget: 1 of 1 calls; 1 not asked, *"])
    assert not_asked(outcomes()) == {"c1"}


PYTHON = """\
import pytest

@pytest.fixture(scope="module")
def shared(llm):
    llm.sync("the first call")
    return llm.sync("shared").text

def test_set_up(shared):
    assert shared

@pytest.mark.xfail(strict=True)
def test_set_up_again(shared):
    assert shared

@pytest.mark.xfail(strict=True)
async def test_body(llm):
    assert (await llm("body")).text

async def test_several(llm):
    await llm.repeat(2, "several", check=lambda reply, *, params: True)

def test_asks_nothing(llm):
    pass
"""


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_python_tests_are_skipped_wherever_they_asked(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes, pytester: pytest.Pytester, concurrency: str
) -> None:
    write("test_llm.py", PYTHON)
    model.on("the first call", Text("yes"))
    result = run("--llm-max-calls", "1", "--llm-concurrency", concurrency, "--junitxml=junit.xml", "-k", "not several")
    result.assert_outcomes(passed=1, skipped=3, deselected=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not_asked(outcomes()) == {"test_set_up", "test_set_up_again", "test_body"}
    result.stdout.fnmatch_lines(["budget: 1 of 1 calls; 3 not asked, *"])
    suite = ET.parse(pytester.path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert {name: suite.attrib[name] for name in ("errors", "failures", "skipped")} == {
        "errors": "0",
        "failures": "0",
        "skipped": "3",
    }


def test_a_test_that_could_ask_only_a_part_is_not_asked(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    write("test_llm.py", PYTHON)
    model.default(Text("yes"))
    result = run("--llm-max-calls", "1", "-k", "several")
    result.assert_outcomes(skipped=1, deselected=4)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not_asked(outcomes()) == {"test_several"}
    assert outcomes()["test_several"]["attempts"] == 1


def test_workers_of_xdist_never_pass_the_limit_together(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    write("cases.llm.yaml", cases(6))
    model.default(CENT)
    result = run("-n", "2", "--llm-max-calls", "3", "--llm-max-cost", "9")
    result.assert_outcomes(passed=3, skipped=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(not_asked(outcomes())) == 3
    result.stdout.fnmatch_lines(
        [
            "llmcall: budget: at most $9, 3 calls; each worker of pytest-xdist may spend its share *",
            "not asked because of the budget: cases.llm.yaml::c*",
            "budget: $0.0300 of $9 spent, 3 of 3 calls; 3 not asked, *",
        ]
    )


def test_an_agent_is_stopped_when_it_has_used_up_the_budget_and_that_is_no_verdict(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    fields = f"tools: [Read], {XFAIL}"
    write("cases.llm.yaml", cases(1, extra=fields).replace("not_empty", "{contains: nothing of the kind}"))
    model.default(UseTool("Read", {"file_path": "/etc/hostname"}, text="I go on and on. " + CENT.text))
    result = run("--llm-max-cost", "0.025")
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert sum("max_tokens" in each.body for each in model.requests) == 3  # the third one passed the limit
    result.stdout.fnmatch_lines(
        [
            "no reply (budget used up): *used up in this call: it was stopped when it had cost $0.03*$0.0250 was left",
            "  what to do: raise --llm-max-cost, *",
            "*received so far: I go on and on.*",
            "budget: $0.03* of $0.025 spent; everything was asked",
        ]
    )
    assert outcomes()["c0"]["cost_usd"] > 0.03


def test_a_failed_attempt_is_paid_for_and_a_refused_login_is_not(run: Run, write: Write, model: ScriptedModel) -> None:
    write("cases.llm.yaml", cases(1, extra="tools: [Read]"))
    begins = UseTool("Read", {"file_path": "/etc/hostname"}, text=CENT.text)
    model.on("number", begins, OVERLOADED)
    result = run("--llm-max-cost", "9")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["budget: $0.020? of $9 spent; everything was asked"])  # it was asked twice

    model.on("other", BAD_KEY)
    write("cases.llm.yaml", cases(2).replace("number", "other"))
    result = run("--llm-max-cost", "9", "--llm-max-calls", "5")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["budget: $0.0000 of $9 spent, 1 of 5 calls; everything was asked"])


def test_a_model_without_a_price_is_refused_under_a_limit_of_cost(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    write("cases.llm.yaml", cases(3).replace("max/sonnet", "openai/no-such-model"))
    result = run("--llm-max-cost", "9")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["  what to do: bound it with --llm-max-calls or --llm-max-tokens, *"])
    assert result.stdout.str().count("what to do:") == 1
    assert sorted(line["kind"] for line in outcomes().values()) == ["configuration", "not asked", "not asked"]
    assert not model.requests


ASKING_FIXTURE = """\
import pytest

@pytest.fixture
def asks_itself(llm):
    llm.sync("first")
    return lambda reply, *, params: True
"""


def test_a_case_whose_fixture_could_not_ask_is_not_asked(
    run: Run, write: Write, model: ScriptedModel, outcomes: Outcomes
) -> None:
    write("conftest.py", ASKING_FIXTURE)
    write("cases.llm.yaml", cases(2, extra=XFAIL).replace("not_empty", "asks_itself"))
    model.default(Text("ok"))
    result = run("--llm-max-calls", "2", "--llm-concurrency", "1", "-rs")
    result.assert_outcomes(failed=1, skipped=1)  # the first one passed, against its strict xfail
    assert not_asked(outcomes()) == {"c1"}
    result.stdout.fnmatch_lines(
        ["not asked because of the budget: cases.llm.yaml::c1", "budget: 2 of 2 calls; 1 not *"]
    )


@pytest.mark.real_model
def test_the_embedded_model_costs_nothing_and_is_not_stopped(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    write("cases.llm.yaml", cases(1, extra="schema: {type: object, properties: {age: {type: integer}}}"))
    result = run("--llm-local", "--llm-max-cost", "0.000001")
    assert "not asked because" not in result.stdout.str()
    result.stdout.fnmatch_lines(["1 call: *$0.0000", "budget: $0.0000 of $1e-06 spent; everything was asked"])


# --- the dry run

SUITE = """\
model: max/sonnet
cases:
  - {id: priced, prompt: hello, validate: [not_empty]}
  - {id: unpriced, prompt: hello, model: max/default, validate: [not_empty]}
  - {id: other, prompt: hello, model: no-such/model, validate: [not_empty]}
  - {id: skipped, prompt: hello, validate: [not_empty], needs: ["env:LLMCALL_NO_SUCH_VARIABLE"]}
  - {id: marked, prompt: hello, validate: [not_empty], marks: [{skip: {reason: later}}]}
"""
TESTS = """\
import pytest

@pytest.mark.llm(model="max/opus")
async def test_asks(llm):
    await llm("x")

@pytest.fixture(autouse=True)
def loud():
    print("RAN")

def test_plain():
    print("RAN")
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_dry_run_says_what_would_be_asked_and_asks_nothing(
    run: Run, write: Write, model: ScriptedModel, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    write("cases.llm.yaml", SUITE)
    write("test_llm.py", TESTS)
    result = run("--llm-dry-run", "-s", "--llm-claude=/no/such/claude", "--llm-max-cost", "0.5", *workers, llm=False)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= llmcall: dry run =*",
            "*1 call *~501 tokens *~$0.0075  max/sonnet *cases.llm.yaml::priced",
            "*1 call *~501 tokens *cost unknown  max/default *cases.llm.yaml::unpriced",
            "*? calls *? tokens *$ ?  max/opus *test_llm.py::test_asks",
            "1 would be skipped: needs env:LLMCALL_NO_SUCH_VARIABLE: *",
            "* calls of cases, about * tokens, about $0.0075, * of unknown cost",
            "and the calls of 1 Python test: unknown until it runs",
            "budget: at most $0.5",
            "nothing was asked, and nothing was run",
        ]
    )
    text = result.stdout.str()
    assert "1 would be skipped: later" in text
    assert "RAN" not in text
    assert "test_plain" not in text
    assert not model.requests
    assert not (pytester.path / ".llmcall").exists()


@pytest.mark.usefixtures("model")
def test_a_dry_run_of_nothing_is_what_pytest_says_of_nothing(run: Run, write: Write) -> None:
    write("cases.llm.yaml", SUITE)
    assert run("--llm-dry-run", "-k", "no_such_case", llm=False).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.usefixtures("model")
def test_a_dry_run_does_not_hide_what_cannot_be_collected(run: Run, write: Write) -> None:
    write("cases.llm.yaml", SUITE)
    write("bad.llm.yaml", "cases: [{id: a}]\n")
    result = run("--llm-dry-run", llm=False)
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert run("--llm-dry-run", "--continue-on-collection-errors", llm=False).ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.usefixtures("model")
def test_the_embedded_model_costs_nothing_in_a_dry_run(run: Run, write: Write) -> None:
    write("cases.llm.yaml", cases(1))
    run("--llm-dry-run", "--llm-local", llm=False).stdout.fnmatch_lines(["*~$0.0000  max/sonnet  cases.llm.yaml::c0"])


@pytest.mark.usefixtures("model")
def test_limits_that_cannot_be_meant_so_are_usage_errors(run: Run, write: Write) -> None:
    write("cases.llm.yaml", cases(1))
    bad = ("--llm-max-cost", "0", "--llm-max-calls", "1.5", "--llm-max-tokens", "many", "--llm-max-time", "inf")
    result = run(*bad)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*--llm-max-cost is '0': write a number of US dollars above 0",
            "*--llm-max-calls is '1.5': write how many calls, 1 or more",
            "*--llm-max-tokens is 'many': write how many tokens, 1 or more",
            "*--llm-max-time is 'inf': write a number of seconds above 0",
        ]
    )
