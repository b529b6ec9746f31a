# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors
"""What the torture tests share."""

import asyncio
import contextvars
import random

EVENTS = []
# What pytest-asyncio adds to the items that it runs itself.
THEIRS = {"asyncio", "_session_scoped_runner", "event_loop_policy", "_asyncio_loop_factory"}
VAR = contextvars.ContextVar("var", default="unset")
_random = random.Random(7)


def event(instance, what):
    EVENTS.append([instance, what])


async def turn():
    """Let others go on, in changing orders."""
    for _ in range(_random.randrange(3)):
        await asyncio.sleep(0)
    await asyncio.sleep(_random.random() / 200)


class Odd:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return False

    __hash__ = None

    def __repr__(self):
        return f"Odd({self.value})"
