"""Log records reach the test that they belong to, whichever thread or task logs them, and whoever is running.

While a lane is stepping, its own handlers are on the root logger. A record that comes at another time, from a thread,
would find the handlers of nobody or of somebody else: a router forwards it, and the lanes' handlers refuse strangers.
"""

import logging
import threading
from typing import TYPE_CHECKING, Any

from _pytest.logging import LogCaptureHandler

from pytest_llmcall.concurrency.lane import LANE, Lane

if TYPE_CHECKING:
    from pytest_llmcall.concurrency.hub import Hub


class LaneLogHandler(LogCaptureHandler):
    """Captures the records of one lane."""

    def __init__(self, lane: Lane, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._lane = lane
        if formatter is not None:
            self.setFormatter(formatter)

    def filter(self, record: logging.LogRecord) -> Any:
        """Refuse records of other lanes, and those that this lane's own root level would have stopped."""
        lane = self._lane
        if lane.hub.owner() is not lane:
            return False
        if lane.globals is not None and record.levelno < lane.hub.levels.of(lane) and _level_is_inherited(record.name):
            return False
        return super().filter(record)


def _level_is_inherited(name: str) -> bool:
    """Tell whether no logger between this one and the root sets a level of its own."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger is not logging.root:
        if logger.level:
            return False
        logger = logger.parent
    return True


class LogRouter(logging.Handler):
    """Forwards a record of another lane than the one whose handler list it stands in.

    Each list has a router of its own: which list is installed may change while a thread walks through one.
    """

    def __init__(self, hub: "Hub", lane: Lane | None = None) -> None:
        super().__init__()
        self._hub = hub
        self._lane = lane
        self._base = logging.root.handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record to its lane's handlers; those that stand in this list, too, have it already."""
        lane = self._hub.owner()
        if lane is None or lane is self._lane or lane.globals is None:
            return
        here = self._base if self._lane is None or self._lane.globals is None else self._lane.globals.root_handlers
        for handler in list(lane.globals.root_handlers):
            if handler not in here and not isinstance(handler, LogRouter) and record.levelno >= handler.level:
                handler.handle(record)


class ThreadsKnowTheirLane:
    """While installed, a thread that a lane starts carries the lane, as tasks do.

    Python 3.14 free-threaded builds do the like by themselves; others start threads with an empty context.
    """

    def __init__(self) -> None:
        self._start = threading.Thread.start

    def install(self) -> None:
        """Let threads inherit their lane from now on."""
        start = self._start

        def start_in_lane(thread: threading.Thread) -> None:
            lane = LANE.get()
            if lane is not None:
                lane.starts_threads()
                _run_in_lane(thread, lane)
            start(thread)

        threading.Thread.start = start_in_lane  # type: ignore[method-assign,assignment]

    def remove(self) -> None:
        """Give the method back."""
        threading.Thread.start = self._start  # type: ignore[method-assign]


def _run_in_lane(thread: threading.Thread, lane: Lane) -> None:
    run = thread.run

    def run_in_lane() -> None:
        LANE.set(lane)
        del thread.run  # the class's own again
        run()

    thread.run = run_in_lane  # type: ignore[method-assign]
