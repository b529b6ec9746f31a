"""The one place where a report learns that an exception is no failure of the model: ERROR, or SKIPPED for money."""

from __future__ import annotations

import pytest

from pytest_llmcall.errors import LLMCallError, OverBudget
from pytest_llmcall.verdict import CheckFailed


def decisive(raised: BaseException) -> BaseException:
    """Return what an exception says about its test: of a group, as task groups raise it, what was not judged if any."""
    if isinstance(of_doctest := getattr(raised, "exc_info", None), tuple) and isinstance(of_doctest[1], BaseException):
        return decisive(of_doctest[1])
    if not isinstance(raised, BaseExceptionGroup):
        return raised
    each = [decisive(error) for error in raised.exceptions]
    unjudged = next((error for error in each if is_unjudged(error) and not isinstance(error, OverBudget)), None)
    return unjudged or (each[0] if all(isinstance(error, OverBudget) for error in each) else raised)


def is_unjudged(raised: BaseException) -> bool:
    """Return whether an exception says that nothing was judged, and so is no failure of the model."""
    return isinstance(raised, LLMCallError)


def restate(report: pytest.TestReport, item: pytest.Item, raised: BaseException) -> None:
    """Make a report say ERROR where nothing was judged, and SKIPPED what the budget did not allow.

    An xfail mark speaks about the model's answer, so it covers neither.
    """
    raised = decisive(raised)
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
    if is_unjudged(raised):
        return True
    judged = (CheckFailed, pytest.skip.Exception, pytest.xfail.Exception)
    return when == "call" and getattr(item, "is_llm_case", False) and not isinstance(raised, judged)
