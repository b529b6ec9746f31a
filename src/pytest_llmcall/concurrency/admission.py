"""Which item starts when: lanes while there is room, a barrier before and after every item that must run alone.

An item whose module, class or parametrized fixture lives again waits for the end of the earlier life, and the items
after it do, too.
"""

import contextvars
from collections import deque
from collections.abc import Callable

import pytest

from pytest_llmcall.concurrency.hub import Hub
from pytest_llmcall.concurrency.lane import CURRENT_ITEM
from pytest_llmcall.concurrency.protocol import run_in_lane
from pytest_llmcall.concurrency.summary import Tally

# How many lanes start before the loop is pumped.
_AT_ONCE = 4


class Admission:
    """Takes the items of a session through the hub, in their order."""

    def __init__(
        self,
        session: pytest.Session,
        hub: Hub,
        *,
        may_start: Callable[[pytest.Item], bool],
        lanes: int,
        alone: Callable[[pytest.Item], str | None],
        tally: Tally,
    ) -> None:
        self._session = session
        self._hub = hub
        self._may_start = may_start
        self._lanes = lanes
        self._alone = alone
        self._tally = tally
        self._waiting = deque(session.items)
        self._reasons: dict[pytest.Item, str | None] = {}
        self.stopped = False

    @property
    def stopping(self) -> bool:
        """Whether no further item may start."""
        return bool(self.stopped or self._session.shouldfail or self._session.shouldstop)

    def run(self) -> None:
        """Run all items.

        Raises:
            BaseException: what has ended the run early, after every lane has been torn down.
        """
        hub = self._hub
        try:
            while (self._waiting or hub.lanes) and not self.stopping:
                more = self._admit()
                if hub.lanes and not self.stopping:
                    hub.run_ready(wait=not more)
                hub.interrupts.raise_pending()
            self._stop()
        except BaseException as error:
            self._stop(error)
            raise
        finally:
            hub.end_batch()

    def _admit(self) -> bool:
        """Start items, a few at a time; return whether more could start now.

        What the first ones wait for begins only when the loop is pumped: not after the last of a hundred set-ups.
        """
        for _ in range(_AT_ONCE):
            if not self._waiting or not self._has_room() or self.stopping:
                return False
            item = self._waiting[0]
            reason = self._reason(item)
            if self._hub.lanes and (reason is not None or not self._may_start(item)):
                return False
            self._waiting.popleft()
            if reason is None:
                self._start(item)
            else:
                self._run_alone(item, reason)
        return True

    def _has_room(self) -> bool:
        return len(self._hub.lanes) < self._lanes and not self._hub.claims.pending

    def _reason(self, item: pytest.Item) -> str | None:
        if item not in self._reasons:
            self._reasons[item] = self._alone(item)
        return self._reasons[item]

    def _next(self) -> pytest.Item | None:
        return self._waiting[0] if self._waiting else None

    def _start(self, item: pytest.Item) -> None:
        self._hub.begin_batch()
        nextitem = self._next()
        self._hub.spawn(item, lambda lane: run_in_lane(lane, nextitem))

    def _run_alone(self, item: pytest.Item, reason: str) -> None:
        self._hub.end_batch()
        self._tally.ran_alone(item.nodeid, reason)
        # A context of its own: what shared fixtures show to this item must not reach all that follow.
        context = contextvars.copy_context()
        context.run(CURRENT_ITEM.set, item)
        self._hub.interrupts.in_test = True
        try:
            context.run(item.config.hook.pytest_runtest_protocol, item=item, nextitem=self._next())
        finally:
            self._hub.interrupts.in_test = False

    def _stop(self, first: BaseException | None = None) -> None:
        """Tear every lane down. A second Ctrl-C gives up on that."""
        hub = self._hub
        self.stopped = self.stopped or first is not None
        hub.stop_lanes(interrupted=isinstance(first, KeyboardInterrupt))
        while hub.lanes:
            try:
                hub.run_ready()
            except (KeyboardInterrupt, pytest.exit.Exception):
                # The lane that Ctrl-C struck in raises it once more, when it is down.
                if hub.interrupts.count > 1 or first is None:
                    raise
