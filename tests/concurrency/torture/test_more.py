# ruff: noqa: ANN001, ANN201, ANN202, ANN205, ARG002, PT009, T201
# mypy: ignore-errors
import asyncio
import contextlib
import contextvars
import logging
import os
import sys
import threading
import unittest

import pytest
from helpers import VAR, event, turn

from pytest_llmcall.concurrency import wait

LOG = logging.getLogger("more")
# unittest's own loops are in debug mode, which logs how slow a busy machine is.
logging.getLogger("asyncio").setLevel(logging.ERROR)
INNER = contextvars.ContextVar("inner", default="unset")


def setup_function(function):
    function.ups = getattr(function, "ups", 0) + 1


def teardown_function(function):
    function.ups -= 1
    if not hasattr(function, "pytestmark"):
        event(f"setup_function of {function.__name__}", f"down, {function.ups} left")


@pytest.fixture(autouse=True)
async def always_async(request):
    event(f"always_async:{request.node.nodeid}", "up")
    print("always_async up")
    await turn()
    yield
    await turn()
    print("always_async down")
    event(f"always_async:{request.node.nodeid}", "down")


@pytest.fixture(autouse=True, scope="module")
async def always_for_the_module():
    event("always_for_the_module", "up")
    await turn()
    yield
    event("always_for_the_module", "down")


@pytest.fixture
async def group():
    async with asyncio.TaskGroup() as group:
        yield group


@pytest.mark.parametrize("n", range(4))
async def test_groups_of_fixtures(group, n, caplog):
    async def child(k):
        await turn()
        print("child", n, k)
        LOG.warning("child %s", n)
        async with asyncio.TaskGroup() as inner:
            inner.create_task(grandchild(k))

    async def grandchild(k):
        await asyncio.to_thread(print, "thread of a grandchild", n, k)
        await turn()
        print("grandchild", n, k)

    tasks = [group.create_task(child(k)) for k in range(1)]
    await asyncio.gather(*tasks)
    assert caplog.messages == [f"child {n}"]


@pytest.mark.parametrize("n", range(3))
async def test_output_of_async_children(n):
    code = f"import sys; print('out', {n}); print('err', {n}, file=sys.stderr)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=-1, stderr=-1)
    out, err = await child.communicate()
    print(out.decode(), end="")
    print(err.decode(), end="", file=sys.stderr)
    assert child.returncode == 0


@pytest.mark.parametrize("n", range(3))
async def test_logging_of_threads(n, caplog):
    with caplog.at_level(logging.DEBUG):
        barrier = threading.Event()

        def work(k):
            barrier.wait(10)
            LOG.debug("debug %s", n)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        await turn()
        barrier.set()
        while any(thread.is_alive() for thread in threads):
            await turn()
    await asyncio.to_thread(LOG.debug, "nobody sees this")
    await asyncio.to_thread(LOG.error, "error %s", n)
    assert caplog.messages == [*[f"debug {n}"] * 3, f"error {n}"]


@pytest.fixture
async def outer_variable(request):
    VAR.set(f"outer {request.node.name}")
    await turn()
    yield
    assert VAR.get() == f"outer {request.node.name}"


@pytest.fixture
def inner_variable(outer_variable, request):
    assert VAR.get() == f"outer {request.node.name}"
    tokens = VAR.set(f"inner {request.node.name}"), INNER.set(request.node.name)
    yield
    assert INNER.get() == request.node.name
    VAR.reset(tokens[0])
    INNER.reset(tokens[1])


@pytest.mark.parametrize("n", range(3))
async def test_variables_of_nested_fixtures(inner_variable, request, n):
    assert VAR.get() == f"inner {request.node.name}"
    seen = await asyncio.create_task(asyncio.to_thread(INNER.get))
    assert seen == request.node.name


@pytest.mark.parametrize("n", range(3))
def test_variables_of_synchronous_tests(inner_variable, request, n):
    async def inside():
        await turn()
        return INNER.get()

    assert wait(inside()) == request.node.name


@pytest.fixture
def environment(monkeypatch, request):
    monkeypatch.setenv("MORE", request.node.name)
    return monkeypatch


@pytest.mark.parametrize("n", range(3))
async def test_monkeypatch_through_a_fixture(environment, request, n):
    await turn()
    assert os.environ["MORE"] == request.node.name


@pytest.mark.parametrize("n", range(3))
async def test_is_not_disturbed(n):
    for _ in range(3):
        assert "MORE" not in os.environ
        await turn()


async def test_capteesys_is_alone(capteesys):
    print("tee")
    await turn()
    assert capteesys.readouterr().out == "tee\n"


async def test_capsysbinary_is_alone(capsysbinary):
    print("binary")
    await turn()
    assert capsysbinary.readouterr().out == b"binary\n"


@pytest.mark.parametrize("n", range(3))
async def test_tmp_path(tmp_path, n, request):
    (tmp_path / "mine").write_text(request.node.name)
    await turn()
    assert (tmp_path / "mine").read_text() == request.node.name
    assert tmp_path.name.startswith("test_tmp_path")


@pytest.mark.parametrize("n", range(3))
async def test_marks_set_on_the_way(request, n):
    await turn()
    if n == 1:
        request.applymarker(pytest.mark.xfail(reason="on the way"))
    request.node.user_properties.append(("n", n))
    assert n != 1


@pytest.mark.parametrize("n", range(2))
async def test_finalizers_of_nodes(request, n):
    request.node.addfinalizer(lambda: event(f"node:{request.node.nodeid}", "down"))
    request.addfinalizer(lambda: event(f"request:{request.node.nodeid}", "down"))
    await turn()


async def test_stack_of_contexts():
    async with contextlib.AsyncExitStack() as stack:
        for n in range(3):
            await stack.enter_async_context(asyncio.timeout(60))
            stack.push_async_callback(turn)
            print("entered", n)
            await turn()


class TestIsolated(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()

    async def test_own_loop(self):
        await turn()
        self.assertIs(asyncio.get_running_loop(), self.loop)

    async def test_prints(self):
        print("isolated")

    @unittest.skip("by unittest")
    async def test_skipped(self):
        raise AssertionError

    @unittest.expectedFailure
    async def test_expected(self):
        self.fail("expected")

    async def test_subtests(self):
        for n in range(2):
            with self.subTest(n=n):
                self.assertEqual(n, 0)


@pytest.mark.usefixtures("class_wide")
class TestUsefixtures:
    @pytest.fixture(scope="class")
    async def class_wide(self, request):
        event("class_wide", "up")
        request.cls.wide = 7
        await turn()
        yield
        event("class_wide", "down")

    @pytest.fixture(autouse=True)
    async def own_always(self, request):
        event(f"own_always:{request.node.nodeid}", f"up {self.wide}")
        self.mine = request.node.name
        await turn()
        yield
        event(f"own_always:{request.node.nodeid}", "down")

    @pytest.mark.parametrize("n", range(3))
    async def test_wide(self, n, request):
        await turn()
        assert (self.wide, self.mine) == (7, request.node.name)

    @staticmethod
    def test_static():
        event("static", "ran")
