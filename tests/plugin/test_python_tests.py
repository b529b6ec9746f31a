"""Python tests that ask through `llm` end in their one right way, with lanes and without; with the real CLI."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_llmcall.testing import Gate, Hang, Refusal, Request, ScriptedModel, Text

pytestmark = pytest.mark.real_cli

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]
Outcomes = Callable[[], dict[str, dict[str, Any]]]

HEAD = """\
import asyncio, copy, pickle, threading
from dataclasses import asdict, replace
import pytest
from pytest_llmcall import Ending, Misuse, TimedOut, Verdict, validators as v
"""

ENDINGS = (
    HEAD
    + """
async def test_passes(llm):
    reply = await llm("capital of France")
    verdicts = reply.check(v.contains("Paris"), v.max_words(3))
    assert [each.passed for each in verdicts] == [True, True]

def test_passes_sync(llm):
    assert llm.sync("capital of France").text == "Paris"

async def test_fails_check(llm):
    reply = await llm("capital of Italy")
    reply.check(v.contains("Rome"), v.max_words(9), v.max_words(3))

async def test_fails_assert(llm):
    assert "Rome" in (await llm("capital of Italy")).text

async def test_forgets_to_await(llm):
    llm("capital of France")

def test_forgets_in_a_plain_function(llm):
    llm("capital of France")

@pytest.fixture
def forgetful(llm):
    return llm("capital of France")

async def test_fixture_forgets(forgetful):
    pass

async def test_forgets_to_await_a_repeat(llm):
    llm.repeat(3, "capital of France", check=v.contains("Rome"))

async def test_forgets_to_await_a_check(llm):
    reply = await llm("capital of France")
    llm.check(reply, v.contains("Rome"))

async def test_reads_from_a_call(llm):
    assert llm("capital of France").text == "Paris"

async def test_leaves_it_under_way(llm):
    task = asyncio.ensure_future(llm("a hang"))
    await asyncio.sleep(0)

async def test_sync_in_a_coroutine(llm):
    llm.sync("capital of France")

def test_sync_in_a_thread(llm):
    raised = []
    def ask():
        try:
            llm.sync("capital of France")
        except Misuse as error:
            raised.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(10)
    raise raised[0]

async def test_wrong_arguments(llm):
    await llm("x", messages=[{"role": "user"}], timeout="soon", tools=[1])

@pytest.mark.xfail(reason="known")
async def test_misspells_an_argument(llm):
    await llm("capital of France", timout=5)

@pytest.mark.xfail(reason="known")
async def test_asks_with_two_prompts(llm):
    await llm("capital of France", "capital of Italy")

@pytest.mark.xfail(reason="known")
async def test_misuses_a_validator(llm):
    (await llm("capital of France")).check(v.max_words("3"))

async def test_repeats_without_a_check(llm):
    await llm.repeat(2, "capital of France", pass_rate=0.5)

async def test_checks_nothing(llm):
    (await llm("capital of France")).check()

async def test_checks_with_a_text(llm):
    (await llm("capital of France")).check("Paris")

async def test_broken_check(llm):
    def crashes(reply, *, params):
        return reply.text["no"]
    (await llm("capital of France")).check(crashes, v.contains("Paris"))

async def test_asynchronous_check_needs_await(llm):
    async def later(reply, *, params):
        return True
    (await llm("capital of France")).check(later)

async def test_asynchronous_check(llm):
    async def later(reply, *, params):
        return Verdict(validator="later", passed=False, reason="later said no")
    reply = await llm("capital of France")
    await llm.check(reply, later, v.contains("Paris"))

def test_asynchronous_check_sync(llm):
    async def later(reply, *, params):
        return True
    llm.sync("capital of France").check(later)

async def test_refusal_that_nobody_looks_at(llm):
    await llm("a refusal")

def test_refusal_that_nobody_looks_at_sync(llm):
    print(llm.sync("a refusal"))

async def test_refusal_whose_tools_are_missed(llm):
    assert not (await llm("a refusal")).tool_uses

async def test_refusal_that_is_read(llm):
    assert (await llm("a refusal")).ending is Ending.REFUSAL

async def test_refusal_that_is_checked(llm):
    (await llm("a refusal")).check(v.max_words(1000))

async def test_hangs(llm):
    await llm("a hang", timeout=5)

@pytest.mark.xfail(reason="known")
async def test_hangs_and_is_expected_to_fail(llm):
    await llm("a hang", timeout=5)

@pytest.mark.xfail(reason="known", strict=True)
async def test_fails_as_expected(llm):
    (await llm("capital of Italy")).check(v.contains("Rome"))

async def test_expects_a_timeout(llm):
    with pytest.raises(TimedOut):
        await llm("a hang", timeout=5)

async def test_skips_after_the_reply(llm):
    await llm("capital of France")
    pytest.skip("not today")

@pytest.mark.llm(needs="env:LLMCALL_NO_SUCH_VARIABLE")
async def test_needs_what_is_not_there(llm):
    await llm("capital of France")

async def test_awaits_twice(llm):
    call = llm("capital of France")
    assert await call is await call

async def test_group_passes(llm):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(llm("capital of France")) for _ in range(2)]
    assert [task.result().text for task in tasks] == ["Paris", "Paris"]

@pytest.mark.xfail(reason="known")
async def test_group_brings_no_reply(llm):
    async with asyncio.TaskGroup() as group:
        group.create_task(llm("a hang", timeout=5))

async def test_fails_before_it_awaits_the_second(llm):
    one, two = llm("capital of Italy"), llm("capital of France")
    (await one).check(v.contains("Rome"))
    await two

async def test_skips_before_it_awaits(llm):
    call = llm("capital of France")
    pytest.skip("not today")

async def test_copies_are_replies(llm):
    reply = await llm("a refusal")
    for copied in (copy.copy(reply), copy.deepcopy(reply), pickle.loads(pickle.dumps(reply)), replace(reply, turns=9)):
        assert copied.ending is Ending.REFUSAL
    assert asdict(reply)["text"] == reply.text

async def test_gives_up_waiting(llm):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(llm("a hang"), 2)
"""
)

PASSED = {
    "test_passes",
    "test_passes_sync",
    "test_asynchronous_check_sync",
    "test_refusal_that_is_read",
    "test_expects_a_timeout",
    "test_awaits_twice",
    "test_gives_up_waiting",
    "test_group_passes",
    "test_copies_are_replies",
}
FAILED = {
    "test_fails_check",
    "test_fails_assert",
    "test_asynchronous_check",
    "test_refusal_that_nobody_looks_at",
    "test_refusal_whose_tools_are_missed",
    "test_refusal_that_nobody_looks_at_sync",
    "test_refusal_that_is_checked",
    "test_fails_before_it_awaits_the_second",
}
MISUSED = {
    "test_forgets_to_await",
    "test_forgets_in_a_plain_function",
    "test_forgets_to_await_a_repeat",
    "test_forgets_to_await_a_check",
    "test_reads_from_a_call",
    "test_leaves_it_under_way",
    "test_sync_in_a_coroutine",
    "test_sync_in_a_thread",
    "test_wrong_arguments",
    "test_misspells_an_argument",
    "test_asks_with_two_prompts",
    "test_misuses_a_validator",
    "test_repeats_without_a_check",
    "test_checks_nothing",
    "test_checks_with_a_text",
    "test_asynchronous_check_needs_await",
}
NO_REPLY = {"test_hangs", "test_hangs_and_is_expected_to_fail", "test_group_brings_no_reply"}
ERRORS = MISUSED | NO_REPLY | {"test_broken_check"}


@pytest.fixture
def script(model: ScriptedModel) -> None:
    model.on("capital of France", Text("Paris"))
    model.on("capital of Italy", Text("Milan, I think, or maybe Turin"))
    model.on("a hang", Hang("The beginning of"))
    model.on("a refusal", Refusal())


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("concurrency", ["1", "8"])
def test_each_test_ends_in_its_one_right_way(
    run: Run, write: Write, outcomes: Outcomes, pytester: pytest.Pytester, concurrency: str
) -> None:
    write("test_asks.py", ENDINGS)
    result = run("-rA", "--junitxml=junit.xml", "--llm-concurrency", concurrency)

    # The test whose fixture forgot has passed, and its teardown is the error.
    result.assert_outcomes(passed=len(PASSED) + 1, failed=len(FAILED), errors=len(ERRORS) + 1, skipped=3, xfailed=1)
    for word, names in (("PASSED", PASSED), ("FAILED", FAILED), ("ERROR", ERRORS | {"test_fixture_forgets"})):
        for name in names:
            result.stdout.fnmatch_lines([f"{word} test_asks.py::{name}*"])
    _the_terminal_shows_reasons(result)
    _junit_agrees(ET.parse(pytester.path / "junit.xml"))
    _the_disk_agrees(outcomes())


def _the_terminal_shows_reasons(result: pytest.RunResult) -> None:
    for lines in (
        ["*CheckFailed: NO  contains: wanted 'Rome'*", "*yes max_words: *", "*NO  max_words: *", "call 1 of 1"],
        [_forgotten("test_forgets_to_await") + ", so nothing was asked: write `await llm(*"],
        [_forgotten("test_forgets_in_a_plain_function") + "*"],
        [_forgotten("def forgetful") + "*"],
        [_place("test_leaves_it_under_way") + "this call was still under way when the test ended: await it"],
        ["*Misuse: llm.sync() was called inside a coroutine: write `await llm(*"],
        ["*Misuse: llm.sync() was called in *a thread of the test's: write `await llm(*"],
        ["*exactly one of prompt and messages, this one has both; timeout must be *; a tool must be a text*"],
        [_place("test_forgets_to_await_a_repeat") + "these calls were never awaited*write `await llm.repeat(*"],
        [_place("test_forgets_to_await_a_check", after=2) + "this check was never awaited*write `await llm.check(*"],
        ["*Misuse: `.text` was read from a call, not from its reply; write `(await llm(*"],
        ["*Misuse: llm(*) cannot be asked so: unknown argument 'timout'. Did you mean 'timeout'?*"],
        ["*Misuse: llm(*) cannot be asked so: takes one prompt, found 'capital of Italy' besides"],
        ["*ParameterError: validator 'max_words': *"],
        ["*Misuse: a check without validators cannot say no*"],
        ["*Misuse: 'Paris' is no validator*v.contains*"],
        ["*broken validator 'crashes'*TypeError*", "*yes contains:*"],
        ["*Misuse: reply.check() with an asynchronous check was called *: write `await llm.check(reply*"],
        ["*NO  later: later said no", "*yes contains:*"],
        ["*NO  completed: the reply to the call at *test_asks.py:* ended with 'refusal'*neither checked nor read it*"],
        ["  ended:  refusal"],
        ["*NO  completed: wanted a reply that completed, found the ending 'refusal'*"],
        ["*no reply (timeout): no reply within 5 s", "*received so far: The beginning of"],
        ["SKIPPED * needs env:LLMCALL_NO_SUCH_VARIABLE: the environment variable *is not set"],
        ["* not judged * test_asks.py::test_skips_after_the_reply"],
    ):
        result.stdout.fnmatch_lines(lines)
    # A traceback shows the test's own lines, not those of this package.
    result.stdout.no_fnmatch_line("*pytest_llmcall/*.py:*")


def _place(function: str, *, after: int = 1) -> str:
    lines = ENDINGS.splitlines()
    return f"*test_asks.py:{next(at for at, line in enumerate(lines, start=1) if f'{function}(' in line) + after}: "


def _forgotten(function: str) -> str:
    return _place(function) + "this call was never awaited"


def _junit_agrees(tree: ET.ElementTree[ET.Element[str]]) -> None:
    cases = {case.attrib["name"]: case for case in tree.iter("testcase")}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == FAILED
    assert {name for name, case in cases.items() if case.find("error") is not None} == ERRORS | {"test_fixture_forgets"}
    known = {each.attrib["name"]: each.attrib["value"] for each in cases["test_passes"].iter("property")}
    assert known["llm_model"].startswith("claude-")
    assert set(known) >= {"llm_status", "llm_duration_s", "llm_tokens", "llm_cost_usd", "llm_tape"}


def _the_disk_agrees(kept: dict[str, dict[str, Any]]) -> None:
    statuses = {name: line["status"] for name, line in kept.items()}
    assert statuses == {
        **dict.fromkeys(PASSED, "passed"),
        **dict.fromkeys(FAILED, "failed"),
        **dict.fromkeys(MISUSED, "misused"),
        **dict.fromkeys(NO_REPLY, "no reply"),
        "test_fixture_forgets": "misused",
        "test_broken_check": "broken validator",
        "test_fails_as_expected": "failed",
        "test_skips_after_the_reply": "not judged",
        "test_needs_what_is_not_there": "skipped",
        "test_skips_before_it_awaits": "skipped",
    }
    assert [each["passed"] for each in kept["test_fails_check"]["verdicts"]] == [False, True, False]
    assert all(Path(each["tape"]).is_file() for each in kept["test_passes"]["calls"])
    assert kept["test_gives_up_waiting"]["attempts"] in {0, 1}  # it may have been queued for that long
    assert kept["test_gives_up_waiting"]["cost_usd"] is None
    assert kept["test_awaits_twice"]["attempts"] == 1


SHARED = (
    HEAD
    + """
pytestmark = pytest.mark.llm(system="from the module")

@pytest.fixture(scope="session")
async def colour(llm):
    return await llm("a colour")

@pytest.fixture(scope="module")
def fruit(llm):
    return llm.sync("a fruit")

@pytest.mark.llm(system="from the first")
async def test_first(colour, fruit):
    assert (colour.text, fruit.text) == ("red", "apple")

@pytest.mark.llm(system="from the second", timeout=50)
async def test_second(colour, fruit, llm):
    assert colour.text == "red"
    colour.check(v.contains("red"))
    assert (await llm("a number")).text == "7"

def test_third(fruit, llm):
    assert fruit.text == "apple"
    assert llm.sync("a number", system="from the call").text == "7"

async def test_fourth(llm):
    assert (await llm(messages=[
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "a number"},
    ], files={"a.txt": "x"}, max_turns=2)).text == "7"
"""
)


@pytest.mark.parametrize("concurrency", ["1", "8"])
def test_shared_fixtures_pay_once_and_book_to_the_first_that_asks(
    run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel, concurrency: str
) -> None:
    model.on("a colour", Text("red"))
    model.on("a fruit", Text("apple"))
    model.on("a number", Text("7"))
    write("test_shared.py", SHARED)
    run("--llm-concurrency", concurrency).assert_outcomes(passed=4)

    asked = [(request.system_text, request.user_text) for request in model.requests if "max_tokens" in request.body]
    found = sorted(
        (word, each)
        for system, each in asked
        for word in ("first", "second", "call", "module")
        if f"from the {word}" in system
    )
    assert sorted(each.rpartition("a ")[2] for _, each in found) == ["colour", "fruit", *["number"] * 3]
    assert [word for word, each in found if "number" in each] == ["call", "module", "second"]
    kept = outcomes()
    assert sum(len(line["calls"]) for line in kept.values()) == 5
    assert [name for name, line in kept.items() if "contains" in [each["validator"] for each in line["verdicts"]]] == [
        "test_second"
    ]
    if concurrency == "1":
        assert [len(kept[f"test_{name}"]["calls"]) for name in ("first", "second", "third", "fourth")] == [2, 1, 1, 1]
        assert [word for word, each in found if "number" not in each] == ["first", "first"]


REPEATS = (
    HEAD
    + """
async def test_enough(llm):
    repeats = await llm.repeat(3, "flaky", check=v.contains("yes"), pass_rate=0.6)
    assert (repeats.passed, len(repeats.replies), round(repeats.pass_rate, 2)) == (2, 3, 0.67)

async def test_not_enough(llm):
    await llm.repeat(2, "always no", check=[v.contains("yes"), v.not_empty()])

async def test_one_brings_nothing(llm):
    await llm.repeat(2, "a hang", check=v.not_empty(), timeout=5)

async def test_a_refusal_is_no_pass(llm):
    await llm.repeat(1, "a refusal", check=v.max_words(100))

@pytest.mark.parametrize("times, rate", [(0, 1.0), (2, 0), (2, 1.5), (True, 1.0)])
async def test_bad_numbers(llm, times, rate):
    with pytest.raises(Misuse):
        await llm.repeat(times, "flaky", check=v.not_empty(), pass_rate=rate)
"""
)


def test_repeats_ask_at_once_and_count(run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel) -> None:
    flaky = itertools.count()
    model.on(lambda request: "flaky" in request.user_text and next(flaky) == 1, Text("no"))
    model.on("flaky", Gate(Text("yes"), opens_at=2))
    model.on("always no", Text("no"))
    model.on("a hang", Hang())
    model.on("a refusal", Refusal())
    write("test_repeats.py", REPEATS)
    result = run("-rA", "--llm-concurrency", "4")
    result.assert_outcomes(passed=5, failed=2, errors=1)
    result.stdout.fnmatch_lines(["*NO  repeat: 0 of 2 runs passed, wanted 100%", "*run 1: NO  contains: wanted 'yes'*"])
    result.stdout.fnmatch_lines(["*TimedOut: no reply within 5 s"])
    kept = outcomes()
    assert [each["score"] for each in kept["test_not_enough"]["verdicts"]] == [0.0]
    assert len(kept["test_enough"]["calls"]) == 3


def test_plain_and_coroutine_tests_overlap_together(run: Run, write: Write, model: ScriptedModel) -> None:
    model.default(Gate(Text("ok"), opens_at=6))
    write(
        "test_overlap.py",
        HEAD
        + """
@pytest.mark.parametrize("n", range(2))
async def test_coroutine(llm, n):
    assert (await llm(f"number {n}")).text == "ok"

@pytest.mark.parametrize("n", range(2))
def test_plain(llm, n):
    assert llm.sync(f"letter {n}").text == "ok"

async def test_two_at_once(llm):
    one, two = await asyncio.gather(llm("one"), llm("two"))
    assert one.text == two.text
""",
    )
    result = run("--llm-concurrency", "6")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["6 calls: * at most 6 in flight*"])


def test_forced_models_run_each_test_once_for_each(run: Run, write: Write, model: ScriptedModel) -> None:
    model.default(Text("ok"))
    write("test_forced.py", HEAD + 'async def test_a(llm):\n    await llm("x", model="max/sonnet")\n')
    result = run("--llm-force-model", "max/haiku", "--llm-force-model", "max/opus", "-v")
    result.assert_outcomes(passed=2)
    for name in ("haiku", "opus"):
        result.stdout.fnmatch_lines([f"*::test_a?max/{name}? PASSED*"])
    asked = [request.body["model"] for request in model.requests if "max_tokens" in request.body]
    assert sorted(next(label for label in ("haiku", "opus") if label in name) for name in asked) == ["haiku", "opus"]


RUNNERS = (
    HEAD
    + """
@pytest.fixture
async def asked(llm):
    return await llm("capital of France")

@pytest.mark.asyncio
async def test_asyncio(llm):
    (await llm("capital of France")).check(v.contains("Paris"))

@pytest.mark.asyncio(loop_scope="session")
async def test_session_loop(llm):
    (await llm("capital of France")).check(v.contains("Paris"))

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_anyio(llm, anyio_backend):
    (await llm("capital of France")).check(v.contains("Paris"))
    repeats = await llm.repeat(2, "capital of France", check=v.contains("Paris"))
    assert repeats.passed == 2
    with pytest.raises(Misuse, match="inside a coroutine"):
        llm.sync("x")

async def test_ours(asked):
    asked.check(v.contains("Paris"))
"""
)


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize("concurrency", ["1", "8"])
def test_other_runners_run_the_same_tests(run: Run, write: Write, outcomes: Outcomes, concurrency: str) -> None:
    write("test_runners.py", RUNNERS)
    result = run("--llm-concurrency", concurrency)
    result.assert_outcomes(passed=5)
    assert {name: len(line["calls"]) for name, line in outcomes().items()} == {
        "test_asyncio": 1,
        "test_session_loop": 1,
        "test_anyio[asyncio]": 3,
        "test_anyio[trio]": 3,
        "test_ours": 1,
    }


@pytest.mark.usefixtures("script")
def test_workers_of_xdist_run_tests_that_ask(run: Run, write: Write, outcomes: Outcomes) -> None:
    write("test_asks.py", ENDINGS)
    result = run("-n", "2", "-k", "passes or fails_assert or forgets_to_await", "-rA")
    result.assert_outcomes(passed=3, failed=1, errors=3)
    result.stdout.fnmatch_lines(["* misused * test_asks.py::test_forgets_to_await"])
    assert len(outcomes()) == 7


def one_fails_when_the_other_hangs(model: ScriptedModel) -> None:
    gate = Gate(Text("no"))

    def hangs(request: Request) -> bool:
        if "hangs" not in request.user_text:
            return False
        gate.release()
        return True

    model.on("fails", gate)
    model.on(hangs, Hang())


def test_exitfirst_says_which_calls_were_cut(run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel) -> None:
    one_fails_when_the_other_hangs(model)
    write(
        "test_cut.py",
        HEAD
        + """
async def test_hangs(llm):
    await llm("hangs")

async def test_fails(llm):
    assert (await llm("fails")).text == "yes"
""",
    )
    run("-x", "--llm-concurrency", "2").assert_outcomes(failed=1)
    assert {name: line["status"] for name, line in outcomes().items()} == {"test_hangs": "cut", "test_fails": "failed"}


def test_a_validator_fixture_of_a_case_may_ask(
    run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel
) -> None:
    model.on("judge this", Text("no"))
    model.default(Text("hello"))
    write(
        "conftest.py",
        """
import pytest
@pytest.fixture
def judged(llm):
    def check(reply, *, params):
        return llm.sync(f"judge this: {reply.text}").text == "yes"
    return check
""",
    )
    write("cases.llm.yaml", "cases:\n  - {id: a, prompt: x, validate: [judged]}\n")
    run().assert_outcomes(failed=1)
    assert len(outcomes()["a"]["calls"]) == 2


# pytest-rerunfailures makes this with the report of the set-up, and needs it for that of the teardown.
RERUNS = """
import pytest

class Reruns:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.when == "setup":
            item._terminal_errors = {}
        item._terminal_errors[report.when] = report.failed
        return report

def pytest_configure(config):
    config.pluginmanager.register(Reruns(), "rerunfailures")
"""


def test_a_call_that_is_cut_in_a_set_up_did_not_pass(
    run: Run, write: Write, outcomes: Outcomes, model: ScriptedModel
) -> None:
    one_fails_when_the_other_hangs(model)
    write("conftest.py", RERUNS)
    write(
        "test_cut.py",
        HEAD
        + """
@pytest.fixture
async def story(llm):
    return await llm("hangs")

async def test_waits(story): ...

async def test_fails(llm):
    assert (await llm("fails")).text == "yes"
""",
    )
    result = run("-x", "--llm-concurrency", "2")
    result.assert_outcomes(failed=1)
    assert result.ret != pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(["* cut * test_cut.py::test_waits"])
    assert {name: line["status"] for name, line in outcomes().items()} == {"test_waits": "cut", "test_fails": "failed"}
