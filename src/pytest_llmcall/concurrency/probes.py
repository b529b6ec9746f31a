"""Checks, before a run, that the inside of pytest and asyncio is what the engine was written for.

A probe that fails costs the lanes, never the run: the items then run one at a time, and the header says why.
"""

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from _pytest import capture, fixtures, logging, runner
from _pytest.assertion import util as assertion

from pytest_llmcall.concurrency.lane import LANE
from pytest_llmcall.concurrency.loop import LaneLoop


def first_failure(config: pytest.Config) -> str | None:
    """Return what is not as expected, or None."""
    for name, probe in _PROBES.items():
        try:
            fits = probe(config)
        except Exception as error:
            return f"{name}: {type(error).__name__}: {error}"
        if not fits:
            return f"{name} of pytest {pytest.__version__} is not what the lanes know"
    return None


def _takes(function: Callable[..., Any], *names: str) -> bool:
    return list(inspect.signature(function).parameters)[: len(names)] == list(names)


def _setup_state(_: pytest.Config) -> bool:
    state = runner.SetupState
    return (
        runner.SetupState().stack == {}
        and _takes(state.setup, "self", "item")
        and _takes(state.teardown_exact, "self", "nextitem")
        and _takes(state.addfinalizer, "self", "finalizer", "node")
        and _takes(runner.call_and_report, "item", "when", "log")
    )


def _fixture_definitions(_: pytest.Config) -> bool:
    definition = fixtures.FixtureDef
    names = {*definition.__init__.__code__.co_names, *definition.execute.__code__.co_names}
    return (
        _takes(definition.execute, "self", "request")
        and _takes(definition.finish, "self", "request")
        and names.issuperset({"cached_result", "_finalizers", "_scope", "func", "argnames"})
        and _takes(fixtures.FixtureManager.getfixturedefs, "self", "argname", "node")
        and _takes(fixtures.get_scope_package, "node", "fixturedef")
        and _takes(fixtures.resolve_fixture_function, "fixturedef", "request")
        and hasattr(pytest.Function, "_initrequest")
    )


def _capture(config: pytest.Config) -> bool:
    manager = config.pluginmanager.get_plugin("capturemanager")
    if manager is None:
        return True
    if not isinstance(manager, capture.CaptureManager):
        return False
    state = manager._global_capturing  # noqa: SLF001 - this is what is probed
    names = ("resume_global_capture", "suspend_global_capture", "read_global_capture", "global_and_fixture_disabled")
    return all(callable(getattr(capture.CaptureManager, name)) for name in names) and (
        state is None or all(_is_known_capture(each) for each in (state.out, state.err))
    )


def _is_known_capture(each: Any) -> bool:
    if each is None:
        return True
    if isinstance(each, capture.FDCapture):
        return all(hasattr(each, name) for name in ("targetfd", "targetfd_save", "tmpfile")) and hasattr(
            each.syscapture, "_old"
        )
    return isinstance(each, capture.SysCapture) and hasattr(each, "_old") and hasattr(each, "tmpfile")


def _logging(config: pytest.Config) -> bool:
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    return plugin is None or (
        isinstance(plugin.caplog_handler, logging.LogCaptureHandler)
        and isinstance(plugin.report_handler, logging.LogCaptureHandler)
        and hasattr(plugin, "formatter")
    )


def _assertions(_: pytest.Config) -> bool:
    return all(hasattr(assertion, name) for name in ("_reprcompare", "_assertion_pass", "_config"))


def _event_loop(_: pytest.Config) -> bool:
    """Run a loop for a moment: every kind of callback must pass through the bracket."""
    steps: list[object] = []
    here: Any = object.__new__(_Probe)

    def step(lane: object, run: Callable[[], None]) -> None:
        steps.append(lane)
        run()

    loop = LaneLoop(step)
    try:
        context = contextvars.copy_context()
        context.run(LANE.set, here)

        async def body() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)

        loop.run_until_complete(loop.create_task(body(), context=context))
    finally:
        loop.really_close()
    # The first step, the one after sleep(0), the timer's callback, the step that it wakes.
    return len(steps) >= 4 and set(steps) == {here}


class _Probe:
    """Stands for a lane while the loop is probed."""

    done = False
    exception_handler = None


_PROBES: dict[str, Callable[[pytest.Config], bool]] = {
    "SetupState": _setup_state,
    "FixtureDef": _fixture_definitions,
    "output capture": _capture,
    "log capture": _logging,
    "assertion state": _assertions,
    "event loop": _event_loop,
}
