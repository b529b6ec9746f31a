"""`current_item()`: which item the calling code belongs to, in a lane, alone, and with lanes off."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_llmcall.concurrency.lane import LANE
from pytest_llmcall.concurrency.output import LaneOutput


class _Running:
    """What runs now, for code whose context knows of no lane: a runner may have copied its context long before.

    Attributes:
        item: the one item that runs without a lane.
        lanes: knows the lane whose step is running.
    """

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.lanes: LaneOutput | None = None


_RUNNING = _Running()


def current_item() -> pytest.Item | None:
    """Return the item that the calling code belongs to, or None outside of items.

    In a lane: the lane's item, also in its tasks, in threads that carry its context, and in the set-up and teardown of
    its fixtures; a shared fixture is set up by the first item that requests it. Without a lane: the one item that runs.
    """
    lane = LANE.get()
    if lane is not None and not lane.done:
        return lane.item
    lanes = _RUNNING.lanes
    stepping = lanes.running() if lanes is not None else None
    return stepping.item if stepping is not None else _RUNNING.item


@contextmanager
def running_alone(item: pytest.Item) -> Iterator[None]:
    """Note the item that runs without a lane while this lasts."""
    before, _RUNNING.item = _RUNNING.item, item
    try:
        yield
    finally:
        _RUNNING.item = before


@contextmanager
def running_lanes(lanes: LaneOutput) -> Iterator[None]:
    """Note who knows the lane that is stepping while this lasts."""
    before, _RUNNING.lanes = _RUNNING.lanes, lanes
    try:
        yield
    finally:
        _RUNNING.lanes = before
