"""Which items there are, and when they run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]

CASES = """\
model: max/default
cases:
  - id: capital
    prompt: What is the capital of France?
    marks: [smoke]
    validate: [{contains: Paris}]
  - id: sum
    prompt: What is 2 + 2?
    validate: [{contains: "4"}]
"""


@pytest.fixture(autouse=True)
def suite(write: Write) -> None:
    write("cases.llm.yaml", CASES)
    write("pytest.ini", "[pytest]\nmarkers =\n    smoke: a mark of the suite\n")


@pytest.mark.parametrize("arguments", [(), ("-k", "sum"), ("cases.llm.yaml::sum",), ("-m", "smoke")])
def test_without_being_asked_for_cases_are_skipped_with_the_way_to_run_them(
    run: Run, arguments: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    result = run("-rs", *arguments, llm=False)
    result.assert_outcomes(skipped=1 if arguments else 2, deselected=1 if "-k" in arguments or "-m" in arguments else 0)
    result.stdout.fnmatch_lines(["SKIPPED * LLM items cost time and money; run them with -m llm or --llm*"])
    result.stdout.fnmatch_lines(["? LLM item* skipped: * run them with -m llm or --llm*"])
    assert not (pytester.path / ".llmcall").exists()


def test_each_case_is_an_item_with_its_marks_and_the_marker_llm(run: Run) -> None:
    result = run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["cases.llm.yaml::capital", "cases.llm.yaml::sum", "2 tests collected*"])
    run("--collect-only", "-q", "-m", "llm and smoke").stdout.fnmatch_lines(
        ["cases.llm.yaml::capital", "1/2 tests collected (1 deselected)*"]
    )
    run("--collect-only", "-q", "cases.llm.yaml::sum").stdout.fnmatch_lines(
        ["cases.llm.yaml::sum", "1 test collected*"]
    )


def test_an_item_stands_at_its_line_of_the_file(run: Run) -> None:
    run("--collect-only", "-q", "-k", "sum", "-p", "places").stdout.fnmatch_lines(["*cases.llm.yaml:7 sum"])


@pytest.fixture(autouse=True)
def places(write: Write) -> None:
    write(
        "places.py",
        "def pytest_collection_finish(session):\n"
        "    for item in session.items:\n"
        "        path, line, name = item.reportinfo()\n"
        "        print(f'{path}:{line + 1} {name}')\n",
    )


def test_every_problem_of_every_file_is_shown_before_anything_is_asked(run: Run, write: Write) -> None:
    write("empty.llm.yaml", "")
    write("syntax.llm.yaml", "cases: [\n")
    write("keys.llm.yaml", "cases:\n  - id: a\n    promt: x\n    validate: [contain: y]\n  - id: a\n    prompt: x\n")
    result = run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*keys.llm.yaml:3: LC* 'promt'*prompt*"])
    result.stdout.fnmatch_lines(["*keys.llm.yaml:5: LC* 'a'*"])
    result.stdout.fnmatch_lines(["*empty.llm.yaml*"])
    result.stdout.fnmatch_lines(["*syntax.llm.yaml:*"])
    assert "Traceback" not in result.stdout.str()


def test_a_check_that_is_no_fixture_is_a_problem_with_the_nearest_name(run: Run, write: Write) -> None:
    write("conftest.py", "import pytest\n\n@pytest.fixture\ndef polite():\n    return lambda reply, *, params: True\n")
    write("custom.llm.yaml", "cases:\n  - id: a\n    prompt: x\n    validate: [polit]\n")
    result = run("custom.llm.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*custom.llm.yaml:4: LC029 * 'polit'. Did you mean 'polite'?*"])
    result.stdout.fnmatch_lines(["ERROR custom.llm.yaml - 1 problem"])


def test_a_fixture_that_shadows_a_built_in_validator_is_a_problem_with_its_place(run: Run, write: Write) -> None:
    write(
        "conftest.py", "import pytest\n\n@pytest.fixture\ndef contains():\n    return lambda reply, *, params: True\n"
    )
    result = run("cases.llm.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*conftest.py:3: LC* 'contains'*built-in*"])
    assert result.stdout.str().count("'contains'") == 1


def test_an_unknown_mark_is_warned_of_at_its_case(run: Run, write: Write) -> None:
    write("marked.llm.yaml", "cases:\n  - {id: a, prompt: x, marks: [smokey], validate: [not_empty]}\n")
    result = run("--collect-only", "-q", "marked.llm.yaml", "-W", "default")
    result.stdout.fnmatch_lines(["*marked.llm.yaml:2: PytestUnknownMarkWarning: Unknown pytest.mark.smokey*"])
    for strict in (("--strict-markers",), ("-W", "error::pytest.PytestUnknownMarkWarning")):
        refused = run("--collect-only", "-q", "marked.llm.yaml", *strict)
        refused.stdout.fnmatch_lines(["*marked.llm.yaml:2: LC024 marks: *smokey*"])


def test_a_fixture_that_is_missing_is_a_problem_of_its_case(run: Run, write: Write) -> None:
    write("conftest.py", "import pytest\n\n@pytest.fixture\ndef polite(no_such_fixture):\n    pass\n")
    write("custom.llm.yaml", "cases:\n  - {id: a, prompt: x, validate: [polite]}\n")
    result = run("custom.llm.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*custom.llm.yaml:2: LC029 case 'a' needs the fixture 'no_such_fixture'*"])


def test_other_globs_collect_other_files(run: Run, write: Write) -> None:
    write("pytest.ini", "[pytest]\nllm_files = *.cases.yaml\nmarkers = smoke\n")
    write("other.cases.yaml", CASES)
    run("--collect-only", "-q").stdout.fnmatch_lines(["other.cases.yaml::capital", "other.cases.yaml::sum", "2 tests*"])


def test_a_parametrized_autouse_fixture_multiplies_cases_as_it_does_tests(run: Run, write: Write) -> None:
    write(
        "conftest.py",
        "import pytest\n\n@pytest.fixture(autouse=True, params=['a', 'b'])\n"
        "def each(request):\n    return request.param\n",
    )
    run("--collect-only", "-q", "-k", "sum").stdout.fnmatch_lines(["cases.llm.yaml::sum?a?", "cases.llm.yaml::sum?b?"])


def test_forced_models_run_the_suite_once_each(run: Run) -> None:
    result = run("--collect-only", "-q", "-k", "sum", "--llm-force-model", "max/opus", "--llm-force-model", "max/haiku")
    result.stdout.fnmatch_lines(["cases.llm.yaml::sum?max/opus?", "cases.llm.yaml::sum?max/haiku?"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--llm-concurrency", "0"), "*--llm-concurrency is '0': write how many calls*"),
        (("--llm-timeout", "-3"), "*--llm-timeout is '-3': write a number of seconds above 0*"),
        (("--llm-model", "max/opsu"), "*unknown model 'max/opsu'. Did you mean max/opus?*"),
        (("--llm-force-model", "claude/x"), "*unknown model 'claude/x'*"),
        (("--llm-local-model", "none.gguf"), "*there is no such file*"),
    ],
)
def test_a_bad_option_is_a_usage_error_that_says_what_to_write(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    heavy = "{'anyio', 'asyncio', 'greenlet', 'jsonschema', 'litellm', 'psutil', 'pydantic', 'ruamel', 'ruamel.yaml'}"
    script = (
        "import sys, pytest; before = set(sys.modules)\n"
        f"import pytest_llmcall.plugin; print(sorted({heavy} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_run_without_llm_items_prints_nothing_of_ours(run: Run, write: Write, pytester: pytest.Pytester) -> None:
    write("test_plain.py", "def test_plain():\n    pass\n")
    result = run("test_plain.py", "--no-header")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*llm*")
    assert not (pytester.path / ".llmcall").exists()
