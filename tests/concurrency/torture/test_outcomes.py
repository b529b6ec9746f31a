# ruff: noqa: ANN001, ANN201, ANN202, T201
# mypy: ignore-errors
import asyncio

import pytest
from helpers import turn

from pytest_llmcall.concurrency import wait


async def test_fails():
    await turn()
    values = [1, 2]
    assert values == [1, 3]


async def test_raises():
    await turn()
    raise ValueError("boom")


@pytest.mark.skip(reason="by mark")
async def test_skipped_by_mark():
    raise AssertionError("never")


@pytest.mark.skipif("True", reason="by condition")
async def test_skipped_by_condition(async_own):
    raise AssertionError("never")


async def test_skips_itself():
    await turn()
    pytest.skip("inside")


@pytest.fixture
async def skipping():
    await turn()
    pytest.skip("in a fixture")


async def test_skipped_by_fixture(skipping):
    raise AssertionError("never")


@pytest.mark.xfail(reason="known")
async def test_xfail():
    await turn()
    raise AssertionError("expected")


@pytest.mark.xfail(raises=ValueError, strict=True)
async def test_xfail_with_another_error():
    await turn()
    raise KeyError("x")


@pytest.mark.xfail(reason="not any more")
async def test_xpass():
    await turn()


@pytest.mark.xfail(strict=True, reason="strictly")
async def test_strict_xpass():
    await turn()


async def test_xfails_itself():
    await turn()
    pytest.xfail("inside")


async def test_fail_without_trace():
    await turn()
    pytest.fail("plainly", pytrace=False)


async def test_exception_group():
    async def child():
        await turn()
        raise ValueError("child")

    async with asyncio.TaskGroup() as group:
        group.create_task(child())


@pytest.mark.parametrize("n", range(3))
async def test_properties(n, record_property, record_xml_attribute):
    record_property("before", n)
    await turn()
    record_property("after", n)


@pytest.mark.parametrize("n", range(4))
def test_sync_tests_wait(n, own, async_own):
    print("before", n)
    assert wait(answer(n)) == n * 2
    print("after", n)
    assert async_own == own


async def answer(n):
    print("inside", n)
    await turn()
    return n * 2


def test_sync_wait_raises():
    async def fails():
        await turn()
        raise ValueError("from the coroutine")

    with pytest.raises(ValueError, match="from the coroutine"):
        wait(fails())


def test_plain_sync():
    print("sync")


def test_asyncio_run_in_a_sync_test(request):
    assert asyncio.run(answer(4)) == 8


async def test_wait_in_a_coroutine_is_an_error():
    with pytest.raises(RuntimeError, match="use `await`"):
        wait(answer(1))


async def test_wait_in_a_thread_is_an_error():
    with pytest.raises(RuntimeError, match="thread"):
        await asyncio.to_thread(wait, answer(1))


@pytest.mark.parametrize("n", range(2))
async def test_cancelled_tasks(n):
    task = asyncio.ensure_future(asyncio.sleep(60))
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await turn()
