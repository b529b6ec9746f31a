"""Which exceptions of a check are answers, which are crashes, and which are none of a check's business.

pytest's own (`pytest.fail`, `pytest.skip`, `pytest.exit`) are recognised without importing pytest: where pytest has
not been imported, nobody can have raised them. They are taken from its public names.
"""

from __future__ import annotations

import sys
import unittest


def is_failure(error: BaseException) -> bool:
    """Tell whether an exception says no: an assertion, or `pytest.fail()`; `pytest.xfail()` is another thing."""
    if _is_pytest(error, "xfail"):
        return False
    return isinstance(error, AssertionError) or _is_pytest(error, "fail")


def passes_through(error: BaseException) -> bool:
    """Tell whether an exception means the test or the run, not the check: a skip, an xfail, an exit, Ctrl-C."""
    if _is_pytest(error, "skip", "xfail", "exit") or isinstance(error, unittest.SkipTest):
        return True
    # sys.exit() in a check ends the check; only Ctrl-C and pytest.exit() end the run.
    return not isinstance(error, Exception | SystemExit) and not is_failure(error)


def _is_pytest(error: BaseException, *functions: str) -> bool:
    pytest = sys.modules.get("pytest")
    types = (getattr(getattr(pytest, name, None), "Exception", None) for name in functions)
    return any(isinstance(each, type) and isinstance(error, each) for each in types)
