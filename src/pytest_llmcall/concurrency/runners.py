"""Who runs an item's coroutines and async fixtures: the engine, pytest-asyncio or anyio."""

import inspect
from collections.abc import Collection, Iterator
from typing import Any

import pytest


def runs_elsewhere(item: pytest.Item) -> bool:
    """Tell whether pytest-asyncio or anyio runs the item's coroutine function, if nobody is before them."""
    is_coroutine = inspect.iscoroutinefunction(getattr(item, "obj", None))
    return _is_of_pytest_asyncio(item) or (is_coroutine and "anyio_backend" in _fixture_names(item))


def is_set_up_elsewhere(fixturedef: Any, item: pytest.Item) -> bool:
    """Tell whether pytest-asyncio or anyio sets up an async fixture for a synchronous item."""
    is_theirs = getattr(fixturedef.func, "_force_asyncio_fixture", False) or _asyncio_mode(item.config) == "auto"
    return is_theirs or "anyio_backend" in _fixture_names(item)


def _asyncio_mode(config: pytest.Config) -> object:
    try:
        return config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    except ValueError:  # pytest-asyncio is not there
        return None


def _is_of_pytest_asyncio(item: pytest.Item) -> bool:
    return type(item).__module__.startswith("pytest_asyncio")


def _fixture_names(item: pytest.Item) -> Collection[str]:
    return getattr(item, "fixturenames", ())


def has_loop_of_its_own(item: pytest.Item) -> bool:
    """Tell whether a suite has chosen the loop for this item: then whoever it chose it through must run it."""
    return _overrides_loop_policy(item) or _has_loop_factories(item) or _wants_other_backend(item)


def _definitions(item: pytest.Item, name: str) -> tuple[Any, ...]:
    manager = item.session._fixturemanager  # noqa: SLF001 - there is no public way to a fixture's definitions
    return tuple(manager.getfixturedefs(name, item) or ())


def _overrides_loop_policy(item: pytest.Item) -> bool:
    if not _is_of_pytest_asyncio(item):
        return False
    found = _definitions(item, "event_loop_policy")
    return bool(found) and found[-1].func.__module__ != "pytest_asyncio.plugin"


def _has_loop_factories(item: pytest.Item) -> bool:
    hook = getattr(item.ihook, "pytest_asyncio_loop_factories", None)
    return _is_of_pytest_asyncio(item) and hook is not None and bool(hook.get_hookimpls())


def _wants_other_backend(item: pytest.Item) -> bool:
    if "anyio_backend" not in _fixture_names(item):
        return False
    return any(not _is_plain_asyncio(backend) for backend in _backends(item))


def _backends(item: pytest.Item) -> Iterator[object]:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "anyio_backend" in callspec.params:
        yield callspec.params["anyio_backend"]
        return
    for fixturedef in _definitions(item, "anyio_backend")[-1:]:
        if fixturedef.func.__module__ == "anyio.pytest_plugin":
            return
        # Usually a function that returns a name. What needs fixtures or fails now is not ours to judge.
        try:
            yield fixturedef.func() if not fixturedef.argnames else None
        except Exception:
            yield None


def _is_plain_asyncio(backend: object) -> bool:
    return backend in ("asyncio", ("asyncio", {}))
