"""`current_item()` names the item that code belongs to, whoever runs it and wherever."""

from pathlib import Path

import pytest
from tests.concurrency import inner

_TREE = """
import asyncio, threading
import pytest
from helpers import event, turn
from pytest_llmcall.concurrency import current_item, wait

def is_current(node):
    return current_item() is node

@pytest.fixture(scope="session")
async def shared(request):
    event("shared", f"up by {current_item().name}")
    yield
    event("shared", f"down by {current_item().name}")

@pytest.fixture
async def own(request):
    await turn()
    assert is_current(request.node)
    yield
    await turn()
    assert is_current(request.node)

@pytest.fixture
def own_sync(request):
    assert is_current(request.node)
    request.addfinalizer(lambda: event(request.node.name, "known" if is_current(request.node) else "unknown"))

@pytest.mark.parametrize("n", range(4))
async def test_async(shared, own, own_sync, request, n):
    await turn()
    assert is_current(request.node)
    assert await asyncio.create_task(asyncio.to_thread(is_current, request.node))
    seen = []
    thread = threading.Thread(target=lambda: seen.append(is_current(request.node)))
    thread.start()
    while thread.is_alive():
        await turn()
    assert seen == [True]

@pytest.mark.parametrize("n", range(3))
def test_sync(shared, own, own_sync, request, n):
    async def inside():
        await turn()
        return is_current(request.node)
    assert is_current(request.node)
    assert wait(inside())
    assert asyncio.run(inside())

@pytest.mark.alone
async def test_alone(shared, own, own_sync, request):
    await turn()
    assert is_current(request.node)

@pytest.mark.stock
@pytest.mark.alone
@pytest.mark.parametrize("n", range(2))
async def test_pytest_asyncio(theirs, own_sync, request, n):
    assert is_current(request.node)
    assert theirs is request.node

@pytest.fixture
async def theirs(request):
    await turn()
    return current_item()

@pytest.mark.stock
@pytest.mark.alone
class TestUnit(__import__("unittest").TestCase):
    def test_unit(self):
        assert current_item().name == "test_unit"
"""


@pytest.mark.parametrize(("lanes", "fiber"), [(1, "greenlet"), (4, "greenlet"), (4, "thread")])
def test_code_knows_its_item(lanes: int, fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_current=_TREE)
    run = inner.run(tree, lanes=lanes, fiber=fiber, out=tmp_path)
    assert set(run.outcomes().values()) == {"passed"}, run.stdout
    assert all(events == ["known"] for name, events in run.events().items() if name.startswith("test_"))
    assert len(run.events()["shared"]) == 2


_OUTSIDE = """
from helpers import event
from pytest_llmcall.concurrency import current_item

def pytest_collection_finish(session):
    event("before", current_item())

def pytest_sessionfinish(session):
    event("after", current_item())
"""


@pytest.mark.parametrize("lanes", [1, 4])
def test_outside_of_items_there_is_none(lanes: int, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_one="async def test_one(): pass", outside=_OUTSIDE)
    environment = {"PYTHONPATH": str(tree)}
    run = inner.run(tree, lanes=lanes, out=tmp_path, args=("-p", "outside"), environment=environment)
    assert run.events()["before"] == run.events()["after"] == [None]
