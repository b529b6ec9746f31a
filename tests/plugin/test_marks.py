"""Who is an LLM item, what its mark may say, and what runs alone; nobody is asked here but in the last tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_llmcall.testing import ScriptedModel, Text

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]

TESTS = """\
import pytest

@pytest.fixture
def answer(llm):
    return llm.sync("x").text

def test_direct(llm): ...
def test_through_a_fixture(answer): ...
@pytest.mark.llm
async def test_marked(): ...
def test_ordinary(): ...
"""


def test_whoever_has_the_fixture_in_its_closure_is_an_llm_item(run: Run, write: Write) -> None:
    write("test_a.py", TESTS)
    write("pytest.ini", "[pytest]\nstrict_markers = true\n")
    selected = run("-m", "llm", "--collect-only", "-q", llm=False)
    assert [line for line in selected.outlines if "::" in line] == [
        "test_a.py::test_direct",
        "test_a.py::test_through_a_fixture",
        "test_a.py::test_marked",
    ]
    others = run("-m", "not llm", "-q", llm=False)
    others.assert_outcomes(passed=1, deselected=3)


def test_llm_items_are_skipped_with_one_line_unless_they_are_asked_for(run: Run, write: Write) -> None:
    write("test_a.py", TESTS)
    result = run(llm=False)
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["3 LLM items skipped: *run them with -m llm or --llm*"])


def test_a_dynamic_request_is_skipped_too_unless_llm_items_are_asked_for(run: Run, write: Write) -> None:
    write("test_a.py", "def test_a(request):\n    request.getfixturevalue('llm')\n")
    run(llm=False).assert_outcomes(skipped=1)


def test_a_fixture_of_that_name_which_is_not_ours_is_left_alone(run: Run, write: Write) -> None:
    write("conftest.py", "import pytest\n@pytest.fixture\ndef llm():\n    return 'theirs'\n")
    write("test_a.py", "def test_a(llm):\n    assert llm == 'theirs'\n")
    run(llm=False).assert_outcomes(passed=1)


def test_a_fixture_that_wraps_ours_makes_an_llm_item(run: Run, write: Write) -> None:
    write("conftest.py", "import pytest\n@pytest.fixture\ndef llm(llm):\n    return llm\n")
    write("test_a.py", "def test_a(llm): ...\n")
    run(llm=False).assert_outcomes(skipped=1)


WRONG = """\
import pytest

@pytest.mark.llm(modle="max/sonnet", timeout=-1)
def test_keyword(llm): ...

@pytest.mark.llm("max/sonnet")
def test_positional(llm): ...

@pytest.mark.parametrize("n", range(3))
@pytest.mark.llm(model="max/sonet", tools=["Read", "no tool!"], max_turns=0)
async def test_values(llm, n): ...

class TestClass:
    pytestmark = pytest.mark.llm(exclusive="yes", needs=["magic"])
    def test_in_class(self, llm): ...

@pytest.mark.llm(model="max/sonnet", timeout=1.5, needs=["tools", "env:HOME"], exclusive=True, system="s", max_turns=2)
def test_right(llm): ...
"""


@pytest.mark.parametrize("asked_for", [True, False])
def test_all_wrong_marks_are_errors_at_collection_with_their_places(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, *, asked_for: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)  # there pytest's short summary repeats the whole text
    write("test_wrong.py", WRONG)
    write("test_other.py", "def test_ordinary(): ...\n")
    result = run(llm=asked_for)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*test_wrong.py:3: the mark llm(*) of test_keyword: unknown keyword 'modle'. Did you mean 'model'?*",
            "*test_wrong.py:3: the mark llm(*) of test_keyword: timeout must be more than 0 seconds, not -1",
            "*test_wrong.py:6: the mark llm(*) of test_positional: takes keywords only, found 'max/sonnet'",
            "*test_wrong.py:9: *of test_values: unknown model 'max/sonet'. Did you mean max/sonnet?*",
            "*test_wrong.py:9: *of test_values: 'no tool!' is not a tool*",
            "*test_wrong.py:9: *of test_values: max_turns must be a whole number of at least 1, not 0",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            "*test_wrong.py:1?: *of test_in_class: exclusive must be True or False, not 'yes'",
            "*test_wrong.py:1?: *of test_in_class: unknown need 'magic'*",
        ]
    )
    assert result.stdout.str().count("max_turns must be") == 1


def test_the_closest_mark_wins_and_needs_add_up(run: Run, write: Write) -> None:
    write(
        "test_a.py",
        """\
import pytest
pytestmark = pytest.mark.llm(needs=["env:LLMCALL_NO_SUCH_VARIABLE"], exclusive=True)

@pytest.mark.llm(needs=["tools"], exclusive=False)
def test_a(llm): ...
""",
    )
    result = run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs env:LLMCALL_NO_SUCH_VARIABLE: *"])


ALONE = """\
import pytest

@pytest.mark.llm(exclusive=True)
async def test_exclusive(): ...

@pytest.mark.llm
def test_idle(): ...

@pytest.mark.llm
async def test_patches(monkeypatch): ...

@pytest.mark.llm
async def test_listed(the_one_database): ...

@pytest.mark.llm
async def test_autouse_brings_it(quiet): ...

@pytest.mark.llm
async def test_overlaps(): ...

class TestQuiet:
    @pytest.fixture(autouse=True)
    def silence(self, capsys): ...

    @pytest.mark.llm
    async def test_quiet(self): ...
"""


def test_the_closing_section_says_what_ran_alone_and_why(run: Run, write: Write) -> None:
    write(
        "conftest.py",
        "import pytest\n@pytest.fixture\ndef the_one_database(): ...\n@pytest.fixture\ndef quiet(monkeypatch): ...\n",
    )
    write("pytest.ini", "[pytest]\nllm_exclusive_fixtures = the_one_database\n")
    write("test_a.py", ALONE)
    result = run()
    result.assert_outcomes(passed=7)
    for line in (
        "1 of 7 ran alone: llm(exclusive=True)",
        "1 of 7 ran alone: a plain function without a fixture of this plugin",
        "1 of 7 ran alone: monkeypatch",
        "1 of 7 ran alone: monkeypatch, through quiet in conftest.py:*",
        "1 of 7 ran alone: the_one_database",
        "1 of 7 ran alone: capsys, autouse in test_a.py:*",
    ):
        result.stdout.fnmatch_lines([line])


@pytest.mark.real_cli
def test_who_blocks_the_loop_is_named(run: Run, write: Write, model: ScriptedModel) -> None:
    model.default(Text("ok"))
    write(
        "test_a.py",
        """\
import time
async def test_blocks(llm):
    await llm("x")
    time.sleep(1.2)
""",
    )
    run().stdout.fnmatch_lines(["test_a.py::test_blocks held the loop for 1.? s"])
