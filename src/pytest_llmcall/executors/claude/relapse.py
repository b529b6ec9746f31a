"""What fails for a moment and what is broken: a login that others are refreshing, a CLI that is being updated.

The first failures look alike. One of an attempt that began after another had failed shows that it stays so.
"""

from __future__ import annotations

import time


class Relapse:
    """The failures of one thing that all calls of a run need.

    Attributes:
        has_worked: Whether it has worked in this run.
    """

    def __init__(self) -> None:
        self.has_worked = False
        self._failed_at: float | None = None

    def worked(self) -> None:
        """Note that it works, and forget what failed before."""
        self.has_worked = True
        self._failed_at = None

    def may_pass(self, began: float) -> bool:
        """Note that an attempt has failed, and return whether another one may work.

        Args:
            began: When the attempt began, on the clock of `time.monotonic`.
        """
        if self._failed_at is None:
            self._failed_at = time.monotonic()
        return began <= self._failed_at
