# ruff: noqa: ANN001, ANN201, ANN202, ANN206, ARG002, PT012, PT021, T201
# mypy: ignore-errors
"""Fixtures that fail, skip and xfail, alone and for many, on the way up and on the way down."""

import asyncio

import pytest
from helpers import event, turn


@pytest.fixture(scope="session")
async def broken_session():
    event("broken_session", "up")
    await turn()
    raise LookupError("broken session")


@pytest.fixture(scope="module")
def broken_module():
    event("broken_module", "up")
    raise LookupError("broken module")


@pytest.fixture(scope="module")
async def over_broken(broken_module):
    event("over_broken", "never")


@pytest.fixture(scope="class")
async def broken_class(request):
    event(f"broken_class of {request.cls.__name__}", "up")
    await turn()
    raise LookupError("broken class")


@pytest.mark.parametrize("n", range(4))
async def test_broken_session(broken_session, n):
    raise AssertionError("never")


@pytest.mark.parametrize("n", range(4))
async def test_over_broken_module(over_broken, n):
    raise AssertionError("never")


def test_broken_requested_late(request):
    with pytest.raises(LookupError, match="broken module"):
        request.getfixturevalue("over_broken")


class TestBroken:
    async def test_one(self, broken_class):
        raise AssertionError("never")

    async def test_two(self, broken_class):
        raise AssertionError("never")


class TestBrokenAgain(TestBroken):
    pass


@pytest.fixture(scope="module")
async def skips_all():
    event("skips_all", "up")
    await turn()
    pytest.skip("not today")


@pytest.fixture(scope="module")
async def xfails_all():
    event("xfails_all", "up")
    await turn()
    pytest.xfail("not yet")


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.xfail(reason="two")), 3])
async def some_xfail(request):
    await turn()
    assert request.param != 2
    if request.param == 3:
        pytest.skip("three")
    return request.param


@pytest.mark.parametrize("n", range(3))
async def test_skipped_by_a_shared_fixture(skips_all, n):
    raise AssertionError("never")


@pytest.mark.parametrize("n", range(3))
async def test_xfailed_by_a_shared_fixture(xfails_all, n):
    raise AssertionError("never")


async def test_parameters_with_marks(some_xfail):
    await turn()


@pytest.mark.xfail(reason="its fixture")
async def test_xfail_covers_a_broken_set_up(broken_class):
    raise AssertionError("never")


@pytest.fixture
async def fails_down(request):
    event(f"fails_down:{request.node.nodeid}", "up")
    yield
    await turn()
    print("fails_down")
    event(f"fails_down:{request.node.nodeid}", "down")
    raise LookupError("down")


@pytest.fixture
def fails_down_too(request, fails_down):
    def first():
        event(f"fails_down_too:{request.node.nodeid}", "first")
        raise ValueError("first")

    def second():
        event(f"fails_down_too:{request.node.nodeid}", "second")
        raise LookupError("second")

    request.addfinalizer(first)
    request.addfinalizer(second)
    yield
    event(f"fails_down_too:{request.node.nodeid}", "down")


@pytest.mark.parametrize("n", range(3))
async def test_teardown_fails(fails_down, n):
    await turn()


@pytest.mark.parametrize("n", range(3))
async def test_several_teardowns_fail(fails_down_too, n):
    await turn()
    assert n != 1


@pytest.mark.xfail(reason="the body")
async def test_xfail_does_not_cover_a_teardown(fails_down):
    await turn()
    raise AssertionError("expected")


@pytest.fixture(scope="class")
async def class_fails_down(request):
    event(f"class_fails_down of {request.cls.__name__}", "up")
    yield
    await turn()
    event(f"class_fails_down of {request.cls.__name__}", "down")


class TestDown:
    async def test_one(self, class_fails_down):
        await turn()

    @pytest.mark.parametrize("n", range(3))
    async def test_two(self, class_fails_down, n):
        await turn()


class TestTeardownClassFails:
    @classmethod
    def teardown_class(cls):
        event("teardown_class", "fails")
        raise LookupError("teardown_class")

    async def test_only(self):
        await turn()


@pytest.fixture
async def fails_down_plainly():
    yield
    await turn()
    pytest.fail("plainly", pytrace=False)


async def test_fails_in_its_teardown(fails_down_plainly):
    await turn()


@pytest.fixture
async def skips_down():
    yield
    await turn()
    pytest.skip("too late")


async def test_skips_in_its_teardown(skips_down):
    await turn()


async def test_group_of_errors():
    async def child(n):
        await turn()
        raise ValueError(n)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for n in range(2):
                group.create_task(child(n))
    assert caught.value.exceptions
