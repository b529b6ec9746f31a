"""--setup-show and --setup-plan: what a lane shows of its fixtures comes together with its reports.

pytest writes these lines between the file's name and the letter of the outcome, and lanes report in blocks.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.config import create_terminal_writer

from pytest_llmcall.concurrency.lane import LANE, Lane


@contextlib.contextmanager
def keep_shown(config: pytest.Config) -> Iterator[None]:
    """While this lasts, the lanes keep what they show until `flush_shown`."""
    if not config.getoption("setupshow", default=False):
        yield
        return
    stock = config.get_terminal_writer

    def get_terminal_writer() -> Any:
        lane = LANE.get()
        return stock() if lane is None or lane.done else _writer_of(lane, stock())

    patched: Any = config
    patched.get_terminal_writer = get_terminal_writer
    try:
        yield
    finally:
        del patched.get_terminal_writer


def _writer_of(lane: Lane, stock: Any) -> Any:
    writer = create_terminal_writer(lane.item.config, lane.shown)
    writer.hasmarkup = stock.hasmarkup
    return writer


def flush_shown(lane: Lane) -> None:
    """Write what the lane has shown since the last time."""
    text, lane.shown = lane.shown.getvalue(), io.StringIO()
    if text:
        reporter: Any = lane.item.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write(text, flush=True)
