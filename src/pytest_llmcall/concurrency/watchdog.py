"""Says on the terminal which lanes are stuck, when nothing has moved for a long time. It ends nothing."""

import os
import sys
import threading
import traceback
from typing import Any

import pytest

from pytest_llmcall.concurrency.hub import Hub
from pytest_llmcall.concurrency.lane import Lane


class Watchdog:
    """Looks at the hub from a thread of its own: what is stuck may be the main thread."""

    def __init__(self, hub: Hub, config: pytest.Config, stuck_after: float) -> None:
        self._hub = hub
        self._config = config
        self._stuck_after = stuck_after
        self._stop = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="pytest-lanes-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        seen = -1
        while not self._stop.wait(self._stuck_after):
            now = self._hub.levels.steps
            if now == seen and self._hub.lanes:
                self._say(report(self._hub, self._main, self._stuck_after))
            seen = now

    def _say(self, text: str) -> None:
        manager: Any = self._config.pluginmanager.get_plugin("capturemanager")
        capturing = getattr(manager, "_global_capturing", None)
        # The descriptor that pytest has put aside leads to the terminal, whatever 2 stands for now.
        target = getattr(getattr(capturing, "err", None), "targetfd_save", 2)
        os.write(target, text.encode(errors="replace"))


def report(hub: Hub, main_thread: int, seconds: float) -> str:
    """Return who waits for what, and where the main thread is."""
    lines = ["", f"lanes: nothing has moved for {seconds:g} s. In flight:"]
    lines += [f"  {lane.item.nodeid} ({lane.phase}) {_waits_for(hub, lane)}" for lane in list(hub.lanes)]
    frame = sys._current_frames().get(main_thread)  # noqa: SLF001 - the only way to another thread's stack
    if frame is not None:
        lines += ["  main thread:", *("    " + line.rstrip() for line in traceback.format_stack(frame)[-3:])]
    return "\n".join([*lines, ""])


def _waits_for(hub: Hub, lane: Lane) -> str:
    if hub.output.stepping is lane:
        return "is running and lets nobody else run"
    if lane.waits_for is not None:
        return f"waits for {lane.waits_for}"
    task = lane.task
    stack = [] if task is None else task.get_stack(limit=1)
    if stack:
        return f"waits at {stack[-1].f_code.co_filename}:{stack[-1].f_lineno}"
    return "is ready"
