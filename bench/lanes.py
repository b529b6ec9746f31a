"""What lanes cost and gain: tests that wait, tests that do nothing, and the memory of those that wait."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5
# Without this setting pytest-asyncio writes a warning that takes its time.
SCOPE = "asyncio_default_fixture_loop_scope=function"
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", SCOPE)
LANES = ("-m", "llm", "--llm-concurrency", "50")
PLAIN = (*PYTEST, "-p", "no:llmcall", "-W", "ignore")

# A test that waits holds one of 50 slots, as a call does.
WAITS = """
import asyncio
import pytest

pytestmark = pytest.mark.llm
SLOTS = asyncio.Semaphore({slots})

@pytest.mark.parametrize("n", range({count}))
async def test_waits(n):
    async with SLOTS:
        await asyncio.sleep({seconds})
"""
NOTHING = """
import pytest

@pytest.mark.{mark}
@pytest.mark.parametrize("n", range({count}))
async def test_nothing(n):
    pass
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a command took: seconds on the clock, seconds of CPU with its children's, and its largest size in MB."""

    wall: float
    cpu: float
    megabytes: float


def cost(command: Sequence[str], folder: Path) -> Cost:
    """Return what a command costs; it must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(wall=wall, cpu=used.ru_utime + used.ru_stime, megabytes=used.ru_maxrss / unit)


def in_turn(rounds: int, *commands: Callable[[], Cost]) -> list[list[Cost]]:
    """Return the costs of each command, run in turn, since the machine's speed drifts."""
    turns = [[command() for command in commands] for _ in range(rounds)]
    return [list(costs) for costs in zip(*turns, strict=True)]


def median(costs: Sequence[Cost], what: str) -> float:
    """Return the median of one of the figures."""
    return float(statistics.median(getattr(each, what) for each in costs))


def waiting(folder: Path) -> None:
    """Print (a): 200 tests of 0.5 s, 50 at once, against the ideal and the start-up of a run with one test."""
    (folder / "test_waits.py").write_text(WAITS.format(slots=50, count=200, seconds=0.5), encoding="utf-8")
    (folder / "test_one.py").write_text(NOTHING.format(mark="llm", count=1), encoding="utf-8")
    ours, one = in_turn(
        ROUNDS,
        lambda: cost([*PYTEST, *LANES, "test_waits.py"], folder),
        lambda: cost([*PYTEST, *LANES, "test_one.py"], folder),
    )
    ideal = [2.0 + each.wall for each in one]
    times = statistics.median(took.wall / best for took, best in zip(ours, ideal, strict=True))
    print(
        f"200 tests of 0.5 s at 50: {median(ours, 'wall'):.2f} s, ideal 2.00 s + start-up "
        f"{median(one, 'wall'):.2f} s; ratio {times:.3f} ({median(ours, 'cpu'):.2f} s of CPU)"
    )


def nothing(folder: Path) -> None:
    """Print (b): 1,000 async tests that do nothing, in lanes against sequential pytest-asyncio.

    The start-up, which does not grow with the tests, is that of a run with one test.
    """
    for mark in ("llm", "asyncio"):
        for count in (1, 1000):
            text = NOTHING.format(mark=mark, count=count)
            (folder / f"test_{mark}_{count}.py").write_text(text, encoding="utf-8")
    ours, theirs, our_start, their_start = in_turn(
        2 * ROUNDS,
        lambda: cost([*PYTEST, *LANES, "test_llm_1000.py"], folder),
        lambda: cost([*PLAIN, "test_asyncio_1000.py"], folder),
        lambda: cost([*PYTEST, *LANES, "test_llm_1.py"], folder),
        lambda: cost([*PLAIN, "test_asyncio_1.py"], folder),
    )
    for what in ("wall", "cpu"):
        mine, others = (
            [getattr(all_, what) - getattr(one, what) for all_, one in zip(*pair, strict=True)]
            for pair in ((ours, our_start), (theirs, their_start))
        )
        times = statistics.median(a / b for a, b in zip(mine, others, strict=True))
        print(
            f"1000 async tests that do nothing, {what}: {statistics.median(mine):.2f} s in lanes, "
            f"{statistics.median(others):.2f} s with pytest-asyncio; ratio {times:.3f}; "
            f"start-up {median(our_start, what):.2f} s, {median(their_start, what):.2f} s"
        )


def memory(folder: Path) -> None:
    """Print (g): the memory of 1,000 tests that wait at the same time, against 10."""
    for name, count in (("test_many.py", 1000), ("test_few.py", 10)):
        text = WAITS.format(slots=1000, count=count, seconds=0.5)
        (folder / name).write_text(text, encoding="utf-8")
    many, few = in_turn(
        1,
        lambda: cost([*PYTEST, "-m", "llm", "--llm-concurrency", "500", "test_many.py"], folder),
        lambda: cost([*PYTEST, "-m", "llm", "--llm-concurrency", "500", "test_few.py"], folder),
    )
    more = 1000 * (median(many, "megabytes") - median(few, "megabytes")) / (1000 - 10)
    print(f"1000 tests that wait: {median(many, 'megabytes'):.0f} MB, {more:.0f} kB for each beside the first 10")
