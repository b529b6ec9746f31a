# ruff: noqa: ANN001, ANN201, PT021, T201
# mypy: ignore-errors
import asyncio

import pytest
from helpers import VAR, event, turn


@pytest.fixture(scope="module", params=["a", "b"])
def module_param(request):
    event(f"module_param[{request.param}]", "up")
    yield request.param
    event(f"module_param[{request.param}]", "down")


@pytest.fixture(scope="module")
def over_module_param(module_param):
    event(f"over_module_param({module_param})", "up")
    yield module_param * 2
    event(f"over_module_param({module_param})", "down")


@pytest.fixture(scope="module")
async def async_over_module_param(over_module_param):
    event(f"async_over_module_param({over_module_param})", "up")
    await turn()
    yield over_module_param * 2
    await turn()
    event(f"async_over_module_param({over_module_param})", "down")


@pytest.fixture(scope="module")
async def async_module():
    event("async_module", "up")
    await turn()
    async with asyncio.timeout(60):
        yield []
    event("async_module", "down")


@pytest.fixture
def named(request):
    return request.param * 10


@pytest.fixture
def final(request):
    request.addfinalizer(lambda: event(f"final:{request.node.nodeid}", "two"))
    request.addfinalizer(lambda: event(f"final:{request.node.nodeid}", "one"))


@pytest.mark.parametrize("n", range(4))
async def test_own_fixtures_are_the_tests_own(own, async_own, async_value, n, request):
    await turn()
    assert own == async_own == async_value == request.node.name == f"test_own_fixtures_are_the_tests_own[{n}]"


@pytest.mark.parametrize("n", range(3))
async def test_shared_fixture_is_set_up_once(async_session_thing, session_thing, async_module, n):
    async_module.append(n)
    await turn()
    assert async_session_thing is session_thing


@pytest.mark.parametrize("n", range(3))
async def test_dependents_follow_the_parameter(module_param, over_module_param, async_over_module_param, n):
    await turn()
    assert over_module_param == module_param * 2
    assert async_over_module_param == module_param * 4


@pytest.mark.parametrize("named", [1, 2, 3], indirect=True)
async def test_indirect(named, request):
    await turn()
    assert named == request.node.callspec.params["named"] * 10


def test_dynamic_sync(request):
    assert request.getfixturevalue("own") == request.node.name
    assert request.getfixturevalue("async_own") == request.node.name
    assert request.getfixturevalue("async_session_thing")["kind"] == "session"


@pytest.mark.parametrize("n", range(2))
async def test_finalizers_run_in_order(final, n):
    await turn()


@pytest.fixture(scope="module")
def sets_variable():
    token = VAR.set("module")
    event("sets_variable", "up")
    yield
    VAR.reset(token)
    event("sets_variable", "down")


@pytest.fixture
async def async_sets_variable(request):
    before = VAR.get()
    VAR.set(request.node.name)
    await turn()
    yield before
    event(f"async_sets_variable:{request.node.nodeid}", VAR.get() == request.node.name)


@pytest.mark.parametrize("n", range(3))
async def test_variables_of_a_shared_fixture_reach_all(sets_variable, n):
    await turn()
    assert VAR.get() == "module"


@pytest.mark.parametrize("n", range(3))
async def test_variables_of_an_async_fixture_reach_the_test(async_sets_variable, request, n):
    assert VAR.get() == request.node.name
    VAR.set("changed")
    await turn()
    assert VAR.get() == "changed"


@pytest.fixture
def broken():
    print("before it broke")
    raise LookupError("broken set-up")


@pytest.fixture(scope="module")
async def async_broken_module():
    event("async_broken_module", "up")
    await turn()
    raise LookupError("broken module set-up")


@pytest.fixture
async def breaks_down():
    yield 1
    await turn()
    print("about to break down")
    raise LookupError("broken teardown")


async def test_broken_setup(broken):
    raise AssertionError("never")


@pytest.mark.parametrize("n", range(2))
async def test_broken_shared_setup_is_tried_once(async_broken_module, n):
    raise AssertionError("never")


async def test_broken_teardown(breaks_down):
    await turn()


async def test_missing_fixture(no_such_fixture):
    raise AssertionError("never")


async def test_tmp_path(tmp_path, tmp_path_factory):
    (tmp_path / "x").write_text("1")
    await turn()
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert tmp_path_factory.getbasetemp() in tmp_path.parents
