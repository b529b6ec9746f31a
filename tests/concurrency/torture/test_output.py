# ruff: noqa: ANN001, ANN201, ANN202, ASYNC110, ASYNC221, I001, PT031, T201
# mypy: ignore-errors
import asyncio
import contextlib
import io
import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest
from helpers import Odd, VAR, turn

LOG = logging.getLogger("torture")


@pytest.fixture
async def chatty(request):
    print("fixture up", request.node.name)
    await turn()
    yield
    await turn()
    print("fixture down", request.node.name)


@pytest.mark.parametrize("n", range(5))
async def test_prints(chatty, n):
    for i in range(3):
        print("out", n, i)
        print("err", n, i, file=sys.stderr)
        await turn()


@pytest.mark.parametrize("n", range(3))
async def test_order_of_python_and_child_output(n):
    print("before", n, flush=True)
    subprocess.run([sys.executable, "-c", f"print('child', {n})"], check=True)
    print("between", n, flush=True)
    os.write(1, f"raw {n}\n".encode())
    os.write(2, f"raw err {n}\n".encode())
    await turn()
    print("after", n)


@pytest.mark.parametrize("n", range(3))
async def test_buffer(n):
    print("a", n)
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.buffer.flush()
    await turn()
    print("b", n)


@pytest.mark.parametrize("n", range(3))
async def test_threads(n, caplog):
    def work():
        print("thread", n)
        LOG.warning("thread %s", n)
        for _ in range(8):
            # Not in step with the loop: the lane that steps now is probably another one.
            threading.Event().wait(0.003)
            print("still in thread", n)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)
    await asyncio.to_thread(print, "to_thread", n)
    await asyncio.get_running_loop().run_in_executor(None, lambda: LOG.warning("executor %s", n))
    print("end", n)
    assert caplog.messages == [f"thread {n}", f"executor {n}"]


@pytest.mark.parametrize("n", range(3))
async def test_subtasks(n, caplog):
    async def child(k):
        await turn()
        print("child", n)
        LOG.error("child %s", n)
        VAR.set(k)

    async with asyncio.TaskGroup() as group:
        for k in range(2):
            group.create_task(child(k))
    asyncio.get_running_loop().call_later(0.001, print, "callback", n)
    await asyncio.sleep(0.01)
    assert caplog.messages == [f"child {n}"] * 2
    assert VAR.get() == "unset"


@pytest.mark.parametrize("n", range(4))
async def test_caplog(n, caplog):
    with caplog.at_level(logging.DEBUG if n % 2 else logging.ERROR):
        await turn()
        LOG.debug("debug %s", n)
        LOG.error("error %s", n)
        await turn()
    LOG.info("info %s", n)
    assert caplog.messages == ([f"debug {n}"] if n % 2 else []) + [f"error {n}"]
    assert [record.levelno for record in caplog.get_records("call")] == ([10, 40] if n % 2 else [40])
    caplog.clear()
    LOG.warning("last %s", n)
    assert caplog.messages == [f"last {n}"]


@pytest.mark.parametrize("n", range(3))
async def test_caplog_set_level(n, caplog):
    caplog.set_level(logging.INFO)
    await turn()
    await asyncio.to_thread(lambda: LOG.info("from a thread %s", n))
    LOG.info("info %s", n)
    assert caplog.messages == [f"from a thread {n}", f"info {n}"]


@pytest.mark.parametrize("n", range(3))
async def test_loggers_that_do_not_propagate(n, caplog):
    stubborn = logging.getLogger("stubborn")
    await turn()
    stubborn.warning("stubborn %s", n)
    await turn()
    assert caplog.messages == [f"stubborn {n}"]


stubborn = logging.getLogger("stubborn")
stubborn.propagate = False


@pytest.mark.parametrize("n", range(4))
async def test_warnings(n):
    await turn()
    warnings.warn(f"warning {n}", UserWarning, stacklevel=1)
    with pytest.warns(DeprecationWarning, match=f"expected {n}"):
        await turn()
        warnings.warn(f"expected {n}", DeprecationWarning, stacklevel=1)
        await turn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await turn()
        with pytest.raises(RuntimeWarning):
            warnings.warn("raises", RuntimeWarning, stacklevel=1)


@pytest.mark.parametrize("n", range(3))
async def test_recwarn(n, recwarn):
    await turn()
    warnings.warn(f"recorded {n}", UserWarning, stacklevel=1)
    await turn()
    assert [str(each.message) for each in recwarn] == [f"recorded {n}"]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("n", range(2))
async def test_filterwarnings_mark(n):
    await turn()
    with pytest.raises(UserWarning):
        warnings.warn("an error here", UserWarning, stacklevel=1)


@pytest.mark.parametrize("n", range(2))
async def test_assertrepr(n):
    await turn()
    left, right = Odd(n), Odd(n + 1)
    assert left == right


@pytest.mark.parametrize("n", range(3))
async def test_redirect_stdout(n):
    target = io.StringIO()
    with contextlib.redirect_stdout(target):
        print("redirected", n)
        await turn()
        print("redirected again", n)
    print("plain", n)
    assert target.getvalue() == f"redirected {n}\nredirected again {n}\n"


@pytest.mark.parametrize("n", range(3))
async def test_current_test(n, request):
    await turn()
    assert os.environ["PYTEST_CURRENT_TEST"] == f"{request.node.nodeid} (call)"


@pytest.mark.parametrize("n", range(3))
async def test_failing_with_output(chatty, n, caplog):
    print("shown", n)
    LOG.warning("logged %s", n)
    await turn()
    assert n == "not"


async def test_capsys_is_alone(capsys):
    print("captured")
    await turn()
    assert capsys.readouterr().out == "captured\n"
    with capsys.disabled():
        pass


async def test_capfd_is_alone(capfd):
    os.write(1, b"captured\n")
    await turn()
    assert capfd.readouterr().out == "captured\n"


async def test_monkeypatch_is_alone(monkeypatch):
    monkeypatch.setenv("TORTURE", "1")
    await turn()
    assert os.environ["TORTURE"] == "1"


@pytest.mark.alone
async def test_marked_alone(async_session_thing):
    print("alone")
    await turn()
