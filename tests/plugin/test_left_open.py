"""What shared fixtures, subtests and teardowns leave open ends where it belongs, with lanes and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.testing import Hang, Refusal, ScriptedModel, Text

pytestmark = [pytest.mark.real_cli, pytest.mark.parametrize("concurrency", ["1", "4"])]

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]

HEAD = """\
import pytest
from pytest_llmcall import validators as v
"""


@pytest.fixture
def script(model: ScriptedModel) -> None:
    model.on("capital of France", Text("Paris"))
    model.on("a hang", Hang())
    model.on("a refusal", Refusal())


def _lines(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob(".llmcall/runs/*/outcomes.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.usefixtures("script")
def test_a_shared_call_may_be_awaited_by_any_of_its_tests(
    run: Run, write: Write, pytester: pytest.Pytester, concurrency: str
) -> None:
    write(
        "test_shared.py",
        HEAD
        + """
@pytest.fixture(scope="module")
def call(llm):
    return llm("capital of France")

def test_does_not_need_it(call): ...

async def test_asks(call):
    assert (await call).text == "Paris"
""",
    )
    run("--llm-concurrency", concurrency).assert_outcomes(passed=2)
    asked = {line["nodeid"].partition("::")[2]: len(line["calls"]) for line in _lines(pytester.path)}
    assert asked == {"test_does_not_need_it": 0, "test_asks": 1}


@pytest.mark.usefixtures("script")
def test_what_nobody_awaited_or_looked_at_is_an_error_where_its_fixture_ends(
    run: Run, write: Write, concurrency: str
) -> None:
    for name, asks in (("await", 'llm("capital of France")'), ("look", 'llm.sync("a refusal")')):
        write(
            f"test_{name}.py",
            HEAD
            + f"""
@pytest.fixture(scope="module")
def shared(llm):
    return {asks}

def test_one(shared): ...
def test_two(shared): ...
""",
        )
    result = run("--llm-concurrency", concurrency, "-rE")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(["*test_await.py:6: this call was never awaited, so nothing was asked*"])
    result.stdout.fnmatch_lines(
        ["*NO  completed: the reply to the call at * ended with 'refusal', and the test neither checked*"]
    )


@pytest.mark.usefixtures("script")
def test_a_shared_refusal_is_no_failure_of_the_test_that_happens_to_come_first(
    run: Run, write: Write, concurrency: str
) -> None:
    write(
        "test_shared.py",
        HEAD
        + """
@pytest.fixture(scope="module")
def reply(llm):
    return llm.sync("a refusal")

def test_does_not_look(reply): ...
def test_looks(reply):
    assert reply.ending == "refusal"
""",
    )
    run("--llm-concurrency", concurrency).assert_outcomes(passed=2)


@pytest.mark.usefixtures("script")
def test_subtests_end_as_the_record_says(run: Run, write: Write, pytester: pytest.Pytester, concurrency: str) -> None:
    pytest.importorskip("_pytest.subtests")
    write(
        "test_sub.py",
        HEAD
        + """
async def test_no_reply(llm, subtests):
    with subtests.test("hangs"):
        await llm("a hang", timeout=3)

async def test_says_no(llm, subtests):
    with subtests.test("says no"):
        (await llm("capital of France")).check(v.contains("Rome"))

async def test_skips(llm, subtests):
    with subtests.test("skips"):
        pytest.skip("not today")
    assert (await llm("capital of France")).text == "Paris"
""",
    )
    result = run("--llm-concurrency", concurrency, "-rA")
    result.stdout.fnmatch_lines(["ERROR test_sub.py::test_no_reply - *TimedOut*"])
    result.stdout.no_fnmatch_line("FAILED test_sub.py::test_no_reply*")
    result.stdout.fnmatch_lines(["FAILED test_sub.py::test_says_no - contains 1 failed subtest"])
    ended = {line["nodeid"].partition("::")[2]: line["status"] for line in _lines(pytester.path)}
    assert ended == {"test_no_reply": "no reply", "test_says_no": "failed", "test_skips": "passed"}


@pytest.mark.usefixtures("script")
def test_a_verdict_of_a_teardown_has_a_record_of_its_own(
    run: Run, write: Write, pytester: pytest.Pytester, concurrency: str
) -> None:
    write(
        "test_teardown.py",
        HEAD
        + """
@pytest.fixture
def reply(llm):
    reply = llm.sync("capital of France")
    yield reply
    reply.check(v.contains("Rome"))

def test_passes(reply):
    reply.check(v.contains("Paris"))
""",
    )
    run("--llm-concurrency", concurrency).assert_outcomes(passed=1, errors=1)
    found = [(line["status"], len(line["calls"]), len(line["verdicts"])) for line in _lines(pytester.path)]
    assert found == [("passed", 1, 1), ("failed", 0, 1)]


@pytest.mark.usefixtures("script")
def test_a_call_that_is_left_alone_keeps_no_slot_where_its_loop_only_rests(
    run: Run, write: Write, pytester: pytest.Pytester, concurrency: str
) -> None:
    write("pytest.ini", "[pytest]\nanyio_mode = auto\n")
    write(
        "test_loops.py",
        HEAD
        + """
import asyncio
from pathlib import Path

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def keeps_the_loop(): ...

@pytest.mark.llm(exclusive=True)
async def test_leaves(llm, keeps_the_loop):
    asyncio.ensure_future(llm("a hang"))
    while not list(Path(".llmcall").glob("runs/*/tapes/*")):
        await asyncio.sleep(0.05)

def test_plain(llm):
    assert llm.sync("capital of France").text == "Paris"
""",
    )
    run("--llm-concurrency", concurrency).assert_outcomes(passed=1, errors=1)
    left = next(line for line in _lines(pytester.path) if "test_leaves" in line["nodeid"])
    assert (left["status"], left["attempts"], left["cost_usd"]) == ("misused", 1, None)


@pytest.mark.usefixtures("script")
def test_a_doctest_that_cannot_ask_is_an_error_too(
    run: Run, write: Write, pytester: pytest.Pytester, concurrency: str
) -> None:
    write("asks.py", '"""\n>>> getfixture("llm").sync("capital of France", timeout=-1)\n"""\n')
    run("--doctest-modules", "--llm-concurrency", concurrency).assert_outcomes(errors=1)
    assert [line["status"] for line in _lines(pytester.path)] == ["misused"]
