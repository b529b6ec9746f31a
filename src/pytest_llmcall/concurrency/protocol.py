"""One item's way through pytest's phases inside a lane, and its teardown when the run stops under it.

The phases are pytest's own (`call_and_report`). Only the moment of reporting is ours: the reports of one item come
in one block, so that the terminal reads as it does without lanes.
"""

import contextlib
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from _pytest.runner import call_and_report, show_test_item

from pytest_llmcall.concurrency.lane import Lane, LaneCancelled
from pytest_llmcall.concurrency.shown import flush_shown

# Since pytest 9.1.
_HAS_SPACE = "add_space" in signature(show_test_item).parameters


def run_in_lane(lane: Lane, nextitem: pytest.Item | None) -> None:
    """Run the item's protocol hook; if that ends early, tear the item down all the same.

    Raises:
        BaseException: what ends the whole run, such as `pytest.exit` or Ctrl-C.
    """
    item = lane.item
    try:
        item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    except LaneCancelled:
        # Another plugin's protocol let it through, without the teardown.
        tear_down_stopped(lane)
    except (KeyboardInterrupt, pytest.exit.Exception):
        tear_down_stopped(lane)
        raise


def run_protocol(lane: Lane, nextitem: pytest.Item | None) -> None:
    """Do what pytest's own protocol does, and report in blocks."""
    item: Any = lane.item
    has_request = hasattr(item, "_request")
    if has_request and not item._request:  # noqa: SLF001
        item._initrequest()  # noqa: SLF001 - the item is run again
    try:
        _run_test(lane)
        # Reported before the teardown, as pytest does: -x must know of the failure before it tears down.
        flush_reports(lane)
        stopping = item.session.shouldfail or item.session.shouldstop
        teardown = call_and_report(item, "teardown", log=False, nextitem=None if stopping else nextitem)
        lane.unreported.append(teardown)
        flush_reports(lane)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    except LaneCancelled:
        tear_down_stopped(lane)
    finally:
        if has_request:
            item._request = False  # noqa: SLF001 - as pytest does when an item is over
            item.funcargs = None


def _run_test(lane: Lane) -> None:
    item = lane.item
    setup = call_and_report(item, "setup", log=False)
    lane.unreported.append(setup)
    if not setup.passed:
        return
    setup_only = item.config.getoption("setuponly", default=False)
    if item.config.getoption("setupshow", default=False):
        show_test_item(item, **({"add_space": not setup_only} if _HAS_SPACE else {}))
    if not setup_only:
        # Not in one line with the append: subtests flush the list, and the call comes after.
        call = call_and_report(item, "call", log=False)
        lane.unreported.append(call)


def flush_reports(lane: Lane) -> None:
    """Report what is finished; subtests call for this, too, because their reports follow the set-up's."""
    item, reports = lane.item, lane.unreported
    if reports and not lane.announced:
        lane.announced = True
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    if lane.announced:
        flush_shown(lane)
    # Taken before they are reported: reporting calls for this function again.
    lane.unreported = []
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)


@contextlib.contextmanager
def unless_stopped(lane: Lane | None) -> Iterator[None]:
    """Turn the end of a phase, good or bad, into a LaneCancelled if the run has stopped meanwhile.

    Else -x would report more failures than one: those of tests that were in flight.
    """
    try:
        yield
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException:
        if lane is not None and lane.must_stop():
            raise LaneCancelled("the run has stopped") from None
        raise
    if lane is not None and lane.must_stop():
        raise LaneCancelled("the run has stopped")


def _prepare_for_rerunfailures(item: pytest.Item) -> None:
    """Let pytest-rerunfailures see a teardown whose set-up was cut short: it makes these with the set-up's report."""
    if item.config.pluginmanager.has_plugin("rerunfailures"):
        for name in ("_terminal_errors", "_test_xfailed", "_rerun_condition_excinfos", "_rerun_condition_results"):
            if not hasattr(item, name):
                setattr(item, name, {})


def tear_down_stopped(lane: Lane) -> None:
    """Tear down an item that the stop of the run has cut short; it is reported only if that fails."""
    item = lane.item
    lane.stopped = True
    if lane.phase == "teardown":
        return
    lane.unreported.clear()
    _prepare_for_rerunfailures(item)
    report = call_and_report(item, "teardown", log=False, nextitem=None)
    if lane.abandoned:
        reporter: Any = item.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"lanes: {item.nodeid} ignores its cancellation and is abandoned")
    if report.failed:
        lane.unreported.append(report)
        flush_reports(lane)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
