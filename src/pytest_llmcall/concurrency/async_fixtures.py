"""Async fixtures and async tests become synchronous functions that wait for the lanes' loop.

One host task per async generator: cancel scopes, task groups and timeouts that are held across the `yield` must be
left by the task that entered them.
"""

import asyncio
import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, Token
from typing import Any, Protocol

import pytest
from _pytest.fixtures import resolve_fixture_function
from _pytest.outcomes import OutcomeException

from pytest_llmcall.concurrency.lane import LANE
from pytest_llmcall.concurrency.leftovers import LEFTOVERS
from pytest_llmcall.concurrency.shared_context import changes
from pytest_llmcall.concurrency.tracebacks import hide

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide


class Waiter(Protocol):
    """What can run a coroutine to its end for synchronous code: the hub, or a runner of its own."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it runs on."""

    def wait(self, awaitable: Awaitable[Any], *, context: Context | None = None, keep_result: bool = False) -> Any:
        """Return the awaitable's result.

        Args:
            awaitable: what to run on the loop.
            context: the context to run it in; a copy of the caller's without it.
            keep_result: return a result that is there although the run has stopped: it must be cleaned up after.
        """


def is_async(func: Callable[..., Any]) -> bool:
    """Tell whether a fixture function is a coroutine function or an async generator function."""
    return inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)


def as_sync_fixture(waiter: Waiter, fixturedef: Any, request: Any) -> Callable[..., Any]:
    """Return a synchronous fixture function that does what the async one does."""
    func = resolve_fixture_function(fixturedef, request)
    if inspect.isasyncgenfunction(fixturedef.func):
        return _as_generator(waiter, func, request)
    return _as_function(waiter, func, request)


# Without the function's __dict__: pytest-asyncio marks its fixtures there, and would take the wrapper for one.
def _dressed_as(func: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return functools.wraps(func, updated=())


def _as_function(waiter: Waiter, func: Callable[..., Any], request: Any) -> Callable[..., Any]:
    @_dressed_as(func)
    def fixture(**kwargs: Any) -> Any:
        context = _context_for(request)
        value = waiter.wait(func(**kwargs), context=context, keep_result=True)
        request.addfinalizer(functools.partial(_reset, _adopt(context)))
        return value

    return fixture


def _as_generator(waiter: Waiter, func: Callable[..., Any], request: Any) -> Callable[..., Any]:
    @_dressed_as(func)
    def fixture(**kwargs: Any) -> Generator[Any, None, None]:
        context = _context_for(request)
        host = _Host(waiter.loop, func(**kwargs), context)
        value = waiter.wait(host.set_up(), keep_result=True)
        tokens = _adopt(context)
        yield value
        # The fixture is torn down by another item than set it up, if it is shared.
        context.run(LANE.set, LANE.get())
        try:
            waiter.wait(host.tear_down())
        finally:
            _reset(tokens)

    return fixture


def _context_for(request: Any) -> Context:
    context = contextvars.copy_context()
    if request.scope != "function":
        # What a shared fixture starts outlives the item that happens to set it up.
        context.run(LEFTOVERS.set, None)
    return context


def _adopt(context: Context) -> list[tuple[ContextVar[Any], Token[Any]]]:
    """Set what the fixture has set in its own task; return what undoes it."""
    return [(var, var.set(value)) for var, value in changes(context)]


def _reset(tokens: list[tuple[ContextVar[Any], Token[Any]]]) -> None:
    while tokens:
        var, token = tokens.pop()
        var.reset(token)


class _Host:
    """Runs one async generator fixture, from its start to its end, in one task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, agen: AsyncGenerator[Any, None], context: Context) -> None:
        self._agen = agen
        self._value: asyncio.Future[Any] = loop.create_future()
        self._may_end: asyncio.Future[None] = loop.create_future()
        self._exited: SystemExit | None = None
        self._task = loop.create_task(self._run(), context=context)

    async def set_up(self) -> Any:
        """Return what the generator yields."""
        try:
            return await self._value
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise

    async def tear_down(self) -> None:
        """Let the generator go on after its yield, and wait for its end."""
        if not self._may_end.done():
            self._may_end.set_result(None)
        await self._task
        if self._exited is not None:
            raise self._exited

    async def _run(self) -> None:
        try:
            value = await anext(self._agen)
        except StopAsyncIteration:
            self._refuse(ValueError("the async generator fixture did not yield a value"))
            return
        except asyncio.CancelledError:
            self._value.cancel()
            raise
        except (Exception, OutcomeException, SystemExit) as error:
            self._refuse(error)
            return
        if not self._value.done():
            self._value.set_result(value)
        await self._finish()

    def _refuse(self, error: BaseException) -> None:
        if not self._value.done():
            self._value.set_exception(error)

    async def _finish(self) -> None:
        try:
            await self._may_end
            await anext(self._agen)
        except StopAsyncIteration:
            return
        except SystemExit as error:
            # Out of this task it would leave the loop at once, and nobody would have asked for the task's exception.
            self._exited = error
            return
        except asyncio.CancelledError as error:
            # A task group inside the fixture cancels its host when a child fails: let the generator see it.
            await _throw_into(self._agen, error)
            raise
        pytest.fail("the async generator fixture has more than one 'yield'", pytrace=False)


async def _throw_into(agen: AsyncGenerator[Any, None], error: BaseException) -> None:
    if getattr(agen, "ag_frame", None) is None:
        return
    try:
        await agen.athrow(error)
    except StopAsyncIteration:
        return


def run_async_test(waiter: Waiter, item: pytest.Function) -> None:
    """Run the item's coroutine function with its fixtures."""
    names = item._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own pytest_pyfunc_call does
    coroutine: Coroutine[Any, Any, object] = item.obj(**{name: item.funcargs[name] for name in names})
    waiter.wait(coroutine)
