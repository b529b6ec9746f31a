"""stdout and stderr while lanes are in flight: every line goes to the report of the test that wrote it.

Python's streams are routed by context (tasks and threads carry their lane); what reaches the file descriptors from
below (child processes, C code) is drained after each step of a lane. The terminal is reached by flipping descriptors
only: moving `sys.stdout` for an instant would let prints of other threads escape.
"""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _pytest.capture import CaptureManager, CaptureResult, FDCapture, SysCapture

from pytest_llmcall.concurrency.lane import LANE, Lane

_PATCHED = (
    "resume_global_capture",
    "suspend_global_capture",
    "read_global_capture",
    "global_and_fixture_disabled",
)


class RoutedStream(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr; writes into the sink of the lane that writes."""

    def __init__(self, output: "LaneOutput", name: str, capture: Any) -> None:
        self._output = output
        self._name = name
        self._real: Any = _stream_of(capture)
        self._terminal: Any = _original_of(capture)
        self._tee: Any = self._terminal if type(self._real).__name__ == "TeeCaptureIO" else None

    def write(self, text: str) -> int:
        """Write to the lane's report, or to the terminal while the lane is between its phases."""
        lane = self._output.owner()
        if lane is None:
            self._real.write(text)
        elif not lane.capturing and lane is self._output.stepping:
            self._terminal.write(text)
        else:
            self._output.drain_before(lane)
            getattr(lane.sink, self._name).append(text)
            if self._tee is not None:
                self._tee.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what stands below."""
        self._real.flush()

    def close(self) -> None:
        """Do nothing: the stream below is pytest's to close. Python calls this when it collects the object."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def isatty(self) -> bool:
        """Say what pytest's captured stream says."""
        return bool(self._real.isatty())

    def fileno(self) -> int:
        """Return the descriptor of pytest's captured stream; what is written there is drained."""
        return int(self._real.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of pytest's captured stream."""
        return str(self._real.encoding)

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The error handler of pytest's captured stream."""
        return getattr(self._real, "errors", None)

    @property
    def buffer(self) -> Any:
        """Bytes go to pytest's captured stream, which is drained."""
        return self._real.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class LaneOutput:
    """Takes over pytest's global capture while lanes are in flight."""

    def __init__(self, config: pytest.Config, owner: Callable[[], Lane | None]) -> None:
        self.owner = owner
        self.stepping: Lane | None = None
        manager: CaptureManager | None = config.pluginmanager.get_plugin("capturemanager")
        self._manager = manager if manager is not None and manager.is_globally_capturing() else None
        self._active = False
        self._at_terminal = False
        self._lock = threading.RLock()
        self._thread = threading.get_ident()
        self._below: tuple[_Below, _Below] | None = None

    def start(self) -> None:
        """Begin a batch of lanes."""
        if self._manager is None or self._active:
            return
        self._active = True
        CaptureManager.resume_global_capture(self._manager)
        capturing: Any = self._manager._global_capturing  # noqa: SLF001 - there is no public way to its streams
        self._below = _Below(capturing.out), _Below(capturing.err)
        # For the whole batch, not for the steps only: threads print at any time.
        sys.stdout = RoutedStream(self, "out", capturing.out)
        sys.stderr = RoutedStream(self, "err", capturing.err)

    def stop(self) -> None:
        """End the batch: pytest's capture is as it is between two tests."""
        if self._manager is None or not self._active:
            return
        self._flip(to_terminal=False)
        self._active = False
        CaptureManager.suspend_global_capture(self._manager)

    def enter(self, lane: Lane) -> Lane | None:
        """A step of the lane begins. Returns the lane whose step it interrupts, if any."""
        outer, self.stepping = self.stepping, lane
        if self._active:
            self._flip(to_terminal=not lane.capturing)
        return outer

    def leave(self, lane: Lane, outer: Lane | None) -> None:
        """A step of the lane ends: what stands in the descriptors is its output."""
        if self._active:
            self._drain(lane)
            self._flip(to_terminal=outer is not None and not outer.capturing)
        self.stepping = outer

    def drain_before(self, lane: Lane) -> None:
        """Keep the order of text written by a child process and by Python."""
        # Not for the lane's other threads: the main thread may have gone on to another lane's step meanwhile.
        if self._is_running(lane):
            self._drain(lane)

    def _drain(self, lane: Lane) -> None:
        if self._below is None:
            return
        out, err = self._below
        with self._lock:
            if text := out.take():
                lane.sink.out.append(text)
            if text := err.take():
                lane.sink.err.append(text)

    def _flip(self, *, to_terminal: bool) -> None:
        with self._lock:
            if to_terminal == self._at_terminal or self._below is None:
                return
            self._at_terminal = to_terminal
            for each in self._below:
                each.flip(to_terminal=to_terminal)

    def patch(self) -> None:
        """Answer the capture manager's questions from inside a lane for that lane."""
        if self._manager is None:
            return
        for name in _PATCHED:
            setattr(self._manager, name, self._for_lanes(name, getattr(self, f"_{name}")))

    def unpatch(self) -> None:
        """Give the capture manager its own methods back."""
        if self._manager is None:
            return
        for name in _PATCHED:
            self._manager.__dict__.pop(name, None)

    def _for_lanes(self, name: str, in_lane: Callable[..., Any]) -> Callable[..., Any]:
        stock = getattr(CaptureManager, name)
        manager = self._manager

        def method(*args: Any, **options: Any) -> Any:
            lane = LANE.get()
            if lane is None or lane.done or not self._active:
                return stock(manager, *args, **options)
            return in_lane(lane)

        return method

    def _resume_global_capture(self, lane: Lane) -> None:
        lane.capturing = True
        if lane is self.stepping:
            self._flip(to_terminal=False)

    def _suspend_global_capture(self, lane: Lane) -> None:
        if lane is self.stepping:
            self._drain(lane)
            self._flip(to_terminal=True)
        lane.capturing = False

    def _read_global_capture(self, lane: Lane) -> CaptureResult[str]:
        return CaptureResult(*lane.sink.take())

    @contextlib.contextmanager
    def _global_and_fixture_disabled(self, lane: Lane) -> Iterator[None]:
        if not self._is_running(lane):
            # A thread of the lane logs to the terminal. The lock keeps steps from turning the descriptors meanwhile.
            with self._lock:
                was_there = self._at_terminal
                self._flip(to_terminal=True)
                try:
                    yield
                finally:
                    self._flip(to_terminal=was_there)
            return
        manager: Any = self._manager
        was_capturing = lane.capturing
        fixture = manager._capture_fixture  # noqa: SLF001 - only set when this lane is the only one
        do_fixture = fixture is not None and fixture._is_started()  # noqa: SLF001
        if do_fixture:
            manager.suspend_fixture()
        self._suspend_global_capture(lane)
        try:
            yield
        finally:
            if was_capturing:
                self._resume_global_capture(lane)
            if do_fixture:
                manager.resume_fixture()

    def running(self) -> Lane | None:
        """Return the lane whose step this code is, None in a thread or callback of nobody's."""
        lane = self.stepping
        return lane if lane is not None and self._is_running(lane) else None

    def _is_running(self, lane: Lane) -> bool:
        """Tell whether this code is the lane's step, not one of its threads."""
        if lane is not self.stepping:
            return False
        in_fiber = lane.fiber is not None and lane.fiber.is_current()
        return in_fiber or threading.get_ident() == self._thread


class _Below:
    """What stands below a routed stream: pytest's capture of one stream, and its descriptor if it has one."""

    __slots__ = ("_capture", "_file", "_original", "_saved", "_target")

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._original: Any = _original_of(capture)
        self._target: int | None = None
        if isinstance(capture, FDCapture):
            self._target = capture.targetfd
            self._saved = capture.targetfd_save
            self._file = capture.tmpfile.fileno()

    def take(self) -> str:
        """Return what has come since the last time."""
        if self._target is None:
            return str(self._capture.snap()) if isinstance(self._capture, SysCapture) else ""
        # The position is at the end anyway, and this is the quickest way to the size.
        return str(self._capture.snap()) if os.lseek(self._file, 0, os.SEEK_END) else ""

    def flip(self, *, to_terminal: bool) -> None:
        """Let the descriptor lead to the terminal, or to pytest's file."""
        if self._target is None:
            return
        if not to_terminal:
            # What Python holds back for the terminal must be out before the descriptor points elsewhere.
            self._original.flush()
        os.dup2(self._saved if to_terminal else self._file, self._target)


def _stream_of(capture: Any) -> Any:
    """Return the stream that pytest puts into `sys`."""
    return _of_sys(capture).tmpfile


def _original_of(capture: Any) -> Any:
    """Return the stream that stood in `sys` before pytest captured it."""
    return _of_sys(capture)._old  # noqa: SLF001


def _of_sys(capture: Any) -> Any:
    return capture.syscapture if isinstance(capture, FDCapture) else capture
