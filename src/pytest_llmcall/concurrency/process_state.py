"""The process-wide variables that pytest and tests set around a test: each lane has its own values.

They are installed when a step of a lane begins and taken away when it ends, so that context managers which set and
reset them (`catch_warnings`, `catching_logs`, `redirect_stdout`) may be entered and left in any order by the lanes.
"""

import logging
import os
import sys
import warnings
from typing import Any, NamedTuple

import pytest
from _pytest.assertion import util as assertion

from pytest_llmcall.concurrency.lane import Lane
from pytest_llmcall.concurrency.logs import LaneLogHandler, LogRouter
from pytest_llmcall.concurrency.root_level import install, own_level

_CURRENT_TEST = "PYTEST_CURRENT_TEST"
_KEPT_AS = os.environ.encodekey(_CURRENT_TEST)


class Globals(NamedTuple):
    """One reading of the variables."""

    filters: Any
    showwarning: Any
    showwarnmsg: Any
    reprcompare: Any
    assertion_pass: Any
    assertion_config: Any
    current_test: Any
    caplog_handler: Any
    report_handler: Any
    root_handlers: list[logging.Handler]
    root_level: int
    stdout: Any
    stderr: Any


class ProcessState:
    """Reads and writes the variables for one run."""

    def __init__(self, config: pytest.Config) -> None:
        self._logging: Any = config.pluginmanager.get_plugin("logging-plugin") or _NoLogging()

    def read(self) -> Globals:
        """Return the values that are installed now."""
        return Globals(
            warnings.filters,
            warnings.showwarning,
            warnings._showwarnmsg_impl,  # type: ignore[attr-defined]  # noqa: SLF001 - what catch_warnings(record=True) sets
            assertion._reprcompare,  # noqa: SLF001 - set for each test by pytest's assertion plugin
            assertion._assertion_pass,  # noqa: SLF001
            assertion._config,  # noqa: SLF001
            _current_test(),
            self._logging.caplog_handler,
            self._logging.report_handler,
            logging.root.handlers,
            logging.root.level,
            sys.stdout,
            sys.stderr,
        )

    def write(self, values: Globals, *, root_level: int) -> None:
        """Install the values, but with the given level of the root logger."""
        if warnings.filters is not values.filters:
            warnings.filters = values.filters
            warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001 - else the old filters stay cached
        warnings.showwarning = values.showwarning
        warnings._showwarnmsg_impl = values.showwarnmsg  # type: ignore[attr-defined]  # noqa: SLF001
        assertion._reprcompare = values.reprcompare  # noqa: SLF001
        assertion._assertion_pass = values.assertion_pass  # noqa: SLF001
        assertion._config = values.assertion_config  # noqa: SLF001
        self._logging.caplog_handler = values.caplog_handler
        self._logging.report_handler = values.report_handler
        logging.root.handlers = values.root_handlers
        sys.stdout = values.stdout
        sys.stderr = values.stderr
        if _current_test() != values.current_test:
            _set_current_test(values.current_test)
        install(root_level)

    def first(self, lane: Lane, base: Globals, *, root_level: int) -> Globals:
        """Return the values that a lane starts with: the hub's, and log handlers of its own."""
        formatter = self._logging.formatter
        return base._replace(
            root_level=root_level,
            caplog_handler=LaneLogHandler(lane, formatter),
            report_handler=LaneLogHandler(lane, formatter),
            root_handlers=[
                *(handler for handler in base.root_handlers if not isinstance(handler, LogRouter)),
                LogRouter(lane.hub, lane),
            ],
            current_test=None,
        )


# os.environ.get() takes longer than all the other values together, above all for what is not there.
def _current_test() -> Any:
    """Return the variable as the environment keeps it."""
    kept = getattr(os.environ, "_data", None)
    return os.environ.get(_CURRENT_TEST) if kept is None else kept.get(_KEPT_AS)


def _set_current_test(value: Any) -> None:
    environ: Any = os.environ
    if value is None:
        environ.pop(_CURRENT_TEST, None)
    else:
        environ[_CURRENT_TEST] = value if isinstance(value, str) else environ.decodevalue(value)


def own_values(values: Globals) -> Globals:
    """Return what a lane takes with it: its own level, not one that is set for the sake of others."""
    own = own_level(values.root_level)
    return values if own is values.root_level else values._replace(root_level=own)


class _NoLogging:
    """Stands in for pytest's logging plugin where it is switched off."""

    formatter = None
    caplog_handler: Any = None
    report_handler: Any = None
