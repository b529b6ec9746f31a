"""Subtests inside a lane: their output is taken from the lane's own, not from process-wide streams."""

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from pytest_llmcall.concurrency.lane import LANE, Sink


def _subtests() -> Any:
    try:
        return import_module("_pytest.subtests")
    except ImportError:  # before pytest 9
        return None


@contextlib.contextmanager
def route_subtests() -> Iterator[None]:
    """While this lasts, a subtest captures what its own lane writes.

    pytest's own capture of a subtest replaces sys.stdout and descriptor 1 until the subtest ends; with an await
    inside, the output of every other lane would go there.
    """
    subtests = _subtests()
    if subtests is None:
        yield
        return
    stock = subtests.capturing_output

    def capturing_output(request: Any) -> contextlib.AbstractContextManager[Any]:
        return stock(request) if LANE.get() is None else _captured_in_lane(request, subtests.Captured)

    subtests.capturing_output = capturing_output
    try:
        yield
    finally:
        subtests.capturing_output = stock


@contextlib.contextmanager
def _captured_in_lane(request: Any, make: Callable[[], Any]) -> Iterator[Any]:
    captured = make()
    lane = LANE.get()
    if lane is None or request.config.getoption("capture", None) not in {"fd", "sys"}:
        yield captured
        return
    lane.hub.output.drain_before(lane)
    sink = Sink()
    lane.sinks.append(sink)
    try:
        yield captured
    finally:
        lane.hub.output.drain_before(lane)
        lane.sinks.remove(sink)
        captured.out, captured.err = sink.take()
