"""Hundreds of calls of which one in five goes wrong in some way: each ends in exactly one outcome, and nothing is left.

The CLI is a small child process here, which speaks its protocol; the real one takes too much for so many.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import anyio
import psutil
import pytest
from tests.executors.claude.failures_page import rows

Write = Callable[[str, str], Path]
Run = Callable[..., pytest.RunResult]
Outcomes = Callable[[], dict[str, dict[str, Any]]]

CHILD = Path(__file__).parents[1] / "children" / "weather_claude.py"
CASES = 200
AT_ONCE = 50
BOUND_S = 90.0


class Fault(NamedTuple):
    """How a case ends; `keys` are further keys of the case."""

    status: str
    kind: str | None = None
    attempts: int = 1
    keys: str = ""


LOST = Fault("no reply", "infrastructure", attempts=2)
LATE = Fault("no reply", "timeout", keys=", timeout: 1")
PASSED = Fault("passed")
FAULTS = {
    "crashes": LOST,
    "hangs": LATE,
    "torn": LOST,
    "overloaded": LOST,
    "is_error": LOST,
    "server_is_down": Fault("no reply", "configuration", keys=", mcp: {tools: {command: no-such-server}}"),
    "floods_stdout": PASSED,
    "ignores_sigterm": LATE,
    "leaves_a_grandchild": PASSED,
    "says_nothing": LOST,
    "is_killed": LOST,
    "fails_without_a_word": LOST,
    "refuses": Fault("failed"),
    "hangs_with_a_grandchild": LATE,
    "floods_stderr": PASSED,
    "wrong": Fault("failed"),
    "hangs_after_its_result": PASSED,
}
CONFTEST = """\
import os
import threading

import psutil
import pytest

def opened():
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the one that lists
            continue
        found.add((status.st_dev, status.st_ino))
    return found


BEFORE = opened()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_unconfigure():
    yield
    files = opened() - BEFORE
    threads = {each.name for each in threading.enumerate()} - {"MainThread"}
    children = [each.name() for each in psutil.Process().children(recursive=True)]
    with open("left.txt", "w") as left:
        left.write(repr([*sorted(files), *sorted(threads), *children]))
"""


def weather() -> Iterator[tuple[str, str, Fault]]:
    """Yield each case's id, what its call does, and how it ends; one in five goes wrong."""
    faults = list(FAULTS.items())
    for number in range(CASES):
        word, fault = faults[number // 5 % len(faults)] if number % 5 == 2 else ("healthy", PASSED)
        yield f"c{number}-{word}", word, fault


@pytest.fixture
def suite(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the suite and its CLI; return the folder for temporary files."""
    lines = [
        f'  - {{id: {name}, prompt: "{word} now", validate: [{{contains: done}}]{fault.keys}}}'
        for name, word, fault in weather()
    ]
    write("cases.llm.yaml", "\n".join(["timeout: 60", "cases:", *lines, ""]))
    write("conftest.py", CONFTEST)
    write("claude", f"#!{sys.executable} -IS\n{CHILD.read_text()}").chmod(0o755)
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    for name, folder in (("TMPDIR", temporary), ("HOME", home), ("XDG_CACHE_HOME", home)):
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv(name, str(folder))
    return temporary


ARGUMENTS = ("--llm-claude=claude", f"--llm-concurrency={AT_ONCE}", "--junitxml=junit.xml")


@pytest.mark.usefixtures("suite")
def test_in_bad_weather_each_case_ends_in_exactly_one_outcome(run: Run, pytester: pytest.Pytester, suite: Path) -> None:
    result = run(*ARGUMENTS)
    expected = {name: fault for name, _, fault in weather()}

    kept = lines_on_disk(pytester.path)
    assert Counter(each["name"] for each in kept) == Counter([*expected])
    found = {each["name"]: Fault(each["status"], each["kind"], each["attempts"]) for each in kept}
    assert found == {name: fault._replace(keys="") for name, fault in expected.items()}

    statuses = Counter(fault.status for fault in expected.values())
    result.assert_outcomes(passed=statuses["passed"], failed=statuses["failed"], errors=statuses["no reply"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    junit_agrees(pytester.path / "junit.xml", expected)
    nothing_is_left(pytester.path, suite)


@pytest.mark.usefixtures("suite")
def test_ctrl_c_in_bad_weather_ends_everything_and_keeps_what_was_reported(
    pytester: pytest.Pytester, suite: Path, write: Write
) -> None:
    # Too long for the run to end by itself.
    cases = pytester.path / "cases.llm.yaml"
    cases.write_text(cases.read_text().replace("timeout: 1,", "timeout: 60,").replace("timeout: 1}", "timeout: 60}"))
    command = [sys.executable, "-m", "pytest", "--llm", "-v", "-p", "no:cacheprovider", *ARGUMENTS]
    with subprocess.Popen(
        command,
        cwd=pytester.path,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as inner:
        try:
            anyio.run(wait_for_outcomes, pytester.path, CASES // 2, inner)
            children = psutil.Process(inner.pid).children(recursive=True)
            inner.send_signal(signal.SIGINT)
            output, _ = inner.communicate(timeout=BOUND_S)
        finally:
            inner.kill()
    assert inner.returncode == pytest.ExitCode.INTERRUPTED, output
    assert not psutil.wait_procs(children, timeout=10)[1]

    expected = {name: fault for name, _, fault in weather()}
    kept = lines_on_disk(pytester.path)
    assert max(Counter(each["name"] for each in kept).values()) == 1
    for each in kept:
        assert each["status"] in {expected[each["name"]].status, "cut", "not asked"}, each
    reported = set(re.findall(r"cases\.llm\.yaml::(\S+) (?:PASSED|FAILED|ERROR)", output))
    ended = {each["name"] for each in kept if each["status"] not in {"cut", "not asked"}}
    assert len(reported) >= CASES // 4
    assert reported <= ended
    assert any(each["status"] == "cut" for each in kept)
    nothing_is_left(pytester.path, suite)


@pytest.mark.usefixtures("suite")
def test_a_missing_cli_is_shown_as_the_page_says(run: Run, pytester: pytest.Pytester) -> None:
    me = f"tests/plugin/{Path(__file__).name}::test_a_missing_cli_is_shown_as_the_page_says"
    (row,) = [row for row in rows() if me in row.tests]
    result = run("--llm-claude=no-such-claude", "-k", "c0-")
    lines = [re.sub(r"^E\s+", "", line) for line in result.outlines]
    assert any(re.fullmatch(row.pattern, line) for line in lines), row.pattern
    result.assert_outcomes(errors=1, deselected=CASES - 1)


def lines_on_disk(folder: Path) -> list[dict[str, Any]]:
    """Return the newest run's outcomes, a line each, with the name of the case."""
    (path,) = (folder / ".llmcall" / "runs").glob("*/outcomes.jsonl")
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [{**line, "name": line["nodeid"].partition("::")[2]} for line in lines]


async def wait_for_outcomes(folder: Path, count: int, inner: subprocess.Popen[str]) -> None:
    with anyio.fail_after(BOUND_S):
        while count_lines(folder) < count:
            assert inner.poll() is None, inner.communicate()[0]
            await anyio.sleep(0.02)


def count_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / ".llmcall" / "runs").glob("*/outcomes.jsonl"))


def junit_agrees(path: Path, expected: dict[str, Fault]) -> None:
    cases = [*ET.parse(path).iter("testcase")]
    assert Counter(case.attrib["name"] for case in cases) == Counter([*expected])
    for case in cases:
        status = expected[case.attrib["name"]].status
        child = {"passed": set(), "failed": {"failure"}, "no reply": {"error"}}[status]
        assert {each.tag for each in case} - {"properties"} == child, case.attrib["name"]


def nothing_is_left(folder: Path, temporary: Path) -> None:
    """No process, folder or log of the run, and of pytest no file, thread or child that it had not before."""
    assert [*temporary.iterdir()] == []
    assert (folder / "left.txt").read_text() == "[]"
    assert not [*temporary.parent.glob("home/**/mcp-logs-*")]
