"""The level of the root logger: each lane has its own, but a lane's threads may log while another lane is stepping.

So the level that is really set is never above that of a lane with threads; what it lets through for others is
refused by their handlers. A `Floor` is such a level, and knows which one it stands for.
"""

import logging
from collections.abc import Iterable
from typing import Any

from pytest_llmcall.concurrency.lane import Lane


class Floor(int):
    """A level below a lane's own, set for the sake of the threads of other lanes."""

    own: int

    @classmethod
    def under(cls, own: int, others: Iterable[int]) -> int:
        """Return the lane's own level, or the lowest of the others' if that is lower."""
        lowest = min(others, default=own)
        if lowest >= own:
            return own
        floor = cls(lowest)
        floor.own = own
        return floor


def own_level(level: int) -> int:
    """Return what the lane itself takes for the level of the root logger."""
    return level.own if isinstance(level, Floor) else level


class RootLevel:
    """Keeps the levels of the lanes apart.

    Attributes:
        base: the level that the run itself has set.
        installed: the lane whose level is set now; a nested step's is the inner lane.
        steps: counts the steps, so that a thread can see that one has begun.
    """

    def __init__(self) -> None:
        self.base = logging.NOTSET
        self.installed: Lane | None = None
        self.steps = 0
        # Few lanes start threads or set a level: a look at all of them after each step would cost more than the step.
        self._with_threads: dict[Lane, None] = {}
        self._with_level: dict[Lane, None] = {}

    def watch(self, lane: Lane) -> None:
        """Note that threads of the lane may log from now on."""
        self._with_threads[lane] = None

    def note(self, lane: Lane) -> None:
        """Note the level with which a lane has left its step."""
        if lane.globals is not None and lane.globals.root_level != self.base:
            self._with_level[lane] = None
        elif self._with_level:
            self._with_level.pop(lane, None)

    def forget(self, lane: Lane) -> None:
        """Forget a lane that has ended."""
        self._with_threads.pop(lane, None)
        self._with_level.pop(lane, None)

    def begin(self) -> None:
        """Take over, before the first lane."""
        self.base = logging.root.level
        # Tests set the level in the middle of a step; the threads of other lanes must not lose by that.
        logging.root.setLevel = self._set  # type: ignore[method-assign]

    def end(self) -> None:
        """Give back; no lane is in flight any more."""
        logging.root.__dict__.pop("setLevel", None)
        logging.root.setLevel(self.base)

    def for_step(self, lane_level: int) -> int:
        """Return the level to set while a lane with this level is stepping."""
        return Floor.under(lane_level, _levels(self._with_threads)) if self._with_threads else lane_level

    def idle(self) -> int:
        """Return the level to set while no lane is stepping."""
        return Floor.under(self.base, _levels(self._with_level)) if self._with_level else self.base

    def of(self, lane: Lane) -> int:
        """Return the level that a lane has set. Called by any thread."""
        steps = self.steps
        if self.installed is lane:
            level = own_level(logging.root.level)
            # Another step may have begun between the two looks.
            if self.installed is lane and self.steps == steps:
                return level
        return self.base if lane.globals is None else lane.globals.root_level

    def _set(self, level: Any) -> None:
        checked: int = logging._checkLevel(level)  # type: ignore[attr-defined]  # noqa: SLF001 - as setLevel does
        if self.installed is None:
            install(checked)
        else:
            install(self.for_step(checked))


def _levels(lanes: Iterable[Lane]) -> Iterable[int]:
    # A list of them first: a thread may start another one meanwhile.
    return [each.globals.root_level for each in list(lanes) if each.globals is not None]


def install(level: int) -> None:
    """Set the level of the root logger."""
    # setLevel empties the level cache of every logger: only when it must.
    if logging.root.level != level:
        logging.Logger.setLevel(logging.root, level)
    # Equal numbers may stand for different lanes: a Floor knows whose level it hides.
    logging.root.level = level
