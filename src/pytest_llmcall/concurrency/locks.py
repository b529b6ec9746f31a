"""Locks between lanes: a shared fixture or collector is set up once, by the first lane that needs it."""

import collections
import contextlib
from collections.abc import Callable, Iterator

from pytest_llmcall.concurrency.lane import LANE, Lane, LaneCancelled
from pytest_llmcall.concurrency.timers import uncounted
from pytest_llmcall.concurrency.tracebacks import hide

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide


class _Lock:
    __slots__ = ("owner", "waiters")

    def __init__(self) -> None:
        self.owner: Lane | None = None
        self.waiters: collections.deque[Lane] = collections.deque()


class Locks:
    """The locks that are held now, by the object that they guard."""

    def __init__(self, make_ready: Callable[[Lane], None]) -> None:
        self._make_ready = make_ready
        self._held: dict[int, _Lock] = {}
        self._blocked_on: dict[Lane, _Lock] = {}

    def is_held(self, guarded: object) -> bool:
        """Tell whether some lane holds the lock of an object."""
        return id(guarded) in self._held

    @contextlib.contextmanager
    def hold(self, guarded: object, what: str) -> Iterator[None]:
        """Hold the lock of an object; the lane that has it already may take it again.

        Args:
            guarded: any object; it must live as long as the lock is held.
            what: named in the watchdog's message.

        Raises:
            RuntimeError: the lanes would wait for each other forever.
        """
        lane = LANE.get()
        if lane is None:
            yield
            return
        key = id(guarded)
        lock = self._held.setdefault(key, _Lock())
        if lock.owner is lane:
            yield
            return
        if lock.owner is None:
            lock.owner = lane
        else:
            self._block(lane, lock, what)
        try:
            if lane.must_stop():
                raise LaneCancelled("the run has stopped")
            yield
        finally:
            self._release(key, lock)

    def _block(self, lane: Lane, lock: _Lock, what: str) -> None:
        self._refuse_deadlock(lane, lock, what)
        lock.waiters.append(lane)
        self._blocked_on[lane] = lock
        lane.waits_for = f"{what}, which {lock.owner.item.nodeid if lock.owner else '?'} does"
        with uncounted():
            while lock.owner is not lane:
                lane.suspend()
        lane.waits_for = None

    def _refuse_deadlock(self, lane: Lane, lock: _Lock, what: str) -> None:
        ahead: _Lock | None = lock
        while ahead is not None and ahead.owner is not None:
            if ahead.owner is lane:
                raise RuntimeError(f"{what} waits for itself, through fixtures that other tests request dynamically")
            ahead = self._blocked_on.get(ahead.owner)

    def _release(self, key: int, lock: _Lock) -> None:
        if lock.waiters:
            lock.owner = lock.waiters.popleft()
            del self._blocked_on[lock.owner]
            self._make_ready(lock.owner)
        else:
            del self._held[key]
