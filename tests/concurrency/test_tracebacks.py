"""Which of the engine's frames a user sees: none beside their own, and enough where there is nothing else."""

from pathlib import Path

from tests.concurrency import inner

_TREE = """
import asyncio
import pytest
from pytest_llmcall.concurrency import wait

@pytest.fixture
async def nothing():
    return
    yield

@pytest.fixture
async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)
    yield

def test_nothing(nothing):
    pass

def test_cancelled(cancels_itself):
    pass

async def test_own_frames():
    wait(asyncio.sleep(0))

def test_waits_for_nonsense():
    wait(7)
"""


def test_an_error_of_the_engine_alone_shows_where_it_comes_from(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_frames=_TREE)
    run = inner.run(tree, lanes=4, out=tmp_path)
    texts = {nodeid.split("::")[1]: "".join(each["text"] for each in found) for nodeid, found in run.reports().items()}
    assert set(run.outcomes().values()) == {"failed", "error"}
    assert "All traceback entries are hidden" not in run.stdout
    assert "ValueError: the async generator fixture did not yield a value" in texts["test_nothing"]
    assert "CancelledError" in texts["test_cancelled"]
    assert all("/async_fixtures.py:" in texts[name] for name in ("test_nothing", "test_cancelled"))


def test_the_engine_s_frames_are_hidden_beside_those_of_the_test(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_frames=_TREE)
    run = inner.run(tree, lanes=4, out=tmp_path)
    text = "".join(each["text"] for each in run.reports()["test_frames.py::test_own_frames"])
    assert "use `await` there" in text
    assert "pytest_llmcall" not in text.replace("from pytest_llmcall", "").replace(
        "E       pytest_llmcall.", "E       "
    )
