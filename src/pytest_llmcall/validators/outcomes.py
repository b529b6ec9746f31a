"""Which exceptions of a check are answers, which are crashes, and which are none of a check's business.

What pytest, asyncio and others raise is recognised without importing them: where a module has not been imported, nobody
can have raised its exceptions. pytest's (`pytest.fail`, `pytest.skip`, `pytest.exit`) are taken from its public names.
"""

from __future__ import annotations

import sys
import unittest


def is_failure(error: BaseException) -> bool:
    """Tell whether an exception says no: an assertion, or `pytest.fail()`; `pytest.xfail()` is another thing."""
    if _is_pytest(error, "xfail"):
        return False
    return isinstance(error, AssertionError) or _is_pytest(error, "fail")


def is_skip(error: BaseException) -> bool:
    """Tell whether an exception means the test: a skip or an xfail."""
    return _is_pytest(error, "skip", "xfail") or isinstance(error, unittest.SkipTest)


def run_ending(error: BaseException) -> BaseException | None:
    """Return what means the run, the exception itself or one in its group: Ctrl-C or `pytest.exit()`, else None.

    All else, `sys.exit()` too, means the check alone.
    """
    if isinstance(error, BaseExceptionGroup):
        return next((ending for each in error.exceptions if (ending := run_ending(each))), None)
    # A greenlet that is thrown away must end; it is not the check that raises there.
    ends = isinstance(error, KeyboardInterrupt) or _is_pytest(error, "exit") or _is(error, "greenlet", "GreenletExit")
    return error if ends else None


def passes_through(error: BaseException) -> bool:
    """Tell whether an exception means the test or the run, not the check."""
    return is_skip(error) or run_ending(error) is not None


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an exception is one by which an event loop cancels; a check may have raised it itself."""
    return _is(error, "asyncio", "CancelledError") or _is(error, "trio", "Cancelled")


def text_of(error: BaseException) -> str:
    """Return an exception's text, also where its own `__str__` crashes."""
    try:
        return str(error)
    except Exception as crash:
        return f"its text cannot be read, {type(crash).__name__}"


def _is_pytest(error: BaseException, *functions: str) -> bool:
    pytest = sys.modules.get("pytest")
    types = (getattr(getattr(pytest, name, None), "Exception", None) for name in functions)
    return any(isinstance(each, type) and isinstance(error, each) for each in types)


def _is(error: BaseException, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(error, kind)
