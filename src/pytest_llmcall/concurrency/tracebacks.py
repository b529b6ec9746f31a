"""What a user's traceback shows of the engine: nothing, unless the engine is all that there is to show."""

import sysconfig
from pathlib import Path
from typing import Any

import _pytest
import pluggy

# Frames from here are not the user's: they alone would not tell where an error comes from.
_NOT_THE_USERS = tuple(
    f"{folder}/"
    for folder in (
        Path(__file__).parent,
        Path(_pytest.__file__).parent,
        Path(pluggy.__file__).parent,
        *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    )
)


def hide(error: Any) -> bool:
    """Tell pytest, which finds this as `__tracebackhide__`, whether to hide the engine's frames of an error.

    Args:
        error: pytest's ExceptionInfo; None where pytest has none at hand.
    """
    return error is None or not all(str(entry.path).startswith(_NOT_THE_USERS) for entry in error.traceback)
