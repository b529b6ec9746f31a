"""What a run with lanes has to say about itself at its end: plain records, read by the terminal report."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RanAlone:
    """An item that did not overlap with others, and why."""

    nodeid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLoop:
    """A step of an item that kept every other lane waiting.

    Attributes:
        seconds: how long the step took.
    """

    nodeid: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesSummary:
    """What became of the lanes in one run.

    Attributes:
        lanes: how many items could be in flight at once.
        total: how many items were started, in a lane or alone.
        peak: how many were.
        overlapped: node ids of the items that were in flight together with another one.
        alone: the items that ran behind a barrier, in the order of the run.
        held: steps that held the loop for longer than a second.
        off: why there were no lanes, or None if there were.
    """

    lanes: int
    total: int
    peak: int
    overlapped: tuple[str, ...]
    alone: tuple[RanAlone, ...]
    held: tuple[HeldLoop, ...]
    off: str | None

    def reasons(self) -> Mapping[str, int]:
        """Return how many items ran alone for each reason, the most frequent first."""
        return dict(Counter(each.reason for each in self.alone).most_common())


@dataclass(slots=True, kw_only=True)
class Tally:
    """The summary while it grows."""

    total: int = 0
    peak: int = 0
    overlapped: dict[str, None] = field(default_factory=dict)
    alone: list[RanAlone] = field(default_factory=list)
    held: list[HeldLoop] = field(default_factory=list)

    def ran_alone(self, nodeid: str, reason: str) -> None:
        """Note an item that starts behind a barrier."""
        self.total += 1
        self.alone.append(RanAlone(nodeid=nodeid, reason=reason))

    def started(self, nodeid: str, *, in_flight: int, beside: str | None) -> None:
        """Note an item that starts in a lane.

        Args:
            nodeid: the item's.
            in_flight: how many items are in flight now.
            beside: one of the others, if there are any. The rest have overlapped already.
        """
        self.total += 1
        self.peak = max(self.peak, in_flight)
        if beside is not None:
            self.overlapped[beside] = self.overlapped[nodeid] = None

    def summary(self, *, lanes: int, off: str | None) -> LanesSummary:
        """Return the record of what was noted so far."""
        return LanesSummary(
            lanes=lanes,
            total=self.total,
            peak=self.peak,
            overlapped=tuple(self.overlapped),
            alone=tuple(self.alone),
            held=tuple(self.held),
            off=off,
        )
