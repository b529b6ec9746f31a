"""The one place where a report learns that an exception is no failure of the model: ERROR, or SKIPPED for money."""

from __future__ import annotations

import pytest

from pytest_llmcall.errors import BrokenValidator, EvidenceLost, Misuse, NoReply, OverBudget
from pytest_llmcall.verdict import CheckFailed


def restate(report: pytest.TestReport, item: pytest.Item, raised: BaseException) -> None:
    """Make a report say ERROR where nothing was judged, and SKIPPED what the budget did not allow.

    An xfail mark speaks about the model's answer, so it covers neither.
    """
    if isinstance(raised, OverBudget):
        path, line, _ = item.reportinfo()
        report.outcome = "skipped"
        report.longrepr = (str(path), (line or 0) + 1, f"Skipped: {raised.reason}")
    elif _is_error(item, report.when, raised):
        if report.when == "call":
            report.when = "setup"
        report.outcome = "failed"
    else:
        return
    if hasattr(report, "wasxfail"):
        del report.wasxfail


def _is_error(item: pytest.Item, when: str | None, raised: BaseException) -> bool:
    if isinstance(raised, NoReply | BrokenValidator | EvidenceLost | Misuse):
        return True
    judged = (CheckFailed, pytest.skip.Exception, pytest.xfail.Exception)
    return when == "call" and getattr(item, "is_llm_case", False) and not isinstance(raised, judged)
