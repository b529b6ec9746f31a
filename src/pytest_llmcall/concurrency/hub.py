"""The hub: lets fibers run, and pumps the loop while none of them can.

Each lane is one item in a fiber that runs pytest's own protocol. A fiber is left where it waits for an awaitable or
for a lock, and only there. While a fiber runs, no event loop does: to hooks, fixtures and synchronous tests the world
looks as it does without lanes. Which items become lanes is decided in `admission.py`.
"""

import asyncio
import collections
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, NoReturn

import pytest

from pytest_llmcall.concurrency.claims import Claims
from pytest_llmcall.concurrency.fibers import FiberKind, make_fiber
from pytest_llmcall.concurrency.interrupts import Interrupts
from pytest_llmcall.concurrency.lane import CURRENT_ITEM, LANE, Lane, LaneCancelled
from pytest_llmcall.concurrency.leftovers import LEFTOVERS
from pytest_llmcall.concurrency.locks import Locks
from pytest_llmcall.concurrency.logs import LogRouter, ThreadsKnowTheirLane
from pytest_llmcall.concurrency.loop import LaneLoop
from pytest_llmcall.concurrency.output import LaneOutput
from pytest_llmcall.concurrency.process_state import ProcessState, own_values
from pytest_llmcall.concurrency.root_level import RootLevel
from pytest_llmcall.concurrency.summary import HeldLoop, Tally
from pytest_llmcall.concurrency.timers import NOBODY, LaneTimer
from pytest_llmcall.concurrency.tracebacks import hide
from pytest_llmcall.concurrency.waiting import coroutine_of, refuse_in_coroutine

# A step that holds the loop for longer than this is named in the summary, in seconds.
_HELD_SECONDS = 1.0


class Hub:
    """Runs lanes on one thread and one loop."""

    def __init__(self, config: pytest.Config, *, fiber: FiberKind, tally: Tally) -> None:
        self._fiber = fiber
        self._tally = tally
        self.lanes: dict[Lane, None] = {}
        self.ready: collections.deque[Lane] = collections.deque()
        self.loop = LaneLoop(self.step)
        self.locks = Locks(self.make_ready)
        self.claims = Claims(self.lanes, self.make_ready)
        self.interrupts = Interrupts(self._wake)
        self.output = LaneOutput(config, self.owner)
        self._process = ProcessState(config)
        self._threads = ThreadsKnowTheirLane()
        self._router: LogRouter | None = None
        self._latest: Lane | None = None
        self.levels = RootLevel()
        self._pumping = False
        self._batch = False
        self._teardowns_end: float | None = None

    def owner(self) -> Lane | None:
        """Return the lane that the calling code, task or thread belongs to; a guess where it carries none."""
        lane = LANE.get()
        if lane is not None and not lane.done:
            return lane
        return self.output.stepping or self._latest

    def begin_batch(self) -> None:
        """Take over the process-wide state before the first of a row of lanes."""
        if self._batch:
            return
        self._batch = True
        self.levels.begin()
        self._router = LogRouter(self)
        logging.root.addHandler(self._router)
        self._threads.install()
        self.output.start()

    def end_batch(self) -> None:
        """Give the process-wide state back; no lane is in flight any more."""
        if not self._batch:
            return
        self._batch = False
        self._latest = None
        self.output.stop()
        self._threads.remove()
        if self._router is not None:
            logging.root.removeHandler(self._router)
        self.levels.end()

    def spawn(self, item: pytest.Item, run: Callable[[Lane], None]) -> None:
        """Start a lane; it runs until it first waits.

        Args:
            item: the item.
            run: runs the item's protocol; what it raises stops the whole run.
        """
        lane = Lane(self, item)

        def main() -> None:
            LANE.set(lane)
            CURRENT_ITEM.set(item)
            LEFTOVERS.set(lane.leftovers)
            asyncio.set_event_loop(self.loop)
            try:
                run(lane)
            except BaseException as error:
                lane.failed_with = error

        lane.fiber = make_fiber(self._fiber, main_of(main, lane))
        first = next(iter(self.lanes), None)
        self.lanes[lane] = None
        beside = None if first is None else first.item.nodeid
        self._tally.started(item.nodeid, in_flight=len(self.lanes), beside=beside)
        self._resume(lane)

    def run_ready(self, *, wait: bool = True) -> None:
        """Let one lane go on, or pump the loop until one can.

        Args:
            wait: if none can, whether to wait for one, or else to give the loop one turn only.
        """
        if not self.ready and wait:
            self.claims.grant()
        if not self.ready:
            if not wait:
                self.loop.call_soon(self.loop.stop, context=NOBODY)
            self._pump()
        if self.ready:
            self._resume(self.ready.popleft())

    def _resume(self, lane: Lane) -> None:
        fiber = lane.fiber
        if fiber is None:
            raise RuntimeError(f"{lane!r} has no fiber")
        lane.resuming = True
        try:
            self.step(lane, fiber.resume)
        finally:
            lane.resuming = False
        if lane.done:
            self.lanes.pop(lane, None)
            self.levels.forget(lane)
            self.claims.ended(lane)
            if self._latest is lane:
                self._latest = next(iter(self.lanes), None)
            if lane.failed_with is not None:
                raise lane.failed_with

    def _pump(self) -> None:
        self._pumping = True
        try:
            # Test code may stop the loop, too: then there is nothing ready, and the hub comes again.
            if not self.interrupts.pending:
                self.loop.run_forever()
        except SystemExit as error:
            # Of a task that outlived its lane. Sequential pytest fails the item that happens to run; here, to wait.
            self._strike(next(lane for lane in self.lanes if lane.task is not None), error)
        finally:
            self._pumping = False
        self.interrupts.raise_pending()

    def _wake(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _strike(self, lane: Lane, error: SystemExit) -> None:
        """Raise, in what a lane waits for, the exit that asyncio lets out of the whole loop."""
        lane.struck_by = error
        if lane.task is not None:
            lane.task.cancel()

    def make_ready(self, lane: Lane) -> None:
        """Let a lane go on as soon as no fiber runs."""
        self.ready.append(lane)
        # A test may run the loop itself, inside its fiber: that run is not ours to stop.
        if self._pumping:
            self.loop.stop()

    def wait(self, awaitable: Awaitable[Any], *, context: Context | None = None, keep_result: bool = False) -> Any:
        """Return the awaitable's result; other lanes go on meanwhile.

        Raises:
            LaneCancelled: the run has stopped.
            RuntimeError: called inside a running coroutine.
        """
        __tracebackhide__ = hide
        coroutine = coroutine_of(awaitable)
        try:
            refuse_in_coroutine()
        except RuntimeError:
            coroutine.close()
            raise
        lane = LANE.get()
        if context is None:
            context = contextvars.copy_context()
        if lane is None or lane.done:
            return self._run_alone(coroutine, context)
        if lane.must_stop():
            coroutine.close()
            raise LaneCancelled("the run has stopped")
        if lane.timed_out is not None:
            # The time was up while nothing could be cancelled.
            coroutine.close()
            _fail_for_time(lane)
        context.run(LANE.set, lane)
        task = lane.task = self.loop.create_task(coroutine, context=context)

        def wake(_: object) -> None:
            # Not when the lane has abandoned the task meanwhile.
            if lane.task is task:
                self.make_ready(lane)

        task.add_done_callback(wake, context=NOBODY)
        self._suspend(lane)
        lane.task = None
        if lane.must_stop() and not (keep_result and _has_result(task)):
            raise LaneCancelled("the run has stopped")
        return _result(lane, task)

    def _suspend(self, lane: Lane) -> None:
        lane.suspend()
        # Other tests may have used asyncio.run() meanwhile, which leaves the thread without a current loop.
        asyncio.set_event_loop(self.loop)

    def _run_alone(self, coroutine: Any, context: Context) -> Any:
        """Run a coroutine for an item that has no lane, on the loop where shared async fixtures live."""
        __tracebackhide__ = hide
        task = self.loop.create_task(coroutine, context=context)
        try:
            return self.loop.run_until_complete(task if self._teardowns_end is None else self._in_time(task))
        except BaseException:
            if not task.done():
                task.cancel()
                self.loop.run_until_complete(asyncio.wait([task], timeout=_CANCEL_SECONDS))
            raise

    async def _in_time(self, task: asyncio.Task[Any]) -> Any:
        """Return the result of what is torn down at the very end of an interrupted run."""
        left = (self._teardowns_end or 0.0) - self.loop.time()
        await asyncio.wait([task], timeout=max(left, _CANCEL_SECONDS))
        if not task.done():
            raise TimeoutError(_LATE)
        return task.result()

    def step(self, lane: Lane, run: Callable[[], None], _clock: Callable[[], float] = time.monotonic) -> None:
        """Run a piece of a lane with the lane's own process-wide state installed."""
        if lane is self.output.stepping:
            # A synchronous test runs the loop itself: its own callbacks find its state installed.
            run()
            return
        levels = self.levels
        saved = self._process.read()
        outer = self.output.enter(lane)
        self._install(lane, saved)
        levels.installed = self._latest = lane
        levels.steps += 1
        started = _clock()
        interruptible = self.interrupts.in_test
        # A thread's fiber cannot be interrupted from here: the note is read when it gives the baton back.
        self.interrupts.in_test = not (self._fiber == "thread" and lane.resuming)
        try:
            run()
        except SystemExit as error:
            self._strike(lane, error)
        finally:
            self.interrupts.in_test = interruptible
            held = _clock() - started
            lane.globals = own_values(self._process.read())
            levels.note(lane)
            # Only now: until the lane's level stands in its record, threads must read the installed one.
            levels.installed = None
            self.output.leave(lane, outer)
            self._process.write(saved, root_level=saved.root_level if outer is not None else levels.idle())
            levels.installed = outer
        if held > _HELD_SECONDS:
            self._tally.held.append(HeldLoop(nodeid=lane.item.nodeid, seconds=held))

    def _install(self, lane: Lane, base: Any) -> None:
        if lane.globals is None:
            lane.globals = self._process.first(lane, base, root_level=self.levels.base)
        self._process.write(lane.globals, root_level=self.levels.for_step(lane.globals.root_level))

    def set_timer(self, lane: Lane, seconds: float) -> None:
        """Fail the lane's test if it takes longer; a lane that never waits cannot be stopped."""

        def fire() -> None:
            lane.timed_out = f"Timeout (>{seconds}s) from pytest-timeout."
            if lane.task is not None:
                lane.task.cancel()

        lane.timer = LaneTimer(self.loop, seconds, fire)

    def stop_lanes(self, *, interrupted: bool) -> None:
        """End every lane: waits are cancelled, teardowns run, nothing more is reported but broken teardowns.

        Args:
            interrupted: somebody waits for the end, so teardowns may not take forever.
        """
        self.claims.give_up()
        for lane in self.lanes:
            # A lane in its teardown goes on, but its item is not run again.
            lane.stopped = True
            if lane.must_stop() and lane.task is not None:
                lane.task.cancel()
            if lane.is_lost() and lane not in self.ready:
                # A signal handler of the suite's own has raised, of all places, in the hub.
                self.make_ready(lane)
        self.loop.call_later(_CANCEL_SECONDS, self._abandon_tests, context=NOBODY)
        if interrupted:
            self._teardowns_end = self.loop.time() + TEARDOWN_SECONDS
            self.loop.call_later(TEARDOWN_SECONDS, self._end_teardowns, context=NOBODY)

    def _abandon_tests(self) -> None:
        for lane in self.lanes:
            if lane.must_stop() and lane.is_waiting():
                self._abandon(lane)

    def _abandon(self, lane: Lane) -> None:
        lane.abandoned = True
        lane.leftovers.give_up()
        self.make_ready(lane)

    def _end_teardowns(self) -> None:
        """Cancel the teardowns that still wait, and abandon those that ignore it; look again at what comes next."""
        for lane in self.lanes:
            if lane.task is not None and lane.is_waiting():
                lane.late = True
                if lane.task.cancelling():
                    self._abandon(lane)
                else:
                    lane.task.cancel()
        if self.lanes:
            self.loop.call_later(_CANCEL_SECONDS, self._end_teardowns, context=NOBODY)

    def close(self) -> None:
        """Cancel what is left on the loop and close it."""
        self.loop.really_close()


# How long a coroutine may take to end when it is cancelled, in seconds.
_CANCEL_SECONDS = 2.0
# How long teardowns may take after Ctrl-C, in seconds: the second Ctrl-C need not be the only way to the end.
TEARDOWN_SECONDS = 10.0
_LATE = f"the teardown had not ended {TEARDOWN_SECONDS:g} s after Ctrl-C"


def main_of(main: Callable[[], None], lane: Lane) -> Callable[[], None]:
    """Return what a fiber runs: the lane is done when it ends, however it ends."""

    def run() -> None:
        try:
            main()
        finally:
            lane.done = True

    return run


def _has_result(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _result(lane: Lane, task: asyncio.Task[Any]) -> Any:
    __tracebackhide__ = hide
    if lane.struck_by is not None:
        struck_by, lane.struck_by = lane.struck_by, None
        # The task's own exception carries the test's frames only, and is the one that result() raises.
        if task.cancelled() or task.exception() is not struck_by:
            raise struck_by
    if lane.late and (not task.done() or task.cancelled()):
        lane.late = False
        raise TimeoutError(_LATE)
    if lane.timed_out is not None and task.cancelled():
        _fail_for_time(lane)
    return task.result()


def _fail_for_time(lane: Lane) -> NoReturn:
    message, lane.timed_out = lane.timed_out, None
    pytest.fail(str(message), pytrace=False)
