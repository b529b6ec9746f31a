"""The lane engine: pytest items run concurrently, each in its own unmodified protocol; knows pytest, no LLM.

Read `hub.py` first. Sequential pytest is the specification: with lanes nothing may differ but time.
Importing this package is cheap; the engine itself is loaded when one of its words is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmcall.concurrency.current import current_item
    from pytest_llmcall.concurrency.plugin import LanesPlugin
    from pytest_llmcall.concurrency.summary import HeldLoop, LanesSummary, RanAlone
    from pytest_llmcall.concurrency.timers import uncounted
    from pytest_llmcall.concurrency.waiting import CannotWaitError, in_lane, wait

__all__ = [
    "CannotWaitError",
    "HeldLoop",
    "LanesPlugin",
    "LanesSummary",
    "RanAlone",
    "current_item",
    "in_lane",
    "uncounted",
    "wait",
]

_HOMES = {
    "CannotWaitError": "waiting",
    "HeldLoop": "summary",
    "LanesPlugin": "plugin",
    "LanesSummary": "summary",
    "RanAlone": "summary",
    "current_item": "current",
    "in_lane": "waiting",
    "uncounted": "timers",
    "wait": "waiting",
}


def __getattr__(name: str) -> Any:
    """Load the engine when one of its words is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - part of being cheap

    return getattr(import_module(f"{__name__}.{home}"), name)
