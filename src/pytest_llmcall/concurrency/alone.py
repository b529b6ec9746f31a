"""Reasons of the engine's own why an item may not overlap with others, each in words for the summary."""

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from _pytest.unittest import TestCaseFunction

from pytest_llmcall.concurrency.runners import has_loop_of_its_own

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
    asked = {arg for mark in item.iter_markers("usefixtures") for arg in mark.args}
    for initial in info.initialnames:
        found = info.name2fixturedefs.get(initial, ())[-1:]
        for fixturedef in found:
            if name != initial and name not in _closure(fixturedef, info.name2fixturedefs):
                continue
            if initial not in info.argnames and initial not in asked:
                return f"{name}, autouse in {_location(item, fixturedef)}"
            return name if name == initial else f"{name}, through {initial} in {_location(item, fixturedef)}"
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
    """Return the place of the fixture's `def`, or of its decorator, relative to the root folder."""
    function = inspect.unwrap(getattr(fixturedef.func, "__func__", fixturedef.func))
    code = getattr(function, "__code__", None)
    if code is None:
        return str(function)
    path = Path(code.co_filename)
    root = item.config.rootpath
    return f"{path.relative_to(root) if path.is_relative_to(root) else path}:{code.co_firstlineno}"
