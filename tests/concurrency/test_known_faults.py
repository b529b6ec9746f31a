"""Faults that other people's suites have shown in engines of this kind; each is absent here."""

from pathlib import Path

import pytest
from tests.concurrency import inner


def _run(
    tmp_path: Path, text: str, *, lanes: int = 4, args: tuple[str, ...] = (), fiber: str = "greenlet"
) -> inner.Run:
    tree = inner.write_tree(tmp_path / "tree", test_fault=text)
    return inner.run(tree, lanes=lanes, fiber=fiber, out=tmp_path, args=args, timeout=40)


def _all_passed(run: inner.Run, count: int) -> None:
    assert list(run.outcomes().values()) == ["passed"] * count, run.stdout
    assert run.code == 0


def test_a_task_has_its_native_coroutine(tmp_path: Path) -> None:
    text = """
import asyncio, inspect
async def test_native():
    coroutine = asyncio.current_task().get_coro()
    assert inspect.iscoroutine(coroutine)
    assert coroutine.cr_code.co_name == "test_native"
    child = asyncio.ensure_future(asyncio.sleep(0))
    assert inspect.iscoroutine(child.get_coro())
    await child
"""
    _all_passed(_run(tmp_path, text), 1)


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_the_lanes_loop_is_the_current_one_in_synchronous_code(fiber: str, tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.fixture
async def server():
    async def answer(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]

async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello\\n")
    line = await reader.readline()
    writer.close()
    return line

@pytest.mark.parametrize("n", range(3))
def test_sync(server, n):
    assert asyncio.get_event_loop().run_until_complete(ask(server)) == b"hello\\n"

def test_asyncio_run_takes_nothing_away():
    asyncio.run(asyncio.sleep(0))

async def test_async(server):
    assert await ask(server) == b"hello\\n"

def test_sync_again(server):
    assert asyncio.get_event_loop().run_until_complete(ask(server)) == b"hello\\n"
"""
    _all_passed(_run(tmp_path, text, fiber=fiber), 6)


def test_an_async_generator_fixture_lives_in_one_task(tmp_path: Path) -> None:
    text = """
import asyncio
import anyio
import pytest

@pytest.fixture
async def own():
    task = asyncio.current_task()
    async with anyio.create_task_group() as group, asyncio.timeout(60):
        group.start_soon(anyio.sleep, 0)
        with anyio.CancelScope():
            yield group
            assert asyncio.current_task() is task

@pytest.fixture(scope="module")
async def shared():
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()

@pytest.mark.parametrize("n", range(4))
async def test_groups(own, shared, n):
    own.start_soon(anyio.sleep, 0)
    shared.start_soon(anyio.sleep, 600)
    await asyncio.sleep(0.01)
"""
    _all_passed(_run(tmp_path, text), 4)


def test_a_fixture_sees_its_task_group_fail(tmp_path: Path) -> None:
    text = """
import asyncio
import anyio
import pytest
from helpers import event

async def server():
    raise LookupError("server crashed")

@pytest.fixture
async def running():
    async with anyio.create_task_group() as group:
        group.start_soon(server)
        yield
    event("fixture", "never")

async def test_meanwhile(running):
    await asyncio.sleep(0.05)
"""
    run = _run(tmp_path, text)
    assert run.outcomes() == {"test_meanwhile": "error"}
    assert "server crashed" in run.stdout


def test_records_of_threads_reach_their_test(tmp_path: Path) -> None:
    text = """
import asyncio, logging, threading
from concurrent.futures import ThreadPoolExecutor
import pytest

LOG = logging.getLogger("worker")

@pytest.mark.parametrize("n", range(6))
async def test_threads(n, caplog):
    caplog.set_level(logging.INFO if n % 2 else logging.WARNING)
    def work():
        for k in range(20):
            LOG.info("info %s", n)
            LOG.warning("warning %s", n)
            print("printed", n)
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0)
    await asyncio.to_thread(work)
    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(work))
    expected = [f"info {n}", f"warning {n}"] if n % 2 else [f"warning {n}"]
    assert caplog.messages == expected * 60
"""
    run = _run(tmp_path, text, lanes=6)
    _all_passed(run, 6)
    for nodeid, reports in run.reports().items():
        n = nodeid[-2]
        assert dict(reports[1]["sections"])["Captured stdout call"] == f"printed {n}\n" * 60


def test_leftovers_end_with_their_test(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest
from helpers import event

@pytest.fixture(scope="module")
async def shared():
    task = asyncio.create_task(asyncio.sleep(600))
    yield task
    assert not task.done()
    task.cancel()

async def forever(name):
    try:
        await asyncio.sleep(600)
    finally:
        event(name, "ended")

async def numbers():
    try:
        yield 1
        yield 2
    finally:
        event("generator", "closed")

KEPT = []

async def test_leaves_things_behind(shared):
    KEPT.append(asyncio.create_task(forever("task")))
    KEPT.append(numbers())
    await anext(KEPT[-1])
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: event("handler", "called"))

async def test_other():
    await asyncio.sleep(0.2)
    event("other", "ended")

@pytest.mark.alone
async def test_afterwards(shared):
    loop = asyncio.get_running_loop()
    assert not shared.done()
    assert not loop.get_debug()
    assert loop.get_exception_handler() is None
    assert [task.get_coro().__name__ for task in asyncio.all_tasks()].count("forever") == 0
"""
    run = _run(tmp_path, text)
    _all_passed(run, 3)
    order = [name for name, event in run.record["events"] if event in {"ended", "closed"}]
    assert order == ["task", "generator", "other"]


def test_a_frozen_clock_does_not_stop_the_others(tmp_path: Path) -> None:
    text = """
import asyncio, sys, time
from unittest import mock
import pytest

@pytest.mark.parametrize("n", range(3))
async def test_sleeps(n):
    await asyncio.sleep(0.05)

async def test_freezes():
    real, frozen = time.monotonic, lambda: 0.0
    places = [(m, k) for m in list(sys.modules.values()) for k, v in list(vars(m).items()) if v is real]
    for module, name in places:
        setattr(module, name, frozen)
    try:
        await asyncio.sleep(0.1)
    finally:
        for module, name in places:
            setattr(module, name, real)
"""
    _all_passed(_run(tmp_path, text), 4)


def test_a_suite_s_own_loop_is_honoured(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

class OwnLoop(asyncio.SelectorEventLoop):
    pass

class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return OwnLoop()

class TestPolicy:
    @pytest.fixture
    def event_loop_policy(self):
        return Policy()

    @pytest.mark.asyncio(loop_scope="function")
    async def test_policy(self):
        assert isinstance(asyncio.get_running_loop(), OwnLoop)

class TestBackend:
    @pytest.fixture
    def anyio_backend(self):
        return ("asyncio", {"debug": True})

    @pytest.mark.anyio
    async def test_backend(self, anyio_backend):
        assert asyncio.get_running_loop().get_debug()

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_plain_backend(anyio_backend):
    assert type(asyncio.get_running_loop()).__name__ == "LaneLoop"
"""
    run = _run(
        tmp_path,
        text,
        args=("-o", "asyncio_mode=strict", "-W", "ignore", "-o", "asyncio_default_fixture_loop_scope=function"),
    )
    _all_passed(run, 3)
    assert set(run.record["alone"].values()) == {"event loop of its own"}
    assert len(run.record["alone"]) == 2


def test_closing_the_loop_fails_its_own_item_only(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

async def test_closes():
    asyncio.get_running_loop().close()

def test_closes_outside():
    asyncio.get_event_loop().close()

async def test_stops():
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.05)

@pytest.mark.parametrize("n", range(3))
async def test_lives(n):
    await asyncio.sleep(0.05)
"""
    run = _run(tmp_path, text, lanes=6)
    passed = {"test_stops", *(f"test_lives[{n}]" for n in range(3))}
    assert {name for name, outcome in run.outcomes().items() if outcome == "passed"} == passed
    assert run.stdout.count("shared by all tests") >= 2
    assert run.code == 1


def test_the_watchdog_names_lanes_that_are_stuck(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.fixture(scope="module")
async def slow():
    await asyncio.sleep(1.5)

async def test_first(slow):
    pass

async def test_second(slow):
    pass
"""
    run = _run(tmp_path, text, args=("--stuck-after=0.4",))
    _all_passed(run, 2)
    assert "lanes: nothing has moved for 0.4 s" in run.stderr
    assert "test_first (setup) waits at" in run.stderr
    assert "test_second (setup) waits for the set-up of fixture 'slow', which" in run.stderr


def test_a_step_that_holds_the_loop_is_noted(tmp_path: Path) -> None:
    text = """
import time
async def test_holds():
    time.sleep(1.1)

async def test_does_not():
    pass
"""
    run = _run(tmp_path, text)
    assert run.record["held"] == ["test_fault.py::test_holds"]


def test_a_result_from_another_thread_s_loop_wakes_its_lane(tmp_path: Path) -> None:
    text = """
import asyncio, threading
import pytest
from pytest_llmcall.concurrency import in_lane, wait

@pytest.fixture(scope="session")
def executor():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()

ALL = threading.Barrier(4)

async def call(n):
    await asyncio.to_thread(ALL.wait, 10)
    return n

@pytest.mark.parametrize("n", range(4))
def test_case(executor, n):
    assert in_lane()
    async def execute():
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(n), executor))
    assert wait(execute()) == n
    assert wait(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, n), executor),
                                    loop=asyncio.get_event_loop())) == n
"""
    _all_passed(_run(tmp_path, text), 4)


def test_a_failed_probe_costs_the_lanes_and_not_the_run(tmp_path: Path) -> None:
    text = """
import asyncio
from pytest_llmcall.concurrency import in_lane, wait

async def test_async():
    assert not in_lane()
    await asyncio.sleep(0)

def test_sync():
    assert wait(asyncio.sleep(0, 1)) == 1
"""
    tree = inner.write_tree(tmp_path / "tree", test_fault=text)
    changed = "from _pytest.runner import SetupState\nSetupState.setup = lambda self, other: None\n"
    working = "stock = SetupState.setup\n" + changed.replace(
        "lambda self, other: None", "lambda self, other: stock(self, other)"
    )
    (tree / "changed.py").write_text("from _pytest.runner import SetupState\n" + working, encoding="utf-8")
    environment = {"PYTHONPATH": str(tree)}
    run = inner.run(tree, lanes=4, out=tmp_path, args=("-p", "changed"), environment=environment)
    _all_passed(run, 2)
    assert "lanes: off, items run one at a time (SetupState" in run.stdout


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_an_exclusive_fixture_requested_late_has_the_process_to_itself(fiber: str, tmp_path: Path) -> None:
    text = """
import asyncio, os
import pytest
from pytest_llmcall.concurrency import wait

@pytest.fixture
def changed(request):
    request.getfixturevalue("monkeypatch").setenv("CHANGED", request.node.name)

@pytest.fixture(scope="module")
async def shared(request):
    await asyncio.sleep(0.01)

@pytest.mark.parametrize("n", range(3))
def test_changes(shared, request, n):
    request.getfixturevalue("changed")
    capsys = request.getfixturevalue("capsys")
    print("hello", n)
    wait(asyncio.sleep(0.02))
    assert os.environ["CHANGED"] == request.node.name
    assert capsys.readouterr().out == f"hello {n}\\n"

@pytest.mark.parametrize("n", range(4))
async def test_others(shared, n):
    for _ in range(3):
        assert "CHANGED" not in os.environ
        await asyncio.sleep(0.01)
"""
    run = _run(tmp_path, text, fiber=fiber)
    _all_passed(run, 7)
    assert run.record["peak"] == 4


def test_two_ways_to_fail_in_one_teardown_leave_nothing_up(tmp_path: Path) -> None:
    text = """
import pytest
from helpers import event, turn

@pytest.fixture(scope="module")
async def shared():
    event("shared", "up")
    yield
    event("shared", "down")

@pytest.fixture
async def own(request, shared):
    event(request.node.name, "up")
    yield
    await turn()
    event(request.node.name, "down")

@pytest.fixture
def fails(request, own):
    request.addfinalizer(lambda: 1 / 0)
    request.addfinalizer(lambda: pytest.fail("plainly"))

async def test_fails(fails):
    pass

async def test_other(own):
    await turn()
"""
    run = _run(tmp_path, text)
    assert run.outcomes() == {"test_fails": "error", "test_other": "passed"}
    assert {tuple(run.events()[name]) for name in ("shared", "test_fails", "test_other")} == {("up", "down")}


def test_an_async_generator_fixture_that_yields_twice_is_an_error(tmp_path: Path) -> None:
    text = """
import pytest
from helpers import turn

@pytest.fixture
async def twice():
    yield 1
    await turn()
    yield 2

async def test_twice(twice):
    pass
"""
    run = _run(tmp_path, text)
    assert run.outcomes() == {"test_twice": "error"}
    assert "has more than one 'yield'" in run.stdout


def test_no_thread_of_a_lane_takes_what_stands_in_the_descriptors(tmp_path: Path) -> None:
    # Between its look at whose step it is and its taking, the step may be another lane's: no order of events shows it
    # for sure, so the taking itself is watched.
    text = """
import threading
from pytest_llmcall.concurrency.output import LaneOutput

DRAINING = set()
STOCK = LaneOutput._drain

def noted(self, lane):
    DRAINING.add(threading.current_thread())
    STOCK(self, lane)

LaneOutput._drain = noted

async def test_prints():
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    print("from the test")
    assert DRAINING == {threading.main_thread()}
"""
    _all_passed(_run(tmp_path, text), 1)
