"""Threads in which LiteLLM prepares requests, for a loop where calls may be cut at any moment.

LiteLLM builds the coroutine that asks in a thread of the loop's default executor and awaits it afterwards. A call that
is cut in between leaves a coroutine that nobody awaits, which Python reports in whatever test runs at that time.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Prepared:
    """The coroutines that were made for one call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[Any] = []
        self._over = False

    def note(self, made: object) -> None:
        """Take what a thread has made; after the end of the call nobody will await it."""
        if inspect.iscoroutine(made):
            with self._lock:
                self._made.append(made)
                over = self._over
            if over:
                self._close()

    def end(self) -> None:
        """Close what was not awaited, now and later."""
        with self._lock:
            self._over = True
        self._close()

    def _close(self) -> None:
        with self._lock:
            made, self._made = self._made, []
        for each in made:
            if inspect.getcoroutinestate(each) == inspect.CORO_CREATED:
                each.close()


_PREPARED: ContextVar[Prepared | None] = ContextVar("llmcall_prepared", default=None)


class Threads(ThreadPoolExecutor):
    """A loop's default executor that knows for which call a coroutine was made."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run a function in a thread."""
        prepared = _PREPARED.get()
        if prepared is None:
            return super().submit(fn, *args, **kwargs)

        def run() -> _T:
            made = fn(*args, **kwargs)
            prepared.note(made)
            return made

        return super().submit(run)


@contextmanager
def closing_what_is_not_awaited() -> Iterator[None]:
    """Close at the end of the block what threads have made in it and nobody has awaited."""
    prepared = Prepared()
    token = _PREPARED.set(prepared)
    try:
        yield
    finally:
        _PREPARED.reset(token)
        prepared.end()
