"""--setup-show and --setup-plan read with lanes as they do without, but for the order of the items."""

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tests.concurrency import inner

_TREE = """
import asyncio
import pytest

@pytest.fixture(scope="module")
async def shared():
    await asyncio.sleep(0.01)
    yield

@pytest.fixture
async def polite(shared):
    yield
    await asyncio.sleep(0.01)

@pytest.mark.parametrize("n", range(3))
async def test_async(polite, n):
    await asyncio.sleep((3 - n) / 50)

def test_sync(polite):
    pass

def test_alone(polite, capsys):
    pass
"""


@pytest.mark.parametrize("option", ["--setup-show", "--setup-only", "--setup-plan"])
def test_lines_agree(option: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_one=_TREE, test_two=_TREE)
    # In its auto mode pytest-asyncio would run the tests of one lane, and show fixtures of its own.
    args = (option, "-o", "asyncio_mode=strict")
    first, second = (inner.run(tree, lanes=lanes, out=tmp_path, args=args) for lanes in (1, 4))
    # A plan sets nothing up, so nothing waits.
    assert second.record["peak"] == (1 if option == "--setup-plan" else 4)
    assert Counter(_lines(second)) == Counter(_lines(first))
    assert all("SETUP" in after for line, after in pairwise(_lines(second, files=True)) if line.endswith(".py"))


def _lines(run: inner.Run, *, files: bool = False) -> list[str]:
    """Return what is shown; without the files' names, which come again when another file's reports came between."""
    body = re.split(r"collected \d+ items\n\n|\n-* generated xml|\n=+ ", run.stdout)[1]
    lines = [re.sub(r" *\[ *\d+%\]$", "", line).rstrip() for line in body.splitlines()]
    return [line for line in lines if line and (files or not line.endswith(".py"))]
