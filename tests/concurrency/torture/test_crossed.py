# ruff: noqa: ANN001, ANN201, ANN202, ARG002
# mypy: ignore-errors
"""Parametrized fixtures of every scope that cross: each value lives as often as without lanes."""

import pytest
from helpers import event, turn


def fixture_of(name, scope, params):
    @pytest.fixture(scope=scope, params=params, name=name)
    async def made(request):
        event(f"{name}[{request.param}]", f"up, {request.param_index}")
        await turn()
        yield request.param
        await turn()
        event(f"{name}[{request.param}]", "down")

    return made


session_a = fixture_of("session_a", "session", [1, 2])
session_b = fixture_of("session_b", "session", ["x", "y"])
module_c = fixture_of("module_c", "module", ["c1", "c2"])
class_d = fixture_of("class_d", "class", ["d1", "d2"])


@pytest.fixture(params=["f1", "f2"])
async def function_e(request, session_a):
    event(f"function_e:{request.node.nodeid}", f"up with {session_a}")
    await turn()
    yield request.param
    event(f"function_e:{request.node.nodeid}", "down")


@pytest.fixture(scope="session")
async def over_a(session_a):
    event(f"over_a({session_a})", "up")
    await turn()
    yield session_a * 10
    event(f"over_a({session_a})", "down")


@pytest.fixture(scope="module")
def over_both(over_a, session_b):
    event(f"over_both({over_a}, {session_b})", "up")
    yield f"{over_a}{session_b}"
    event(f"over_both({over_a}, {session_b})", "down")


@pytest.fixture(scope="session")
def late_over_a(over_a):
    event(f"late_over_a({over_a})", "up")
    yield over_a + 1
    event(f"late_over_a({over_a})", "down")


async def test_crossed(session_a, session_b):
    await turn()


async def test_crossed_again(session_a, session_b, over_a):
    await turn()
    assert over_a == session_a * 10


async def test_one_of_them(session_b):
    await turn()


async def test_over_both(session_a, session_b, over_both):
    await turn()
    assert over_both == f"{session_a * 10}{session_b}"


async def test_with_the_module(session_a, module_c, over_a):
    await turn()
    assert over_a == session_a * 10


def test_requests_late(session_a, request):
    assert request.getfixturevalue("late_over_a") == session_a * 10 + 1


class TestClass:
    async def test_class(self, class_d, module_c):
        await turn()

    async def test_function(self, class_d, function_e, session_b):
        await turn()

    def test_late(self, class_d, request):
        assert request.getfixturevalue("class_d") == class_d


@pytest.fixture(scope="session")
async def indirect(request):
    event(f"indirect[{request.param}]", "up")
    await turn()
    yield request.param * 10
    event(f"indirect[{request.param}]", "down")


@pytest.fixture(scope="module")
def over_indirect(indirect, plain):
    event(f"over_indirect({indirect}, {plain})", "up")
    yield f"{indirect}{plain}"
    event(f"over_indirect({indirect}, {plain})", "down")


@pytest.mark.parametrize("indirect", [2, 3], indirect=True, scope="module")
@pytest.mark.parametrize("plain", ["p", "q"], scope="module")
async def test_parametrized_with_a_scope(indirect, plain, over_indirect):
    await turn()
    assert over_indirect == f"{indirect}{plain}"


@pytest.mark.parametrize("plain", ["q", "p"], scope="module")
@pytest.mark.parametrize("indirect", [3, 2], indirect=True, scope="module")
async def test_parametrized_the_other_way_round(indirect, plain, over_indirect):
    await turn()
    assert over_indirect == f"{indirect}{plain}"


async def test_last(function_e, session_a):
    await turn()
