"""The lanes as a pytest plugin object: hooks that hand over to the engine, and nothing else.

Without lanes (one lane, an xdist worker, a pytest whose inside has changed) loop, SetupState, FixtureDefs and capture
are pytest's own; the same object then runs those coroutine tests and async fixtures that no other plugin runs.
"""

import functools
import inspect
from collections.abc import Callable, Generator, Hashable
from typing import Any, Literal

import pytest

from pytest_llmcall.concurrency import probes
from pytest_llmcall.concurrency.admission import Admission
from pytest_llmcall.concurrency.alone import EXCLUSIVE_FIXTURES, reason_to_run_alone
from pytest_llmcall.concurrency.async_fixtures import Waiter, as_sync_fixture, is_async, run_async_test
from pytest_llmcall.concurrency.current import running_alone, running_lanes
from pytest_llmcall.concurrency.fibers import FiberKind, default_kind
from pytest_llmcall.concurrency.fixture_instances import FixtureInstances
from pytest_llmcall.concurrency.hub import Hub
from pytest_llmcall.concurrency.lane import LANE, Lane
from pytest_llmcall.concurrency.leftovers import LEFTOVERS, Leftovers
from pytest_llmcall.concurrency.protocol import flush_reports, run_protocol, unless_stopped
from pytest_llmcall.concurrency.runners import has_loop_of_its_own, is_set_up_elsewhere, runs_elsewhere
from pytest_llmcall.concurrency.setup_tree import TreeSetupState
from pytest_llmcall.concurrency.shown import keep_shown
from pytest_llmcall.concurrency.subtests import route_subtests
from pytest_llmcall.concurrency.summary import LanesSummary, Tally
from pytest_llmcall.concurrency.tracebacks import hide
from pytest_llmcall.concurrency.visits import Visits
from pytest_llmcall.concurrency.waiting import WAITER, Solo
from pytest_llmcall.concurrency.watchdog import Watchdog

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide


class LanesPlugin:
    """Runs the items of a session concurrently on one thread.

    Args:
        config: pytest's configuration.
        lanes: how many items may be in flight at once; 1 means none overlap.
        alone: None if an item may overlap with others, else a short reason why not.
        managed: whether an item's coroutine function and async fixtures are run here, not by another plugin.
        fiber: greenlet or thread; greenlet where it is installed.
        exclusive: further fixtures that change what belongs to the whole process.
        stuck_after: seconds without any progress after which the lanes are listed on the terminal.
    """

    def __init__(
        self,
        config: pytest.Config,
        *,
        lanes: int,
        alone: Callable[[pytest.Item], str | None],
        managed: Callable[[pytest.Item], bool],
        fiber: Literal["greenlet", "thread"] | None = None,
        exclusive: tuple[str, ...] = (),
        stuck_after: float = 300.0,
    ) -> None:
        self._config = config
        self._lanes = lanes
        self._alone = alone
        self._managed = managed
        self._fiber: FiberKind = fiber or default_kind()
        self._exclusive = EXCLUSIVE_FIXTURES | set(exclusive)
        self._stuck_after = stuck_after
        self._tally = Tally()
        self._off = _why_off(config, lanes)
        self._hub: Hub | None = None
        self._solo: Solo | None = None
        self._tree: TreeSetupState | None = None
        self._instances: FixtureInstances | None = None

    def summary(self) -> LanesSummary:
        """Return what the run has to say about its lanes so far."""
        return self._tally.summary(lanes=self._lanes, off=self._off)

    def pytest_report_header(self) -> str | None:
        """Say in one line that a changed pytest has cost the lanes."""
        return f"lanes: off, items run one at a time ({self._off})" if self._lanes > 1 and self._off else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pycollect_makeitem(self) -> Generator[None, Any, Any]:
        """Turn managed items that pytest-asyncio has made its own back into plain functions."""
        made = yield
        if isinstance(made, list):
            return [self._turned_back(each) for each in made]
        return made if made is None else self._turned_back(made)

    def _turned_back(self, node: Any) -> Any:
        theirs = isinstance(node, pytest.Function) and type(node).__module__.startswith("pytest_asyncio")
        if not theirs or not self._runs_async(node):
            return node
        kind: Any = type(node)
        node.__class__ = _plain(kind)
        return node

    def _is_managed(self, item: pytest.Item) -> bool:
        return isinstance(item, pytest.Function) and self._managed(item)

    def _runs_async(self, item: pytest.Item) -> bool:
        """Tell whether the item's coroutines are ours to run."""
        if not self._is_managed(item) or has_loop_of_its_own(item):
            return False
        return self._off is None or not runs_elsewhere(item)

    def _sets_up(self, fixturedef: Any, item: pytest.Item) -> bool:
        """Tell whether an async fixture is ours to set up for the item."""
        if not self._runs_async(item):
            return False
        coroutine = inspect.iscoroutinefunction(getattr(item, "obj", None))
        # A coroutine's fixtures live on its own loop, whoever has declared them.
        return self._off is None or coroutine or not is_set_up_elsewhere(fixturedef, item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the items in lanes, unless pytest's own loop has to do it."""
        option = session.config.option
        failed_collection = session.testsfailed and not option.continue_on_collection_errors
        if self._off or option.collectonly or failed_collection or not session.items:
            return None
        self._run_lanes(session)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    def _run_lanes(self, session: pytest.Session) -> None:
        hub = self._hub = Hub(session.config, fiber=self._fiber, tally=self._tally)
        WAITER.set(hub)
        visits = Visits(session.items)
        instances = self._instances = FixtureInstances(session, hub.locks, visits)
        admission = Admission(
            session,
            hub,
            may_start=lambda item: visits.may_start(item) and instances.may_start(item),
            lanes=self._lanes,
            alone=self._reason,
            tally=self._tally,
        )
        self._tree = session._setupstate = TreeSetupState(  # noqa: SLF001 - pytest has no other place for it
            visits, locks=hub.locks, stopping=lambda: admission.stopping, after_item=self._after_item
        )
        if session.config.pluginmanager.has_plugin("rerunfailures"):
            self._tree.tolerate_reruns()
        instances.adopt(session.items)
        watchdog = Watchdog(hub, self._config, self._stuck_after)
        hub.interrupts.install()
        hub.output.patch()
        watchdog.start()
        try:
            with route_subtests(), keep_shown(session.config), running_lanes(hub.output):
                admission.run()
        finally:
            watchdog.stop()
            hub.output.unpatch()
            hub.interrupts.remove()

    def _reason(self, item: pytest.Item) -> str | None:
        return self._alone(item) or reason_to_run_alone(item, self._exclusive)

    def _after_item(self, item: pytest.Item, comes_back: bool) -> None:  # noqa: FBT001 - called by position only
        """End what an item leaves behind, when its own fixtures are down and the shared ones still up."""
        try:
            if self._instances is not None and not comes_back:
                self._instances.release(item)
        finally:
            self._reap()

    def _reap(self) -> None:
        leftovers = LEFTOVERS.get()
        if leftovers is not None and leftovers.pending():
            self._waiter().wait(leftovers.reap())
        lane = LANE.get()
        if lane is not None:
            for undo in lane.undo.values():
                undo()
            lane.undo.clear()

    def _waiter(self) -> Waiter:
        if self._hub is not None:
            return self._hub
        if self._solo is None:
            self._solo = Solo()
            WAITER.set(self._solo)
        return self._solo

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_runtest_protocol")
    def pytest_note_item(self, item: pytest.Item) -> Generator[None, bool | None, bool | None]:
        """Note the item that runs without a lane."""
        if _lane_of(item) is not None:
            return (yield)
        with running_alone(item):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run an item's phases inside its lane."""
        lane = _lane_of(item)
        if lane is None or _is_rerun_by_plugin(item):
            return None
        run_protocol(lane, nextitem)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self) -> None:
        """Report the set-up of an item before its first subtest."""
        lane = LANE.get()
        if lane is not None:
            flush_reports(lane)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note that the item has begun, before any other plugin may skip it."""
        lane = _lane_of(item)
        if lane is not None:
            lane.phase = "setup"
        elif self._is_managed(item):
            LEFTOVERS.set(Leftovers())
        if self._tree is not None:
            self._tree.begin(item)
        with unless_stopped(lane):
            yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note the phase."""
        lane = _lane_of(item)
        if lane is not None:
            lane.phase = "call"
        with unless_stopped(lane):
            yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note the phase, and end what the item leaves behind where no setup tree does it."""
        lane = _lane_of(item)
        if lane is not None:
            lane.phase = "teardown"
        try:
            yield
        finally:
            if self._hub is None:
                self._reap()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        """Let other plugins see a synchronous fixture where a managed item asks for an async one."""
        if self._instances is not None:
            self._instances.requested(fixturedef, request)
        lane = LANE.get()
        if lane is not None and fixturedef.argname in self._exclusive:
            lane.hub.claims.claim(lane, fixturedef.argname)
        func = fixturedef.func
        if not is_async(func) or not self._sets_up(fixturedef, request._pyfuncitem):  # noqa: SLF001 - request.node is the scope's
            return (yield)
        fixturedef.func = as_sync_fixture(self._waiter(), fixturedef, request)
        try:
            return (yield)
        finally:
            fixturedef.func = func

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Run a managed coroutine test."""
        if not inspect.iscoroutinefunction(pyfuncitem.obj) or not self._runs_async(pyfuncitem):
            return None
        run_async_test(self._waiter(), pyfuncitem)
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool | None:
        """Time the lane by the loop: pytest-timeout's own timer is one for the whole process."""
        lane = _lane_of(item)
        if lane is None or self._hub is None:
            return None
        self._hub.set_timer(lane, settings.timeout)
        return True

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool | None:
        """Stop the lane's own timer."""
        lane = _lane_of(item)
        if lane is None:
            return None
        if lane.timer is not None:
            lane.timer.cancel()
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Close the loop, when every fixture is down."""
        if self._instances is not None:
            self._instances.give_back()
        for waiter in (self._hub, self._solo):
            if waiter is not None:
                waiter.close()
        self._hub = self._solo = None
        WAITER.set(None)


@functools.cache
def _plain(kind: Hashable) -> type[pytest.Function]:
    """Return pytest-asyncio's item class without its runner; its markers and its other hooks stay as they are."""
    own = {"setup": pytest.Function.setup, "runtest": pytest.Function.runtest, "__module__": __name__}
    base: Any = kind
    return type(base.__name__, (base,), own)


def _lane_of(item: pytest.Item) -> Lane | None:
    lane = LANE.get()
    return lane if lane is not None and lane.item is item else None


def _is_rerun_by_plugin(item: pytest.Item) -> bool:
    """Tell whether pytest-rerunfailures runs the item: its protocol reports in blocks by itself."""
    plugin = item.config.pluginmanager.get_plugin("rerunfailures")
    count: Callable[[pytest.Item], int | None] | None = getattr(plugin, "get_reruns_count", None)
    return count is not None and bool(count(item))


def _why_off(config: pytest.Config, lanes: int) -> str | None:
    if lanes <= 1:
        return "one lane"
    if hasattr(config, "workerinput"):
        return "xdist worker"
    for option, name in (("usepdb", "--pdb"), ("trace", "--trace")):
        if config.getoption(option, False):
            return f"{name} is for one item at a time"
    return probes.first_failure(config)
