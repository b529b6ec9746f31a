"""FAILED, ERROR and SKIPPED are right in the terminal, the exit code, JUnit, --lf and on disk; with the real CLI."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_llmcall.testing import Hang, Refusal, ScriptedModel, Text

pytestmark = pytest.mark.real_cli

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]
Outcomes = Callable[[], dict[str, dict[str, Any]]]

CASES = """\
timeout: 30
cases:
  - {id: right, prompt: capital of France, validate: [{contains: Paris}, {max_words: 3}]}
  - {id: wrong, prompt: capital of Italy, validate: [{contains: Rome}, {max_words: 3}]}
  - {id: hangs, prompt: a hang, timeout: 6, validate: [not_empty]}
  - {id: refuses, prompt: a refusal, validate: [not_empty]}
  - {id: custom_yes, prompt: say hello, validate: [polite]}
  - {id: custom_no, prompt: say hi, validate: [polite]}
  - {id: forgot, prompt: say hello, validate: [forgets_to_return]}
  - {id: raises, prompt: say hello, validate: [{raises: {with: 1}}, {contains: hello}]}
  - {id: asks, prompt: say hello, validate: [asynchronous]}
  - {id: expected, prompt: capital of Italy, validate: [{contains: Rome}], marks: [{xfail: {reason: known}}]}
  - {id: dead, prompt: a hang, timeout: 6, validate: [not_empty], marks: [{xfail: {reason: known}}]}
  - {id: skipped, prompt: x, validate: [not_empty], marks: [{skip: {reason: later}}]}
  - {id: needs_env, prompt: x, validate: [not_empty], needs: ["env:LLMCALL_NO_SUCH_VARIABLE"]}
  - {id: needs_command, prompt: x, validate: [not_empty], needs: ["command:llmcall-no-such-command"]}
"""

CONFTEST = """\
import pytest

@pytest.fixture
def polite():
    def check(reply, *, params):
        assert "hello" in reply.text, f"no greeting in {reply.text!r}"
        return True
    return check

@pytest.fixture
def forgets_to_return():
    def check(reply, *, params):
        "hello" in reply.text
    return check

@pytest.fixture
def raises():
    def check(reply, *, params):
        return {}[params["with"]]
    return check

@pytest.fixture
def asynchronous():
    async def check(reply, *, params):
        return "hello" in reply.text
    return check
"""

FAILED = {"wrong", "refuses", "custom_no"}
ERRORS = {"hangs", "forgot", "raises", "dead"}
SKIPPED = {"skipped", "needs_env", "needs_command"}


@pytest.fixture
def script(model: ScriptedModel, write: Write) -> None:
    write("cases.llm.yaml", CASES)
    write("conftest.py", CONFTEST)
    model.on("capital of France", Text("Paris"))
    model.on("capital of Italy", Text("Milan, I think, or maybe Turin"))
    model.on("a hang", Hang("The beginning of"))
    model.on("a refusal", Refusal())
    model.on("say hello", Text("hello there"))
    model.on("say hi", Text("hi"))


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("concurrency", ["1", "6"])
def test_each_case_ends_in_its_one_right_way(
    run: Run, outcomes: Outcomes, pytester: pytest.Pytester, concurrency: str
) -> None:
    result = run("-rA", "--junitxml=junit.xml", "--llm-concurrency", concurrency)

    result.assert_outcomes(passed=3, failed=3, errors=4, skipped=3, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for word, names in (("FAILED", FAILED), ("ERROR", ERRORS)):
        for name in names:
            result.stdout.fnmatch_lines([f"{word} cases.llm.yaml::{name} - *"])
    _the_terminal_shows_reasons(result)
    _junit_agrees(ET.parse(pytester.path / "junit.xml"))
    _the_disk_agrees(outcomes())


def _the_terminal_shows_reasons(result: pytest.RunResult) -> None:
    for lines in (
        ["NO  contains: *Rome*", "NO  max_words: *", "*prompt: capital of Italy", "*reply: Milan, I think, or maybe*"],
        ["*no reply (timeout): no reply within 6 s*", "*received so far: The beginning of*"],
        ["NO  *refus*"],
        ["NO  polite: *no greeting in 'hi'*"],
        ["broken validator 'forgets_to_return'*None*"],
        ["broken validator 'raises'*KeyError*", "yes contains: *"],
        ["SKIPPED * needs env:LLMCALL_NO_SUCH_VARIABLE: the environment variable *is not set"],
        ["SKIPPED * needs command:llmcall-no-such-command: *"],
        ["1 skipped: needs env:LLMCALL_NO_SUCH_VARIABLE*"],
        ["XFAIL cases.llm.yaml::expected - known*"],
        [
            "llmcall: claude 2.*",
            "llmcall: model max/default; at most * call* in flight",
            "llmcall: evidence in .llmcall/*",
        ],
        ["* s * tok * passed * cases.llm.yaml::right", "11 calls: * s of calls in * s, at most * in flight, *"],
    ):
        result.stdout.fnmatch_lines(lines)


def _junit_agrees(tree: ET.ElementTree[ET.Element[str]]) -> None:
    cases = {case.attrib["name"]: case for case in tree.iter("testcase")}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == FAILED
    assert {name for name, case in cases.items() if case.find("error") is not None} == ERRORS
    assert {name for name, case in cases.items() if case.find("skipped") is not None} == SKIPPED | {"expected"}
    known = {each.attrib["name"]: each.attrib["value"] for each in cases["right"].iter("property")}
    assert known["llm_model"].startswith("claude-")
    assert set(known) >= {"llm_status", "llm_duration_s", "llm_tokens", "llm_cost_usd", "llm_tape"}


def _the_disk_agrees(kept: dict[str, dict[str, Any]]) -> None:
    statuses = {name: line["status"] for name, line in kept.items()}
    assert statuses == {
        "right": "passed",
        "wrong": "failed",
        "hangs": "no reply",
        "refuses": "failed",
        "custom_yes": "passed",
        "custom_no": "failed",
        "forgot": "broken validator",
        "raises": "broken validator",
        "asks": "passed",
        "expected": "failed",
        "dead": "no reply",
        **dict.fromkeys(SKIPPED, "skipped"),
    }
    for line in (line for name, line in kept.items() if name not in SKIPPED):
        tape = Path(line["tape"]).read_text(encoding="utf-8").splitlines()
        assert all(map(json.loads, tape))


AWKWARD = """\
import glob, os
import pytest

@pytest.fixture
def skips():
    def check(reply, *, params):
        pytest.skip("after the reply")
    return check

@pytest.fixture
def takes_the_disk_away():
    def check(reply, *, params):
        [folder] = glob.glob(".llmcall/runs/*")
        os.rename(f"{folder}/outcomes.jsonl", f"{folder}/before.jsonl")
        os.mkdir(f"{folder}/outcomes.jsonl")
        return False
    return check
"""


def test_a_reply_that_was_paid_for_is_recorded_even_if_a_check_skips(
    run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel
) -> None:
    model.default(Text("ok"))
    write("conftest.py", AWKWARD)
    write("cases.llm.yaml", "cases:\n  - {id: a, prompt: x, validate: [skips]}\n")
    result = run()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["* tok * not judged * cases.llm.yaml::a", "1 call: *"])
    assert outcomes()["a"]["status"] == "not judged"


def test_an_outcome_that_cannot_be_written_is_an_error_that_no_xfail_covers(
    run: Run, write: Write, model: ScriptedModel
) -> None:
    model.default(Text("ok"))
    write("conftest.py", AWKWARD)
    first = "  - {id: a, prompt: x, validate: [not_empty]}\n"
    second = "  - {id: b, prompt: x, validate: [takes_the_disk_away], marks: [{xfail: {reason: known}}]}\n"
    write("cases.llm.yaml", f"cases:\n{first}{second}")
    result = run("--llm-concurrency", "1")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["ERROR cases.llm.yaml::b - *the outcome cannot be written to*"])


@pytest.mark.usefixtures("script")
def test_last_failed_runs_what_failed_and_what_errored(pytester: pytest.Pytester) -> None:
    chosen = ("--llm", "-k", "right or wrong or forgot")
    pytester.runpytest_subprocess(*chosen).assert_outcomes(passed=1, failed=1, errors=1, deselected=11)
    again = pytester.runpytest_subprocess(*chosen, "--lf", "-v")
    again.assert_outcomes(failed=1, errors=1)


@pytest.mark.usefixtures("model")
def test_a_missing_cli_is_one_error_with_its_remedy_and_the_rest_is_not_asked(run: Run, write: Write) -> None:
    write("cases.llm.yaml", CASES)
    write("conftest.py", CONFTEST)
    result = run("--llm-claude", "/no/such/claude", "-k", "right or wrong or custom_yes", "-rA")
    result.assert_outcomes(errors=3, deselected=11)
    text = result.stdout.str()
    assert text.count("what to do:") == 1
    assert text.count("not asked: an earlier case stopped the Claude executor") >= 2
    result.stdout.fnmatch_lines(["llmcall: no claude CLI: */no/such/claude*"])


@pytest.mark.usefixtures("model")
def test_a_cli_that_is_not_executable_says_so(run: Run, write: Write) -> None:
    write("cases.llm.yaml", CASES)
    write("conftest.py", CONFTEST)
    write("claude", "#!/bin/sh\n")
    run("--llm-claude", "claude", "-k", "right").stdout.fnmatch_lines(["*no reply (configuration): *not executable*"])


@pytest.mark.usefixtures("script")
def test_not_logged_in_stops_the_executor_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    result = run("-k", "right or wrong or custom_yes", "--llm-concurrency", "1", "-rA")
    result.assert_outcomes(errors=3, deselected=11)
    assert result.stdout.str().count("what to do:") == 1
    result.stdout.fnmatch_lines(["*[Nn]ot logged in*"])


@pytest.mark.usefixtures("model")
def test_an_evidence_folder_that_cannot_be_written_ends_the_run_before_it_asks(run: Run, write: Write) -> None:
    write("cases.llm.yaml", CASES)
    write("conftest.py", CONFTEST)
    result = run("--llm-evidence", "cases.llm.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*evidence folder *cases.llm.yaml cannot be written*--llm-evidence*"])


@pytest.mark.usefixtures("script")
def test_forced_models_are_what_the_cli_is_asked_for(run: Run, model: ScriptedModel) -> None:
    two = ("--llm-force-model", "max/haiku", "--llm-force-model", "max/opus")
    result = run("-k", "right", *two, "-v")
    for name in ("haiku", "opus"):  # in the order of their answers
        result.stdout.fnmatch_lines([f"*::right?max/{name}? PASSED*"])
    asked = {request.body["model"] for request in model.requests if "max_tokens" in request.body}
    assert sorted(next(label for label in ("haiku", "opus") if label in name) for name in asked) == ["haiku", "opus"]
