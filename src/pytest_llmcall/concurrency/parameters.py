"""The parameters that a shared fixture's value depends on, and how often each value begins anew.

Where two parametrized session fixtures cross, pytest tears one of them down and sets it up again with a value that it
had before. Each unbroken row of items with one value is a life of it, planned from the order of the items.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import pytest
from _pytest.fixtures import FixtureDef

# Returns the definitions of a fixture that an item can request, the closest one last.
Lookup = Callable[[str, pytest.Item], Sequence[FixtureDef[Any]]]


@dataclasses.dataclass(frozen=True)
class _ParamKey:
    """A parameter's value as part of a key; equal values of one type are one parameter, as pytest has it."""

    kind: type
    value: Hashable

    @classmethod
    def of(cls, value: object) -> "_ParamKey":
        """Return the key of a value; what cannot be hashed or compared counts as itself only."""
        try:
            hash(value)
            if bool(value == value) is not True:  # noqa: PLR0124 - NaN and arrays
                return cls(type(value), id(value))
        except Exception:
            return cls(type(value), id(value))
        return cls(type(value), value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What tells one instance of a fixture definition from another.

    Attributes:
        values: the name and value of each parameter.
        lives: for each of them, the how manieth life it is.
    """

    values: tuple[Hashable, ...] = ()
    lives: tuple[int, ...] = ()


NO_PARAMETERS = Parameters()


class Lives:
    """Knows, for each item, the life of each of its parameters' values."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._latest: dict[Hashable, tuple[_ParamKey, int]] = {}
        self._of: dict[pytest.Item, dict[str, int]] = {}

    def plan(self, item: pytest.Item, scope_of: Callable[[FixtureDef[Any], pytest.Item], Hashable]) -> None:
        """Note the next item in the order of the run.

        Args:
            item: the item.
            scope_of: returns what the fixture's value lives as long as.
        """
        lives = self._of[item] = {}
        for name, value in _params(item).items():
            found = self._lookup(name, item)
            if not found:
                continue
            place, key = (found[-1], scope_of(found[-1], item)), _ParamKey.of(value)
            before, life = self._latest.get(place, (key, 0))
            lives[name] = life if before == key else life + 1
            self._latest[place] = key, lives[name]

    def parameters(self, source: FixtureDef[Any], item: pytest.Item) -> Parameters:
        """Return the item's parameters on which a fixture's value depends, itself or through what it requests."""
        params = _params(item)
        if not params:
            return NO_PARAMETERS
        names = sorted(self._closure(source, item) & params.keys())
        lives = self._of.get(item, {})
        return Parameters(
            values=tuple((name, _ParamKey.of(params[name])) for name in names),
            lives=tuple(lives.get(name, 0) for name in names),
        )

    def _closure(self, source: FixtureDef[Any], item: pytest.Item) -> set[str]:
        """Return the names of the fixture and of all that it requests, directly or through others."""
        names = {source.argname}
        todo = list(source.argnames)
        while todo:
            name = todo.pop()
            if name not in names:
                names.add(name)
                todo.extend(_argnames(self._lookup(name, item)))
        return names


def _params(item: pytest.Item) -> dict[str, Any]:
    return getattr(getattr(item, "callspec", None), "params", {})


def _argnames(found: Iterable[FixtureDef[Any]]) -> Iterable[str]:
    return (name for each in found for name in each.argnames)
