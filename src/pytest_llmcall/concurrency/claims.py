"""A lane that asks, in the middle of its test, for a fixture which belongs to the whole process.

`request.getfixturevalue("monkeypatch")` cannot be known beforehand. The lane waits there until every other one has
ended or stands still, and has the process to itself until its own end.
"""

from collections import deque
from collections.abc import Callable, Collection

from pytest_llmcall.concurrency.lane import Lane, LaneCancelled
from pytest_llmcall.concurrency.timers import uncounted


class Claims:
    """Which lane has the process to itself, and which wait for that."""

    def __init__(self, lanes: Collection[Lane], make_ready: Callable[[Lane], None]) -> None:
        self._lanes = lanes
        self._make_ready = make_ready
        self._waiting: deque[Lane] = deque()
        self._sole: Lane | None = None

    @property
    def pending(self) -> bool:
        """Whether no further lane may start for now."""
        return self._sole is not None or bool(self._waiting)

    def claim(self, lane: Lane, fixture: str) -> None:
        """Return when the lane has the process to itself.

        Raises:
            LaneCancelled: the run has stopped meanwhile.
        """
        if self._sole is lane:
            return
        self._waiting.append(lane)
        lane.waits_for = f"the other lanes to end, because of {fixture}"
        with uncounted():
            lane.suspend()
        lane.waits_for = None
        if lane.must_stop():
            raise LaneCancelled("the run has stopped")

    def grant(self) -> None:
        """Let the first claimant go on if nobody else could. Called when no lane is ready."""
        if self._sole is None and self._waiting and all(lane.waits_for is not None for lane in self._lanes):
            self._sole = self._waiting.popleft()
            self._make_ready(self._sole)

    def ended(self, lane: Lane) -> None:
        """Note that a lane has ended."""
        if self._sole is lane:
            self._sole = None

    def give_up(self) -> None:
        """Wake every claimant: the run has stopped."""
        while self._waiting:
            self._make_ready(self._waiting.popleft())
