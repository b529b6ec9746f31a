"""The pytest11 entry: options, marker, hooks. No logic, and nothing heavy at import.

What a run without LLM items pays for is this module and `_settings`; the rest is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_llmcall import _settings
from pytest_llmcall._selection import uses_llm

if TYPE_CHECKING:
    from pytest_llmcall._asking import LLM

SETTINGS = pytest.StashKey[_settings.Settings]()
SKIPPED = pytest.StashKey[int]()

MARKER = (
    "llm(model=, timeout=, system=, tools=, functions=, mcp=, schema=, files=, max_turns=, needs=, exclusive=): asks a "
    "language model, with these values where a call names none; runs only with -m llm, --llm or llm_run = always"
)
OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--llm", {"action": "store_true", "help": "run LLM items; without this or -m llm they are skipped"}),
    ("--llm-concurrency", {"metavar": "N", "help": "calls in flight at once (default 8)"}),
    ("--llm-timeout", {"metavar": "S", "help": "seconds for a call that names no deadline (default 120)"}),
    ("--llm-model", {"metavar": "M", "help": "model of calls that name none (default max/default)"}),
    (
        "--llm-force-model",
        {
            "metavar": "M",
            "action": "append",
            "help": "replaces the models that cases name; given several times, runs once each",
        },
    ),
    (
        "--llm-claude",
        {
            "metavar": "PATH",
            "help": "the claude CLI (default: on PATH, then the known places); write --llm-claude=PATH",
        },
    ),
    ("--llm-local", {"action": "store_true", "help": "answer every call with the embedded model"}),
    (
        "--llm-local-model",
        {
            "metavar": "FILE",
            "help": "answer every call with this GGUF file; implies --llm-local; write --llm-local-model=FILE",
        },
    ),
    (
        "--llm-evidence",
        {"metavar": "DIR", "help": "where the evidence goes (default .llmcall in rootdir); write --llm-evidence=DIR"},
    ),
    ("--llm-max-cost", {"metavar": "USD", "help": "US dollars that the run may cost; what does not fit is skipped"}),
    ("--llm-max-calls", {"metavar": "N", "help": "calls that the run may make, each attempt counts"}),
    ("--llm-max-tokens", {"metavar": "N", "help": "tokens that the run may take, cached ones included"}),
    ("--llm-max-time", {"metavar": "S", "help": "seconds after which no call starts, counted from the first one"}),
    (
        "--llm-dry-run",
        {"action": "store_true", "help": "say what LLM items would ask and about what that costs; ask and run nothing"},
    ),
)
INI: tuple[tuple[str, str, Literal["string", "args"]], ...] = (
    ("llm_run", "when LLM items run: selected (default) or always", "string"),
    ("llm_concurrency", "default of --llm-concurrency", "string"),
    ("llm_timeout", "default of --llm-timeout", "string"),
    ("llm_model", "default of --llm-model", "string"),
    ("llm_claude", "default of --llm-claude", "string"),
    ("llm_evidence", "default of --llm-evidence, relative to rootdir", "string"),
    ("llm_exclusive_fixtures", "fixtures whose tests run alone, besides monkeypatch, capsys and their like", "args"),
    ("llm_max_cost", "default of --llm-max-cost", "string"),
    ("llm_max_calls", "default of --llm-max-calls", "string"),
    ("llm_max_tokens", "default of --llm-max-tokens", "string"),
    ("llm_max_time", "default of --llm-max-time", "string"),
    ("llm_files", "globs of case files (default *.llm.yaml *.llm.yml *.llm.json)", "args"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini keys; their values are checked in `_settings`."""
    group = parser.getgroup("llmcall", "LLM test cases")
    for name, how in OPTIONS:
        default = {} if how.get("action") == "store_true" else {"default": None}
        group.addoption(name, **default, **how)
    for name, text, kind in INI:
        parser.addini(name, text, type=kind, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and start the machinery if LLM items are to run."""
    config.addinivalue_line("markers", MARKER)
    try:
        settings = _settings.read_settings(
            config.getoption,
            config.getini,
            rootdir=config.rootpath,
            invocation_dir=config.invocation_params.dir,
            arguments=config.invocation_params.args if config.inipath is None else (),
        )
    except Exception as error:
        from pytest_llmcall.errors import SettingsError  # noqa: PLC0415 - most runs have no use for it

        if not isinstance(error, SettingsError):
            raise
        raise pytest.UsageError(str(error)) from error
    config.stash[SETTINGS] = settings
    config.stash[SKIPPED] = 0
    dry_run: Any = None
    if settings.dry_run:
        from pytest_llmcall._money import DryRun  # noqa: PLC0415 - heavy

        dry_run = DryRun(config, settings)
    if settings.run:
        from pytest_llmcall._lifecycle import Lifecycle  # noqa: PLC0415 - heavy

        config.pluginmanager.register(Lifecycle(config, settings), "llmcall-run")
    if dry_run is not None:
        config.pluginmanager.register(dry_run, "llmcall-dry-run")  # last, so that its hooks come first


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect case files."""
    settings = parent.config.stash[SETTINGS]
    if not _settings.matches(file_path, settings.files):
        return None
    from pytest_llmcall._items import CaseFile  # noqa: PLC0415 - heavy

    return CaseFile.from_parent(parent, path=file_path, settings=settings)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,  # noqa: ARG001 - a wrapper has to name one
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse marks that cannot be meant so, before anything is asked."""
    report = yield
    marked = [item for item in report.result or () if isinstance(item, pytest.Function) and _says_something(item)]
    if marked:
        from pytest_llmcall._tests import refuse_wrong_marks  # noqa: PLC0415 - heavy

        refuse_wrong_marks(report, marked)
    return report


def _says_something(item: pytest.Item) -> bool:
    return any(mark.args or mark.kwargs for mark in item.iter_markers("llm"))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test whose fixtures lead to `llm`, before `-m` selects."""
    if uses_llm(item) and not item.get_closest_marker("llm"):
        item.add_marker("llm")


@pytest.fixture(scope="session")
def llm(request: pytest.FixtureRequest) -> LLM:
    """Asks a language model. See `LLM` for how."""
    if not request.config.stash[SETTINGS].run:
        pytest.skip(_settings.HOW_TO_RUN)
    tests: Any = request.config.pluginmanager.get_plugin("llmcall-tests")
    asking: LLM = tests.llm
    return asking


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report what is no answer of a validator as ERROR or SKIPPED, whoever raised it."""
    report = yield
    if call.excinfo is not None and (hasattr(item, "is_llm_case") or _is_ours(call.excinfo.type)):
        from pytest_llmcall._restating import restate  # noqa: PLC0415 - heavy

        restate(report, item, call.excinfo.value)
    return report


def _is_ours(kind: type[BaseException]) -> bool:
    # What a task group or a doctest raises may hold what is ours.
    return issubclass(kind, BaseExceptionGroup) or any(
        each.__module__ in {"pytest_llmcall.errors", "doctest"} for each in kind.__mro__
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how the LLM items that were skipped are run."""
    if skipped := config.stash[SKIPPED]:
        terminalreporter.write_line(f"{skipped} LLM item{'s' * (skipped > 1)} skipped: {_settings.HOW_TO_RUN}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip LLM items, unless the user asked for them."""
    if not config.stash[SETTINGS].run:
        skip = pytest.mark.skip(reason=_settings.HOW_TO_RUN)
        for item in items:
            if item.get_closest_marker("llm"):
                item.add_marker(skip)
                config.stash[SKIPPED] += 1
