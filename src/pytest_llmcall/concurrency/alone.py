"""Reasons of the engine's own why an item may not overlap with others, each in words for the summary."""

from collections.abc import Collection, Iterator
from typing import Any

import pytest
from _pytest.compat import getlocation
from _pytest.unittest import TestCaseFunction

# What these change is the whole process's, not the test's.
EXCLUSIVE_FIXTURES = frozenset({"capsys", "capsysbinary", "capfd", "capfdbinary", "capteesys", "monkeypatch"})


def reason_to_run_alone(item: pytest.Item, exclusive: Collection[str]) -> str | None:
    """Return why the item runs behind a barrier with pytest's stock protocol, or None if it may overlap.

    Args:
        item: the item.
        exclusive: names of the fixtures that change what belongs to the whole process.
    """
    if isinstance(item, TestCaseFunction):
        return "unittest item"
    if has_loop_of_its_own(item):
        return "event loop of its own"
    names: Collection[str] = getattr(item, "fixturenames", ())
    for name in names:
        if name in exclusive:
            return _where_from(item, name)
    if "subtests" in names and item.config.pluginmanager.has_plugin("pytest_subtests"):
        return "subtests of the plugin pytest-subtests"
    return None


def _where_from(item: pytest.Item, name: str) -> str:
    """Name the fixture, and how the item comes to it unless it asks for it itself."""
    info: Any = getattr(item, "_fixtureinfo", None)
    if info is None or name in info.argnames:
        return name
    for initial in info.initialnames:
        if initial == name:
            return f"{name}, by usefixtures or autouse"
        for fixturedef in info.name2fixturedefs.get(initial, ())[-1:]:
            if name in _closure(fixturedef, info.name2fixturedefs):
                return f"{name}, through {initial} in {_location(item, fixturedef)}"
    return name


def _closure(fixturedef: Any, known: dict[str, Any]) -> set[str]:
    names: set[str] = set()
    todo = list(fixturedef.argnames)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo.extend(argname for each in known.get(name, ()) for argname in each.argnames)
    return names


def _location(item: pytest.Item, fixturedef: Any) -> str:
    return str(getlocation(fixturedef.func, str(item.config.rootpath)))


def has_loop_of_its_own(item: pytest.Item) -> bool:
    """Tell whether a suite has chosen the loop for this item: then whoever it chose it through must run it."""
    return _overrides_loop_policy(item) or _has_loop_factories(item) or _wants_other_backend(item)


def _definitions(item: pytest.Item, name: str) -> tuple[Any, ...]:
    manager = item.session._fixturemanager  # noqa: SLF001 - there is no public way to a fixture's definitions
    return tuple(manager.getfixturedefs(name, item) or ())


def _overrides_loop_policy(item: pytest.Item) -> bool:
    if not type(item).__module__.startswith("pytest_asyncio"):
        return False
    found = _definitions(item, "event_loop_policy")
    return bool(found) and found[-1].func.__module__ != "pytest_asyncio.plugin"


def _has_loop_factories(item: pytest.Item) -> bool:
    hook = getattr(item.ihook, "pytest_asyncio_loop_factories", None)
    return type(item).__module__.startswith("pytest_asyncio") and hook is not None and bool(hook.get_hookimpls())


def _wants_other_backend(item: pytest.Item) -> bool:
    if "anyio_backend" not in getattr(item, "fixturenames", ()):
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
