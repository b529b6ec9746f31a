"""The hooks that have to do with money: the run's limits in header, closing section and exit code, and the dry run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from _pytest.skipping import evaluate_skip_marks

from pytest_llmcall._items import MODEL_ARGUMENT, CaseItem
from pytest_llmcall._session import Session, limits_of
from pytest_llmcall._settings import Settings
from pytest_llmcall._tests import mark_values
from pytest_llmcall.executors.estimates import FreeOfCharge, guess
from pytest_llmcall.executors.prices import load_prices
from pytest_llmcall.executors.spending import Spent
from pytest_llmcall.reports.budget import budget_lines, limits_text, over_budget
from pytest_llmcall.reports.plan import PlannedItem, plan_lines

Record = Mapping[str, Any]


class DryRun:
    """Says what would be asked; runs nothing, in this process only."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._settings = settings
        self._planned: list[PlannedItem] = []
        config.option.dist = "no"  # no workers of pytest-xdist: nothing runs
        config.option.tx = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Plan instead of running."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest's own loop says so and runs nothing
        self._planned = list(self._plan(session.items))
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the plan."""
        terminalreporter.write_sep("=", "llmcall: dry run")
        for line in plan_lines(self._planned, limits_of(self._settings)):
            terminalreporter.write_line(line)

    def _plan(self, items: Iterable[pytest.Item]) -> Iterator[PlannedItem]:
        prices = FreeOfCharge() if self._settings.local else load_prices()
        for item in items:
            if item.get_closest_marker("llm") is None:
                continue
            skipped = evaluate_skip_marks(item)
            reason = skipped.reason if skipped else ""
            model = _model(item, self._settings)
            taken = None
            if isinstance(item, CaseItem):
                taken = guess(replace(item.case.call, model=model), prices.of(model))
            yield PlannedItem(nodeid=item.nodeid, model=model, guess=taken, skipped=reason)


def header_lines(settings: Settings, *, workers: bool) -> list[str]:
    """Return what the run may spend, if it has limits."""
    text = limits_text(limits_of(settings))
    split = "; each worker of pytest-xdist may spend its share of money, calls and tokens" if workers else ""
    return [f"llmcall: {text}{split}"] if text else []


def closing_lines(
    settings: Settings, session: Session | None, records: Sequence[Record], *, everything: bool
) -> Iterator[str]:
    """Return what was spent and what was not asked, if the run has limits.

    Args:
        settings: Of the run.
        session: Of this process; None in the controller of pytest-xdist, where the records tell.
        records: One per outcome.
        everything: Show all that was not asked, however much.
    """
    if session is not None:
        spent = session.spent
    else:
        newest = {each["process"]: each["spent"] for each in records if "spent" in each}
        spent = Spent.together(Spent(**each) for each in newest.values())
    yield from budget_lines(limits_of(settings), spent, over_budget(records), everything=everything)


def _model(item: pytest.Item, settings: Settings) -> str:
    if isinstance(item, CaseItem):
        return item.model(settings)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    forced = parameters.get(MODEL_ARGUMENT) or next(iter(settings.force_models), None)
    return str(forced or mark_values(item).get("model") or settings.model)
