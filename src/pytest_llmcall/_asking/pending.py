"""What a test holds until it awaits: nothing has happened yet, and a test that leaves it so has forgotten it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pytest_llmcall._handover import result_of
from pytest_llmcall.errors import Misuse, Source

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

T_co = TypeVar("T_co", covariant=True)

_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"
_RUNNERS: Final = frozenset({"anyio", "asyncio", "trio"})


class Pending(Coroutine[Any, Any, T_co]):
    """Happens when it is awaited, once; later awaits return the same.

    It has a coroutine's methods, so that task groups and `asyncio.create_task` take it.
    """

    def __init__(
        self,
        start: Callable[[], Coroutine[Any, Any, T_co]],
        *,
        place: Source,
        forgotten: str,
        parts: Sequence[Pending[Any]] = (),
    ) -> None:
        """Prepare it.

        Args:
            start: What happens.
            place: Where the test prepared it.
            forgotten: What is wrong if nobody awaits it.
            parts: What it awaits in turn.
        """
        self.place = place
        self.forgotten = forgotten
        self._start = start
        self._parts = parts
        self._result: concurrent.futures.Future[T_co] | None = None
        self._steps: dict[object, Coroutine[Any, Any, T_co]] = {}

    @property
    def was_awaited(self) -> bool:
        """Whether it happened, or has begun to."""
        return self._result is not None

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and not ended."""
        return self._result is not None and not self._result.done()

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self.answer().__await__()

    def give_up(self) -> None:
        """End what is under way: no test waits for it any more, and its loop may never run again."""
        for each in self._parts:
            each.give_up()

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._step().send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception, as a coroutine does."""
        return self._step().throw(*error)

    def close(self) -> None:
        """Give up, as a coroutine does."""
        for each in self._steps.values():
            each.close()

    async def answer(self) -> T_co:
        """Return what comes of it; raise what it raises."""
        if self._result is not None:
            return await result_of(self._result)
        self._result = concurrent.futures.Future()
        self._result.set_running_or_notify_cancel()  # else who waits beside the first could cancel it for all
        try:
            result = await self._start()
        except Exception as error:
            self._result.set_exception(error)
            raise
        except BaseException:
            self._result.set_exception(Misuse("the call was cancelled by the code that awaited it first"))
            raise
        self._result.set_result(result)
        return result

    def _step(self) -> Coroutine[Any, Any, T_co]:
        # Two tasks may hold the same call: each waits in a coroutine of its own.
        task = asyncio.current_task() if asyncio._get_running_loop() else None  # noqa: SLF001 - the other one raises
        if task not in self._steps:
            self._steps[task] = self.answer()
        return self._steps[task]


def calling_place() -> Source:
    """Return where the code stands that called into this package, be it through a task group."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads the source of every frame
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    nearest = frame
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _RUNNERS:
        frame = frame.f_back
    # A loop's own frames lead to no code of the test's.
    found = nearest if frame.f_code.co_filename.startswith(_PACKAGE) else frame
    return Source(Path(found.f_code.co_filename), found.f_lineno)
