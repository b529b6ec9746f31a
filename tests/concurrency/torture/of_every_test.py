# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
"""Fixtures of every test of the torture tree, and what each test sees of itself."""

import helpers
import pytest

NODE_ID = pytest.StashKey()


def seen_of(request):
    node = request.node
    callspec = getattr(node, "callspec", None)
    return {
        "fixtures": [name for name in request.fixturenames if name not in helpers.THEIRS],
        "own markers": [mark.name for mark in node.own_markers if mark.name not in helpers.THEIRS],
        "markers": [mark.name for mark in node.iter_markers() if mark.name not in helpers.THEIRS],
        "keywords": sorted(set(node.keywords) - helpers.THEIRS),
        "chain": [each.nodeid for each in node.listchain()],
        "params": sorted(map(str, callspec.params.items())) if callspec else None,
        "function": [request.function.__name__, request.cls and request.cls.__name__, request.module.__name__],
        "fixture": [request.fixturename, request.scope],
        "stash": node.stash.get(NODE_ID, None),
        "funcargs": sorted(name for name in node.funcargs if name not in helpers.THEIRS),
    }


@pytest.fixture(autouse=True)
def seen(request):
    helpers.event(f"seen:{request.node.nodeid}", seen_of(request))
    request.node.stash[NODE_ID] = request.node.nodeid
    yield
    assert request.node.stash[NODE_ID] == request.node.nodeid


@pytest.fixture(autouse=True, scope="class")
async def always_for_the_class(request):
    helpers.event(f"class:{request.node.nodeid}", f"up, {isinstance(request.node, pytest.Class)}")
    await helpers.turn()
    yield
    await helpers.turn()
    helpers.event(f"class:{request.node.nodeid}", "down")
