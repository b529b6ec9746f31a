"""SystemExit in a coroutine: asyncio lets it out of the whole loop, and still only its own item is concerned."""

import re
from pathlib import Path

import pytest
from tests.concurrency import inner

_TREE = """
import asyncio, sys
import pytest
from helpers import event, turn
from pytest_llmcall.concurrency import wait

async def leaves():
    await turn()
    sys.exit(3)

@pytest.fixture
async def exits_early():
    await turn()
    sys.exit(4)
    yield

@pytest.fixture
async def exits_as_function():
    await leaves()

@pytest.fixture
async def exits_late(request):
    event(request.node.name, "up")
    yield
    await turn()
    event(request.node.name, "down")
    sys.exit(5)

@pytest.fixture(scope="module", autouse=True)
async def shared():
    event("shared", "up")
    yield
    await turn()
    event("shared", "down")

async def test_body():
    await leaves()

async def test_set_up(exits_early):
    raise AssertionError("never")

async def test_set_up_of_a_function(exits_as_function):
    raise AssertionError("never")

async def test_teardown(exits_late):
    await turn()

def test_waits_for_it():
    wait(leaves())

def test_synchronous():
    sys.exit(6)

def test_a_loop_of_its_own():
    with pytest.raises(SystemExit):
        asyncio.run(leaves())

@pytest.mark.parametrize("n", range(4))
async def test_others(n):
    for _ in range(5):
        await turn()
"""


def _texts(run: inner.Run) -> dict[str, list[str]]:
    # The engine's frames are hidden, those of another runner may not be.
    return {
        nodeid: [" ".join(re.findall(r"^E .*|^test_exits.py:\d+", each["text"], re.MULTILINE)) for each in reports]
        for nodeid, reports in run.reports().items()
    }


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_an_exit_fails_its_own_item_as_one_at_a_time(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_exits=_TREE)
    first = inner.run(tree, lanes=1, out=tmp_path, args=("-o", "asyncio_mode=strict"))
    second = inner.run(tree, lanes=8, fiber=fiber, out=tmp_path, timeout=30)
    assert second.code == first.code == 1, second.stdout + second.stderr
    assert second.outcomes() == first.outcomes()
    assert list(first.outcomes().values()).count("passed") == 5
    assert _texts(second) == _texts(first)
    # pytest itself forgets an item's other fixtures when a teardown exits; here they come down all the same.
    assert {tuple(events[:2]) for events in second.events().values()} == {("up", "down")}


_ELSEWHERE = """
import asyncio, sys
import pytest

async def leaves():
    await asyncio.sleep(0.01)
    sys.exit(3)

@pytest.fixture(scope="module")
async def server():
    asyncio.get_running_loop().call_later(0.3, sys.exit, 7)
    yield

async def test_child(server):
    child = asyncio.create_task(leaves())
    await asyncio.sleep(60)

async def test_callback():
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(60)

async def test_other():
    await asyncio.sleep(0.05)

async def test_waits_while_a_task_of_nobody_exits(server):
    await asyncio.sleep(60)
"""


def test_an_exit_in_a_child_task_or_callback_ends_what_its_item_waits_for(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_elsewhere=_ELSEWHERE)
    run = inner.run(tree, lanes=4, out=tmp_path, timeout=30)
    names = ("test_child", "test_callback", "test_waits_while_a_task_of_nobody_exits")
    assert run.outcomes() == {"test_other": "passed", **dict.fromkeys(names, "failed")}
    assert [code for code in "347" if f"SystemExit: {code}" in run.stdout] == ["3", "4", "7"]
    assert run.code == 1
