"""Ctrl-C while lanes are in flight.

In test code it is raised where it strikes, as without lanes. In the hub's own code it is only noted: an exception
between two lines of the hub would lose a lane. The second Ctrl-C is raised wherever it strikes.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupts:
    """Stands in for Python's own handler of SIGINT during the run."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._former: Any = None
        self.count = 0
        self.pending = False
        self.in_test = False

    def install(self) -> None:
        """Take over, unless somebody else has."""
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._former = signal.signal(signal.SIGINT, self._on_interrupt)

    def remove(self) -> None:
        """Give the signal back to Python, unless a test has taken it meanwhile."""
        if self._former is not None and signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, self._former)
        self._former = None

    def raise_pending(self) -> None:
        """Raise the KeyboardInterrupt that was noted in the hub's own code.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.count += 1
        if self.in_test or self.count > 1:
            raise KeyboardInterrupt
        self.pending = True
        self._wake()
