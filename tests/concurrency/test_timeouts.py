"""pytest-timeout in lanes: a timer for each item, which counts what the item does and no waiting for others."""

from pathlib import Path

import pytest
from tests.concurrency import inner

# What pytest-timeout does, as far as its hooks go.
_PLUGIN = """
from types import SimpleNamespace
import pytest

class Specs:
    @pytest.hookspec(firstresult=True)
    def pytest_timeout_set_timer(self, item, settings): ...
    @pytest.hookspec(firstresult=True)
    def pytest_timeout_cancel_timer(self, item): ...

def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(Specs)

def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): as in pytest-timeout")

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return (yield)
    item.ihook.pytest_timeout_set_timer(item=item, settings=SimpleNamespace(timeout=marker.args[0]))
    try:
        return (yield)
    finally:
        item.ihook.pytest_timeout_cancel_timer(item=item)
"""

_TREE = """
import asyncio, threading
import pytest
from pytest_llmcall.concurrency import uncounted, wait

@pytest.fixture(scope="module")
async def slow():
    await asyncio.sleep(1)

async def test_makes_it(slow):
    pass

@pytest.mark.timeout(0.4)
async def test_waits_for_another_lane(slow):
    await asyncio.sleep(0.01)

@pytest.mark.timeout(0.2)
async def test_takes_too_long():
    await asyncio.sleep(60)

@pytest.mark.timeout(0.2)
def test_takes_too_long_after_the_other_lane(slow):
    wait(asyncio.sleep(60))

@pytest.mark.timeout(0.4)
async def test_waits_for_its_turn():
    with uncounted():
        await asyncio.sleep(1)

@pytest.mark.timeout(0.4)
async def test_waits_for_its_turn_in_a_thread():
    def queue():
        with uncounted(), uncounted():
            threading.Event().wait(1)
    await asyncio.to_thread(queue)

@pytest.mark.timeout(0.4)
async def test_takes_too_long_after_its_turn():
    with uncounted():
        await asyncio.sleep(0.1)
    await asyncio.sleep(60)

async def test_has_no_timeout():
    with uncounted():
        await asyncio.sleep(0.01)
"""


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_waiting_for_others_does_not_count(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_time=_TREE, timing=_PLUGIN)
    environment = {"PYTHONPATH": str(tree)}
    run = inner.run(tree, lanes=8, fiber=fiber, out=tmp_path, args=("-p", "timing"), environment=environment)
    failed = {name for name, outcome in run.outcomes().items() if outcome != "passed"}
    assert failed == {
        "test_takes_too_long",
        "test_takes_too_long_after_the_other_lane",
        "test_takes_too_long_after_its_turn",
    }
    assert run.stdout.count("Timeout (>0.2s) from pytest-timeout.") >= 2


def test_an_item_s_time_begins_when_it_starts(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.mark.timeout(1.5)
@pytest.mark.parametrize("n", range(6))
async def test_is_queued(n):
    await asyncio.sleep(0.6)
"""
    tree = inner.write_tree(tmp_path / "tree", test_time=text, timing=_PLUGIN)
    environment = {"PYTHONPATH": str(tree)}
    run = inner.run(tree, lanes=2, out=tmp_path, args=("-p", "timing"), environment=environment)
    assert set(run.outcomes().values()) == {"passed"}
