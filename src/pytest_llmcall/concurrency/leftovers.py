"""What an item leaves behind on a shared loop: tasks and async generators that nobody finished.

A runner with a loop per test ends them by closing its loop. The lanes share one loop, so each item keeps a list
of what it started, and the list is worked off when the item's own fixtures are down.
"""

import asyncio
import sys
import warnings
import weakref
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

# Long enough for clean-up that talks to a server, short enough not to look like a hang.
_REAP_SECONDS = 5.0


class Leftovers:
    """The tasks and async generators that one item started."""

    __slots__ = ("generators", "tasks")

    def __init__(self) -> None:
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()

    def pending(self) -> bool:
        """Tell whether there is anything to reap."""
        return any(not task.done() for task in self.tasks) or any(_is_open(agen) for agen in self.generators)

    def give_up(self) -> None:
        """Forget everything: the item ignores its cancellation, and only the end of the loop ends it."""
        self.tasks.clear()
        self.generators.clear()

    def _is_shared(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether the task lives in a task group that the item did not open: a shared fixture's."""
        # anyio alone cancels a whole group when one of its tasks is cancelled from outside.
        states: Any = getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", {})
        parent_id = getattr(states.get(task), "parent_id", None)
        if parent_id is None:
            return False
        hosts = [each for each in asyncio.all_tasks() if id(each) == parent_id]
        return bool(hosts) and hosts[0] not in self.tasks

    async def reap(self) -> None:
        """Cancel what still runs and close what is still open, as the end of a loop of its own would."""
        me = asyncio.current_task()
        running = [task for task in self.tasks if not task.done() and task is not me and not self._is_shared(task)]
        for task in running:
            task.cancel()
        if running:
            await _await_cancelled(running)
        for agen in [agen for agen in self.generators if _is_open(agen)]:
            await _close(agen)


def _is_open(agen: AsyncGenerator[Any, Any]) -> bool:
    return getattr(agen, "ag_frame", None) is not None


async def _await_cancelled(tasks: list[asyncio.Task[Any]]) -> None:
    loop = asyncio.get_running_loop()
    done, deaf = await asyncio.wait(tasks, timeout=_REAP_SECONDS)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler(
                {"message": "unhandled exception in a task that its test left behind", "exception": error, "task": task}
            )
    for task in deaf:
        warnings.warn(f"a test left {task!r}, which ignores its cancellation", RuntimeWarning, stacklevel=2)


async def _close(agen: AsyncGenerator[Any, Any]) -> None:
    try:
        await asyncio.wait_for(agen.aclose(), _REAP_SECONDS)
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"an error occurred while closing {agen!r}, which its test left open",
                "exception": error,
                "asyncgen": agen,
            }
        )


# None while a shared fixture is set up: what that starts belongs to its scope and outlives the item.
LEFTOVERS: ContextVar[Leftovers | None] = ContextVar("pytest_lanes_leftovers", default=None)
