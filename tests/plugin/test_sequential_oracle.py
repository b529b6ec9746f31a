"""Sequential pytest is the oracle: the same suite, one call at a time and many at once, differs in nothing but time."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.testing import ScriptedModel, Text

pytestmark = pytest.mark.real_cli

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]

CONFTEST = """\
import json, logging, os, subprocess, sys, warnings
import pytest

EVENTS = []
REPORTS = []

def event(request, what):
    EVENTS.append((what, request.fixturename, request.scope, request.node.nodeid))

@pytest.fixture(scope="session")
def whole(request):
    event(request, "up"); yield "whole"; event(request, "down")

@pytest.fixture(scope="module", autouse=True)
def per_file(request, whole):
    event(request, "up"); yield; event(request, "down")

@pytest.fixture(autouse=True)
def each(request):
    event(request, "up")
    print("set-up of", request.node.name)
    yield
    print("tear-down of", request.node.name)
    event(request, "down")

@pytest.fixture(scope="module", params=["a", "b"])
def letter(request):
    event(request, "up"); yield request.param; event(request, "down")

@pytest.fixture
def says(request, letter, tmp_path):
    def check(reply, *, params):
        print("judging", request.node.name, letter)
        logging.getLogger("suite").warning("log of %s", request.node.name)
        subprocess.run([sys.executable, "-c", f"print('child of {request.node.name}')"], check=True)
        warnings.warn(f"warning of {request.node.name}")
        (tmp_path / "x").write_text(reply.text)
        said = reply.text
        assert params["word"] in said
        return True
    return check

@pytest.fixture
async def slow_value():
    import asyncio
    await asyncio.sleep(0)
    yield "slow"

@pytest.fixture
def uses_async(request, slow_value):
    async def check(reply, *, params):
        import asyncio
        print("asynchronous", request.node.name, slow_value)
        await asyncio.sleep(0)
        return reply.text == "ok"
    return check

@pytest.fixture
def broken_setup():
    raise RuntimeError("set-up fails")

@pytest.fixture
def broken_teardown():
    yield lambda reply, *, params: True
    raise RuntimeError("tear-down fails")

def pytest_runtest_logreport(report):
    REPORTS.append({
        "nodeid": report.nodeid, "when": report.when, "outcome": report.outcome,
        "sections": report.sections, "text": str(report.longrepr or ""), "xfail": getattr(report, "wasxfail", None),
    })

def pytest_warning_recorded(warning_message, when, nodeid):
    REPORTS.append({"nodeid": nodeid, "when": when, "warning": str(warning_message.message)})

def pytest_unconfigure(config):
    with open(os.environ["LLMCALL_TEST_SEEN"], "w") as file:
        json.dump({"events": EVENTS, "reports": REPORTS}, file)
"""

CASES = """\
cases:
  - {id: plain, prompt: one, validate: [not_empty]}
  - {id: prints, prompt: two, validate: [{says: {word: ok}}]}
  - {id: fails, prompt: three, validate: [{says: {word: never}}]}
  - {id: awaits, prompt: four, validate: [uses_async]}
  - {id: setup, prompt: five, validate: [broken_setup]}
  - {id: teardown, prompt: six, validate: [broken_teardown]}
  - {id: xfails, prompt: seven, validate: [{contains: never}], marks: [{xfail: {reason: known}}]}
  - {id: xpasses, prompt: eight, validate: [{contains: ok}], marks: [{xfail: {reason: known, strict: true}}]}
  - {id: skips, prompt: nine, validate: [not_empty], marks: [{skip: {reason: later}}]}
"""

TESTS = """\
import logging
import pytest

def test_prints(capsys, each):
    print("seen by capsys")
    assert capsys.readouterr().out.endswith("seen by capsys\\n")

def test_fails(letter):
    print("before the failure")
    logging.getLogger("suite").error("log of test_fails")
    assert letter == "c"

class TestGroup:
    @pytest.fixture(scope="class", autouse=True)
    def per_class(self, request):
        print("class up"); yield; print("class down")

    def test_one(self, tmp_path): assert not list(tmp_path.iterdir())
    def test_two(self, monkeypatch): monkeypatch.setenv("X", "1")
"""


def seen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *args: str) -> tuple[int, dict[str, Any]]:
    path = tmp_path / "seen.json"
    monkeypatch.setenv("LLMCALL_TEST_SEEN", str(path))
    result = run("-W", "default", *args)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return int(result.ret), found


def without_time(text: str) -> str:
    text = re.sub(r"\d+\.\d+ s\b", "N s", text)
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
    return re.sub(r"(evidence: |in )\S*\.llmcall\S*", r"\1PATH", text)


def by_item(reports: list[dict[str, Any]]) -> dict[str, list[str]]:
    items: dict[str, list[str]] = {}
    for report in reports:
        items.setdefault(report["nodeid"], []).append(without_time(json.dumps(report, sort_keys=True)))
    return items


@pytest.fixture
def suite(model: ScriptedModel, write: Write) -> None:
    model.default(Text("ok"))
    write("conftest.py", CONFTEST)
    write("first.llm.yaml", CASES)
    write("second.llm.yaml", "".join(CASES.splitlines(keepends=True)[:4]))
    write("test_plain.py", TESTS)


@pytest.mark.usefixtures("suite")
def test_outcomes_output_warnings_and_fixtures_agree(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, alone = seen(run, tmp_path, monkeypatch, "--llm-concurrency", "1")
    lanes_code, together = seen(run, tmp_path, monkeypatch, "--llm-concurrency", "4")

    assert lanes_code == code == pytest.ExitCode.TESTS_FAILED
    many, one = by_item(together["reports"]), by_item(alone["reports"])
    assert many.keys() == one.keys()
    assert not [report for report in alone["reports"] if "pytest_llmcall" in report.get("text", "")]
    for nodeid, reports in one.items():
        assert many[nodeid] == reports, nodeid
    assert Counter(map(tuple, together["events"])) == Counter(map(tuple, alone["events"]))
    outcomes = Counter(report["outcome"] for report in alone["reports"] if report.get("when") == "call")
    assert outcomes["passed"] > 8
    assert outcomes["failed"] > 4
    _shared_fixtures_enclose_their_users([tuple(each) for each in together["events"]])


def _shared_fixtures_enclose_their_users(events: list[tuple[str, ...]]) -> None:
    for name in ("first.llm.yaml", "second.llm.yaml"):
        up, down = (events.index((what, "per_file", "module", name)) for what in ("up", "down"))
        users = [at for at, (_, _, _, node) in enumerate(events) if node.startswith(f"{name}::")]
        assert up < min(users)
        assert max(users) < down
