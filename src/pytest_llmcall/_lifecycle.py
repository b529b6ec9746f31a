"""The hooks of a run whose LLM items are to run: start, skip what cannot run here, gather, report, end.

Registered by `plugin.py` only if the user asked for LLM items; starts nothing before the first one is certain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pytest

from pytest_llmcall._items import LEDGER, MODEL_ARGUMENT, RECORD, SESSION, CaseItem, unmet_case, unmet_need
from pytest_llmcall._money import closing_lines, header_lines
from pytest_llmcall._selection import uses_llm
from pytest_llmcall._session import RunIdentity, Session, shown_path
from pytest_llmcall._settings import Settings
from pytest_llmcall._tests import CALLS, PythonTests, mark_values, show_forgotten, why_alone
from pytest_llmcall.concurrency import LanesPlugin
from pytest_llmcall.errors import OverBudget, SettingsError
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.outcome import Status
from pytest_llmcall.reports.budget import over_budget
from pytest_llmcall.reports.terminal import RunSummary, summary_lines

LANES_PER_CALL: Final = 2  # while one lane's call is in flight, another one sets up or tears down
NOT_OURS: Final = "not an LLM item"
WORKER_INPUT: Final = "llmcall_run"
RECORD_OF_REPORT: Final = "llmcall"


class Lifecycle:
    """One run's hooks; in a worker of pytest-xdist it asks, in its controller it only reports."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        _check_models(settings)
        worker_input = getattr(config, "workerinput", None)
        self.identity = RunIdentity(**worker_input[WORKER_INPUT]) if worker_input else RunIdentity.new()
        self.session: Session | None = None
        self._managed = 0
        self._workers = 0
        self._received: list[dict[str, Any]] = []
        self.lanes_off = self._why_no_lanes()
        self.lanes = LanesPlugin(
            config,
            lanes=1 if self.lanes_off else LANES_PER_CALL * settings.concurrency,
            alone=reason_to_run_alone,
            managed=is_managed,
            exclusive=settings.exclusive_fixtures,
        )
        self.tests = PythonTests(settings, self.started_session)
        config.pluginmanager.register(self.tests, "llmcall-tests")
        config.pluginmanager.register(self.lanes, "llmcall-lanes")

    def _why_no_lanes(self) -> str:
        option = self.config.option
        for name, flag in (("usepdb", "--pdb"), ("trace", "--trace")):
            if getattr(option, name, False):
                return f"{flag}: items run one after another"
        if getattr(self.config, "workerinput", None) or self._is_controller():
            return "pytest-xdist: the items of a worker run one after another"
        return "one call at a time: items run one after another" if self.settings.concurrency == 1 else ""

    def _is_controller(self) -> bool:
        return getattr(self.config.option, "dist", "no") != "no"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skip the items that cannot run here, each with its reason."""
        for item in items:
            if isinstance(item, CaseItem):
                reason = unmet_case(item, self.settings)
            else:
                reason = self._unmet_mark(item) if is_managed(item) else None
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))

    def _unmet_mark(self, item: pytest.Item) -> str | None:
        said = mark_values(item)
        model = next(iter(self.settings.force_models), said.get("model") or self.settings.model)
        return unmet_need(said["needs"], self.settings, model=model)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test that asks once for each of several forced models."""
        models = self.settings.force_models
        if len(models) > 1 and "llm" in metafunc.fixturenames and MODEL_ARGUMENT not in metafunc.fixturenames:
            metafunc.fixturenames.append(MODEL_ARGUMENT)
            metafunc.parametrize(MODEL_ARGUMENT, models, ids=models)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start what the calls need, now that it is certain that there are any."""
        option = self.config.option
        self._managed = sum(map(is_managed, session.items))
        only_shown = option.collectonly or getattr(option, "setuponly", False) or getattr(option, "setupplan", False)
        if only_shown or self.settings.dry_run or not any(map(_asks, session.items)):
            return
        try:
            self.started_session()
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from error

    def started_session(self) -> Session:
        """Return the session, which a test may ask for that no fixture has announced.

        Raises:
            SettingsError: It cannot be started.
        """
        if self.session is None:
            started = Session(self.settings, self.identity)
            started.start()
            self.session = self.config.stash[SESSION] = started
        return self.session

    def pytest_report_header(self) -> list[str]:
        """Say what the run may spend."""
        return header_lines(self.settings, workers=self._is_controller())

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say who answers, and where the evidence goes."""
        if self.session is None:
            return []
        off = [f"llmcall: {self.lanes_off}"] if self.lanes_off else []
        misread = [
            f"llmcall: pytest took the path of {name} for a place of tests: its rootdir is {self.config.rootpath}, "
            f"and an ini file may have been missed; write {name}=…"
            for name in self.settings.misread
        ]
        return [*self.session.header(self.config.rootpath), *off, *misread]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the outcome's record, and take the wait for a slot out of the item's duration."""
        report = yield
        if call.excinfo is not None:
            show_forgotten(item, report, call.excinfo.value)
        if call.when == "setup" and not report.passed:
            self._keep_unrun(item, report, call)
        if LEDGER in item.stash:
            report.duration = max(0.0, report.duration - item.stash[LEDGER].clock.take())
        if kept := item.stash.get(RECORD, None):
            vars(report)[RECORD_OF_REPORT] = kept  # xdist sends a report's attributes
            del item.stash[RECORD]  # a rerun has a record of its own
        if text := item.stash.get(CALLS, ""):
            report.sections.append(("llm calls", text))
            del item.stash[CALLS]
        return report

    def _keep_unrun(self, item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        if isinstance(item, CaseItem):
            item.stash[RECORD] = self._not_asked(item, report, call.excinfo and call.excinfo.value)
        elif call.excinfo is not None and is_managed(item):
            self.tests.write(item, call.excinfo.value, session=self.session)

    def _not_asked(self, item: CaseItem, report: pytest.TestReport, error: BaseException | None) -> dict[str, Any]:
        if isinstance(error, OverBudget):
            record = item.not_asked(Status.NOT_ASKED, error.reason)
        elif report.skipped and isinstance(report.longrepr, tuple):
            record = item.not_asked(Status.SKIPPED, report.longrepr[2].removeprefix("Skipped: "))
        else:
            record = item.not_asked(Status.NOT_ASKED, "not asked: the set-up failed")
        return self.session.keep(record) if self.session else record

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the records; a worker's come to its controller with its reports."""
        if kept := vars(report).get(RECORD_OF_REPORT):
            self._received.append(kept)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to, and its share of the limits."""
        identity = self.identity.for_worker(len(node.nodemanager.specs), index=self._workers)
        node.workerinput[WORKER_INPUT] = asdict(identity)
        self._workers += 1

    @property
    def _records(self) -> Sequence[Mapping[str, Any]]:
        # What was cut short has a record, but no report.
        return self.session.kept if self.session else self._received

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Let no run pass that has not asked everything: pytest takes what is skipped for no loss."""
        if session.exitstatus == pytest.ExitCode.OK and over_budget(self._records):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the closing section."""
        records = self._records
        remarks = self._remarks(records)
        if not records and not remarks:
            return
        folder = self.settings.evidence / "runs" / self.identity.name
        peaks = {each["process"]: 0 for each in records if "process" in each}
        for each in records:
            if "process" in each:
                peaks[each["process"]] = max(peaks[each["process"]], each["peak"])
        summary = RunSummary(
            peak=sum(peaks.values()),
            evidence=shown_path(folder, self.config.rootpath) if folder.is_dir() else "",
            remarks=remarks,
        )
        terminalreporter.write_sep("=", "llmcall")
        everything = self.config.option.verbose > 0
        for line in summary_lines(records, summary, everything=everything):
            terminalreporter.write_line(line)
        for line in closing_lines(self.settings, self.session, records, everything=everything):
            terminalreporter.write_line(line)

    def _remarks(self, records: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        seen = self.lanes.summary()
        skips = Counter(each["reason"] for each in records if each["status"] == Status.SKIPPED)
        alone = Counter(each.reason for each in seen.alone if each.reason != NOT_OURS)
        return [
            *(f"{count} skipped: {reason}" for reason, count in skips.most_common()),
            *(f"{count} of {self._managed} ran alone: {reason}" for reason, count in alone.most_common()),
            *(f"{each.nodeid} held the loop for {each.seconds:.1f} s" for each in seen.held),
            *([self.lanes_off] if records and self._is_controller() else []),
        ]

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """End everything that the run started."""
        if self.session is not None:
            self.session.close()


def _check_models(settings: Settings) -> None:
    for name in (settings.model, *settings.force_models):
        try:
            parse_model(name)
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from error


def is_managed(item: pytest.Item) -> bool:
    """Return whether an item is an LLM item."""
    return item.get_closest_marker("llm") is not None


def reason_to_run_alone(item: pytest.Item) -> str | None:
    """Return why an item does not overlap with others, or None if it may."""
    return why_alone(item) if is_managed(item) else NOT_OURS


def _asks(item: pytest.Item) -> bool:
    return (isinstance(item, CaseItem) or uses_llm(item)) and not item.get_closest_marker("skip")
