"""Fibers: a call stack that can be left in the middle and continued later.

Two kinds with one behaviour: greenlets, and threads of which only one ever runs. With greenlets all code stays on the
main thread, which signal handlers and thread-bound objects (a session's sqlite connection) need.
"""

import contextvars
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal, Protocol

FiberKind = Literal["greenlet", "thread"]


class Fiber(Protocol):
    """What the hub asks of a fiber."""

    def resume(self) -> None:
        """Run the fiber until it suspends itself or ends. Called by the hub."""

    def suspend(self) -> None:
        """Go back to the hub until it resumes this fiber. Called inside the fiber."""

    def is_current(self) -> bool:
        """Tell whether the calling code runs inside this fiber."""


def default_kind() -> FiberKind:
    """Return greenlet where it is installed, else thread."""
    return "greenlet" if find_spec("greenlet") else "thread"


def make_fiber(kind: FiberKind, main: Callable[[], None]) -> Fiber:
    """Return a fiber that will run ``main``, which must not raise, in a copy of the caller's context."""
    return GreenletFiber(main) if kind == "greenlet" else ThreadFiber(main)


class GreenletFiber:
    """A fiber on the hub's own thread."""

    def __init__(self, main: Callable[[], None]) -> None:
        import greenlet  # noqa: PLC0415 - optional

        self._getcurrent = greenlet.getcurrent
        self._hub: Any = greenlet.getcurrent()
        self._greenlet = greenlet.greenlet(main, parent=self._hub)
        self._greenlet.gr_context = contextvars.copy_context()
        self._thread = threading.get_ident()
        # Where to continue: test code may have greenlets of its own inside the fiber.
        self._point: Any = self._greenlet

    def resume(self) -> None:
        """Run until the fiber suspends itself or ends."""
        self._point.switch()

    def suspend(self) -> None:
        """Go back to the hub."""
        self._point = self._getcurrent()
        self._hub.switch()

    def is_current(self) -> bool:
        """Tell whether this code runs on the hub's thread, but not in the hub itself."""
        return threading.get_ident() == self._thread and self._getcurrent() is not self._hub


class ThreadFiber:
    """A fiber in a thread that holds the baton only while the hub waits for it."""

    def __init__(self, main: Callable[[], None]) -> None:
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        context = contextvars.copy_context()

        def run() -> None:
            self._go.acquire()
            try:
                context.run(main)
            finally:
                self._back.release()

        # A daemon: a fiber that the run has given up must not keep the process alive.
        self._thread = threading.Thread(target=run, name="pytest-lane", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Hand over the baton and wait until it comes back."""
        self._go.release()
        self._back.acquire()

    def suspend(self) -> None:
        """Give the baton back and wait for it."""
        self._back.release()
        self._go.acquire()

    def is_current(self) -> bool:
        """Tell whether this code runs in the fiber's thread."""
        return threading.current_thread() is self._thread
