"""How a run ends early: every fixture that is up comes down, and the exit code says why."""

from pathlib import Path

import pytest
from tests.concurrency import inner

_TREE = """
import asyncio, os, signal, threading
import pytest
from helpers import event, turn
from pytest_llmcall.concurrency import wait

@pytest.fixture(scope="session")
async def shared():
    event("shared", "up")
    yield
    await turn()
    event("shared", "down")

@pytest.fixture
async def own(request):
    event(request.node.name, "up")
    yield
    await turn()
    event(request.node.name, "down")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

@pytest.mark.parametrize("n", range(6))
async def test_waits(shared, own, n):
    if n == 5:
        END
    await asyncio.sleep(600)

def test_never_starts(shared, own):
    raise AssertionError
"""

_ENDS = {
    "failure": ("raise AssertionError('the first')", ("-x",), 1),
    "exit": ("pytest.exit('enough', returncode=7)", (), 7),
    "interrupt in a body": ("raise KeyboardInterrupt", (), 2),
    "ctrl-c while a test runs": ("interrupt()", (), 2),
    "ctrl-c while all wait": ("threading.Timer(0.1, interrupt).start()", (), 2),
    "stepwise": ("raise AssertionError('the first')", ("--stepwise",), 2),
}


@pytest.mark.parametrize(
    ("end", "fiber"),
    [*((end, "greenlet") for end in _ENDS), ("failure", "thread"), ("ctrl-c while all wait", "thread")],
)
def test_fixtures_come_down_and_the_exit_code_is_pytests(end: str, fiber: str, tmp_path: Path) -> None:
    code, args, expected = _ENDS[end]
    tree = inner.write_tree(tmp_path / "tree", test_stop=_TREE.replace("END", code))
    run = inner.run(tree, lanes=6, fiber=fiber, out=tmp_path, args=args, timeout=30)
    assert run.code == expected, run.stdout
    fixtures = {name: events for name, events in run.events().items() if not name.startswith("always")}
    assert fixtures == {name: ["up", "down"] for name in ["shared", *(f"test_waits[{n}]" for n in range(6))]}
    failed = {"test_waits[5]": "failed"} if "the first" in code else {}
    assert run.outcomes() == failed
    assert "INTERNALERROR" not in run.stdout


_DEAF = """
import asyncio, os, signal, threading
import pytest
from helpers import event

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

@pytest.mark.parametrize("n", range(3))
async def test_ignores_its_cancellation(n):
    if n == 2:
        interrupted = threading.Timer(0.1, interrupt)
        interrupted.start()
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            event("cancelled", n)
            if n == 2 and interrupted is not None:
                interrupted = None
                threading.Timer(0.1, interrupt).start()
"""


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_the_second_interrupt_gives_up_on_tests_that_ignore_the_first(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_deaf=_DEAF)
    run = inner.run(tree, lanes=3, fiber=fiber, out=tmp_path, timeout=30)
    assert run.code == 2
    assert len(run.events()["cancelled"]) >= 3


_DEAF_FOR_GOOD = """
import asyncio, os, signal, threading
import pytest
from helpers import event

@pytest.fixture
async def own(request):
    event(request.node.name, "up")
    yield
    event(request.node.name, "down")

async def ignores_its_cancellation():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@pytest.fixture
async def deaf(own):
    await ignores_its_cancellation()
    yield

async def test_deaf(own):
    await ignores_its_cancellation()

async def test_deaf_in_set_up(deaf):
    pass

async def test_waits(own):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_one_interrupt_is_enough_for_tests_that_ignore_it(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_deaf=_DEAF_FOR_GOOD)
    run = inner.run(tree, lanes=3, fiber=fiber, out=tmp_path, timeout=30)
    assert run.code == 2
    fixtures = {name: events for name, events in run.events().items() if not name.startswith("always")}
    assert fixtures == {name: ["up", "down"] for name in ("test_deaf", "test_deaf_in_set_up", "test_waits")}
    for name in ("test_deaf", "test_deaf_in_set_up"):
        assert f"lanes: test_deaf.py::{name} ignores its cancellation and is abandoned" in run.stdout
    assert run.stdout.count("is abandoned") == 2
    assert run.reports() == {}


_IN_FLIGHT = """
import asyncio
import pytest
from pytest_llmcall.concurrency import wait

@pytest.fixture
async def slow():
    await asyncio.sleep(60)
    yield

@pytest.fixture
async def breaks_when_cancelled():
    try:
        await asyncio.sleep(60)
    finally:
        raise LookupError("set-up")

@pytest.fixture
async def there_after_all():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pass
    yield

@pytest.fixture
def fails_afterwards(there_after_all):
    raise LookupError("afterwards")

def test_in_set_up(slow):
    pass

def test_set_up_breaks(breaks_when_cancelled):
    pass

def test_body_after_all(there_after_all):
    raise LookupError("body")

def test_set_up_after_all(fails_afterwards):
    pass

async def test_body_breaks():
    try:
        await asyncio.sleep(60)
    finally:
        raise LookupError("body")

def test_swallows():
    try:
        wait(asyncio.sleep(60))
    except BaseException:
        raise LookupError("swallowed") from None

async def test_fails():
    await asyncio.sleep(0.05)
    raise AssertionError("the first")
"""


def test_what_was_in_flight_adds_no_failures_to_the_first(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_first=_IN_FLIGHT)
    run = inner.run(tree, lanes=7, out=tmp_path, args=("-x",), timeout=30)
    assert run.outcomes() == {"test_fails": "failed"}
    assert "stopping after 1 failures" in run.stdout
    assert run.code == 1


_BROKEN_TEARDOWN = """
import asyncio
import pytest

@pytest.fixture(scope="module")
def shared():
    yield
    raise LookupError("shared teardown")

async def test_waits(shared):
    await asyncio.sleep(600)

async def test_fails(shared):
    await asyncio.sleep(0.05)
    raise AssertionError("the first")

async def test_never_starts(shared):
    pass
"""


def test_a_broken_teardown_is_reported_although_the_run_has_stopped(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_broken=_BROKEN_TEARDOWN)
    run = inner.run(tree, lanes=2, out=tmp_path, args=("-x",), timeout=30)
    assert run.code == 1
    assert run.outcomes() == {"test_fails": "failed", "test_waits": "error"}
    assert "LookupError: shared teardown" in run.stdout


def test_reports_come_in_the_order_of_completion(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.mark.parametrize("n", range(4))
async def test_sleeps(n):
    await asyncio.sleep((4 - n) / 10)
"""
    tree = inner.write_tree(tmp_path / "tree", test_order=text)
    run = inner.run(tree, lanes=4, out=tmp_path, args=("-v", "--durations=0", "-vv"))
    assert list(run.outcomes()) == [f"test_sleeps[{n}]" for n in (3, 2, 1, 0)]
    assert run.stdout.count("s call ") == 4


_HANGING_TEARDOWN = """
import asyncio, os, signal, threading
import pytest
from helpers import event
from pytest_llmcall.concurrency import hub

hub.TEARDOWN_SECONDS = 0.3

@pytest.fixture(scope="session")
async def session():
    yield
    event("session", "asked to end")
    await asyncio.sleep(600)

@pytest.fixture
async def first(request):
    event(request.node.name, "up")
    yield
    event(request.node.name, "down")

@pytest.fixture
async def hangs(first, request):
    yield
    if request.node.name == "test_hangs":
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    await asyncio.sleep(600)

@pytest.fixture
async def deaf(hangs):
    yield
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

async def test_hangs(hangs, session):
    pass

async def test_deaf(deaf):
    pass

async def test_waits(hangs):
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_one_interrupt_is_enough_for_teardowns_that_hang(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_hang=_HANGING_TEARDOWN)
    run = inner.run(tree, lanes=3, fiber=fiber, out=tmp_path, timeout=60)
    assert run.code == 2, run.stdout
    names = ("test_hangs", "test_deaf", "test_waits")
    assert run.outcomes() == dict.fromkeys(names, "error")
    assert {name: run.events()[name] for name in names} == {name: ["up", "down"] for name in names}
    assert run.events()["session"] == ["asked to end"]
    assert "TimeoutError: the teardown had not ended" in run.stdout
