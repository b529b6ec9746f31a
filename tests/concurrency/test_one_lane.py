"""With one lane everything is pytest's own, and what another plugin runs is left to that plugin."""

from pathlib import Path

import pytest
from tests.concurrency import inner

_STRICT = ("-o", "asyncio_mode=strict")
_LOOPS = (
    *("-o", "asyncio_default_test_loop_scope=function"),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
)

_TREE = """
import asyncio
import pytest, pytest_asyncio
from helpers import turn
from pytest_llmcall.concurrency import wait

LOOPS = set()

def is_ours():
    return type(asyncio.get_running_loop()).__name__ == "TrackingLoop"

@pytest.fixture
async def plain():
    await turn()
    yield asyncio.get_running_loop(), is_ours()
    await turn()

@pytest_asyncio.fixture
async def theirs():
    await turn()
    yield asyncio.get_running_loop(), is_ours()
    await turn()

@pytest.mark.asyncio
@pytest.mark.parametrize("n", range(2))
async def test_pytest_asyncio(theirs, n):
    assert theirs == (asyncio.get_running_loop(), False)
    assert id(theirs[0]) not in LOOPS
    LOOPS.add(theirs[0])

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(plain, anyio_backend):
    assert plain == (asyncio.get_running_loop(), False)

async def test_ours(plain, theirs):
    assert plain == theirs == (asyncio.get_running_loop(), True)

def test_sync(plain, theirs):
    assert plain[1]
    assert not theirs[1]

@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_sync_for_anyio(plain, anyio_backend):
    assert not plain[1]

def test_sync_waits():
    assert wait(asyncio.sleep(0, 7)) == 7
"""


def test_each_plugin_runs_its_own_tests_and_fixtures(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_one=_TREE)
    run = inner.run(tree, lanes=1, out=tmp_path, args=(*_STRICT, *_LOOPS))
    assert list(run.outcomes().values()) == ["passed"] * 7, run.stdout


_INSIDE = """
import asyncio
from helpers import event

def pytest_runtest_call(item):
    session = item.session
    event("setup state", type(session._setupstate).__name__)
    event("fixture manager", str("getfixturedefs" in vars(session._fixturemanager)))
    event("capture", str("read_global_capture" in vars(item.config.pluginmanager.getplugin("capturemanager"))))
    for fixturedefs in item._fixtureinfo.name2fixturedefs.values():
        event("copies", str(any(hasattr(each, "_lanes_source") or "execute" in vars(each) for each in fixturedefs)))
"""


def test_setup_state_fixture_definitions_and_capture_are_pytests(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_one=_TREE, inside=_INSIDE)
    environment = {"PYTHONPATH": str(tree)}
    one, four = (
        inner.run(tree, lanes=lanes, out=tmp_path, args=("-p", "inside", *_STRICT, *_LOOPS), environment=environment)
        for lanes in (1, 4)
    )
    looked = {name: set(events) for name, events in one.events().items() if not name.startswith("always")}
    names = ("fixture manager", "capture", "copies")
    assert looked == {"setup state": {"SetupState"}, **{name: {"False"} for name in names}}
    # Else the look itself would be blind.
    assert set(four.events()["setup state"]) == {"TreeSetupState"}
    assert all("True" in four.events()[name] for name in names)


_SHARED = """
import asyncio
import pytest

@pytest.fixture(scope="module")
async def shared():
    await asyncio.sleep(0)
    yield "shared"

async def ours(shared):
    assert shared == "shared"

@pytest.mark.asyncio
async def theirs(shared):
    assert shared == "shared"

"""


def _shared(tmp_path: Path, first: str, second: str, *, lanes: int) -> dict[str, str]:
    text = f"{_SHARED}test_{first} = {first}\ntest_{second} = {second}\ndel ours, theirs\n"
    tree = inner.write_tree(tmp_path / "tree", test_shared=text)
    return inner.run(tree, lanes=lanes, out=tmp_path, args=(*_STRICT, *_LOOPS)).outcomes()


def test_a_shared_fixture_that_ours_has_set_up_is_there_for_everybody(tmp_path: Path) -> None:
    outcomes = _shared(tmp_path, "ours", "theirs", lanes=1)
    assert outcomes == {"test_ours": "passed", "test_theirs": "passed"}


def test_a_shared_fixture_that_pytest_refuses_to_theirs_is_refused_as_without_us(tmp_path: Path) -> None:
    outcomes = _shared(tmp_path, "theirs", "ours", lanes=1)
    without_us = _shared(tmp_path, "theirs", "ours", lanes=0)
    # pytest keeps what came of a fixture, be it an error.
    assert outcomes["test_theirs"] == outcomes["test_ours"] == without_us["test_theirs"]
    assert outcomes["test_ours"] in {"error", "failed"}


@pytest.mark.parametrize("mode", ["asyncio_mode", "anyio_mode"])
def test_an_auto_mode_takes_every_coroutine(mode: str, tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="module")
async def shared():
    yield asyncio.get_running_loop()

async def test_async(shared):
    assert asyncio.get_running_loop() is shared
    assert type(shared).__name__ != "TrackingLoop"

async def test_again(shared):
    assert asyncio.get_running_loop() is shared
"""
    tree = inner.write_tree(tmp_path / "tree", test_auto=text)
    run = inner.run(tree, lanes=1, out=tmp_path, args=(*_STRICT, "-o", f"{mode}=auto"))
    assert set(run.outcomes().values()) == {"passed"}, run.stdout
