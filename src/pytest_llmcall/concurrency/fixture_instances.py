"""One FixtureDef object per fixture instance: per definition, visit of the scope node and parameters.

pytest keeps a fixture's value on its one FixtureDef and lets the next item overwrite it. Items that overlap need the
values side by side, else one test is handed the fixture of another.
"""

import dataclasses
from collections.abc import Hashable, Iterable, Sequence
from types import MethodType
from typing import Any, cast

import pytest
from _pytest import fixtures
from _pytest.fixtures import FixtureDef, get_scope_node, get_scope_package
from _pytest.nodes import Node
from _pytest.scope import Scope

from pytest_llmcall.concurrency.locks import Locks
from pytest_llmcall.concurrency.shared_context import SharedContext
from pytest_llmcall.concurrency.tracebacks import hide
from pytest_llmcall.concurrency.visits import Visits

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide

# pytest 8 has no such class; there the fixture "request" is no FixtureDef at all.
_RequestFixtureDef: type[Any] = getattr(fixtures, "RequestFixtureDef", type(None))
_OWN = pytest.StashKey[dict[int, FixtureDef[Any]]]()
_SOURCE = "_lanes_source"


class FixtureInstances:
    """Hands each item the instances that are its own."""

    def __init__(self, session: pytest.Session, locks: Locks, visits: Visits) -> None:
        self._visits = visits
        self._manager = session._fixturemanager  # noqa: SLF001 - there is no public way to a fixture's definitions
        self._stock_getfixturedefs = self._manager.getfixturedefs
        self._locks = locks
        self._shared: dict[Hashable, FixtureDef[Any]] = {}
        self._users: dict[FixtureDef[Any], set[pytest.Item]] = {}
        self._used_by: dict[pytest.Item, list[FixtureDef[Any]]] = {}
        self._requests: dict[FixtureDef[Any], Any] = {}

    def adopt(self, items: Iterable[pytest.Item]) -> None:
        """Give every item its instances, for the fixtures that it names and for those that it will ask for."""
        for item in items:
            info = getattr(item, "_fixtureinfo", None)
            if info is not None:
                defs = {
                    name: tuple(self._instance(each, item, info.name2fixturedefs) for each in found)
                    for name, found in info.name2fixturedefs.items()
                }
                _adopt(item, dataclasses.replace(info, name2fixturedefs=defs))
        self._manager.getfixturedefs = self._getfixturedefs  # type: ignore[method-assign]

    def give_back(self) -> None:
        """Let the fixture manager answer for itself again."""
        self._manager.__dict__.pop("getfixturedefs", None)

    def _getfixturedefs(self, argname: str, node: Node) -> Sequence[FixtureDef[Any]] | None:
        found = self._stock_getfixturedefs(argname, node)
        if not found or not isinstance(node, pytest.Item):
            return found
        known = getattr(node, "_fixtureinfo", None)
        return tuple(self._instance(each, node, known.name2fixturedefs if known else {}) for each in found)

    def _instance(self, source: FixtureDef[Any], item: pytest.Item, known: dict[str, Any]) -> FixtureDef[Any]:
        if isinstance(source, _RequestFixtureDef) or hasattr(source, _SOURCE):
            return source
        node = _scope_node(source, item)
        if node is item:
            own = item.stash.setdefault(_OWN, {})
            return own.get(id(source)) or own.setdefault(id(source), _copy_of(source))
        params = _params_of(source, item, known)
        key = (source, self._visits.of(item, node), params)
        instance = self._shared.get(key)
        if instance is None:
            # Of an unparametrized session fixture there is only one: other plugins may keep the original.
            instance = source if node is item.session and not params else _copy_of(source)
            self._share(instance)
            self._shared[key] = instance
        if params:
            self._users.setdefault(instance, set()).add(item)
            self._used_by.setdefault(item, []).append(instance)
        return instance

    def _share(self, instance: FixtureDef[Any]) -> None:
        locks = self._locks
        context = SharedContext()

        def execute(self: FixtureDef[Any], request: Any) -> Any:
            if self.cached_result is not None and not locks.is_held(self):
                context.show()
                return FixtureDef.execute(self, request)
            with locks.hold(self, f"the set-up of fixture {self.argname!r}"):
                if self.cached_result is not None:
                    context.show()
                    return FixtureDef.execute(self, request)
                return context.set_up(FixtureDef.execute, self, request)

        def finish(self: FixtureDef[Any], request: Any) -> None:
            if self.cached_result is not None:
                context.tear_down(FixtureDef.finish, self, request)

        instance.execute = MethodType(execute, instance)  # type: ignore[method-assign]
        instance.finish = MethodType(finish, instance)  # type: ignore[method-assign]

    def requested(self, instance: FixtureDef[Any], request: Any) -> None:
        """Keep the request that an instance was made for: pytest finishes instances with one."""
        if instance in self._users:
            self._requests[instance] = request

    def release(self, item: pytest.Item) -> None:
        """Finish the parametrized instances that no other item needs any more.

        Raises:
            BaseException: what their teardown raised.
        """
        errors: list[BaseException] = []
        for instance in self._used_by.pop(item, []):
            users = self._users[instance]
            users.discard(item)
            request = None if users else self._requests.pop(instance, None)
            if request is not None:
                try:
                    instance.finish(request)
                except Exception as error:
                    errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("errors while tearing down parametrized fixtures", errors[::-1])


def _adopt(item: Any, info: Any) -> None:
    # An item's request reads its definitions when it is made.
    item._fixtureinfo = info  # noqa: SLF001
    item._initrequest()  # noqa: SLF001


def _copy_of(source: FixtureDef[Any]) -> FixtureDef[Any]:
    # What copy.copy() does in three times the time; there is a copy for each item and fixture.
    fresh: Any = object.__new__(type(source))
    fresh.__dict__.update(source.__dict__)
    fresh.__dict__.pop("execute", None)
    fresh.__dict__.pop("finish", None)
    fresh.cached_result = None
    fresh._finalizers = []  # noqa: SLF001 - a copy must not share the list
    fresh.__dict__[_SOURCE] = source
    return cast("FixtureDef[Any]", fresh)


def _scope_node(source: FixtureDef[Any], item: pytest.Item) -> Node:
    scope = source._scope  # noqa: SLF001 - the public `scope` is only its name
    callspec = getattr(item, "callspec", None)
    if callspec is not None and source.argname in callspec.params:
        scope = callspec._arg2scope.get(source.argname, scope)  # noqa: SLF001 - parametrize(scope=...) counts
    if scope is Scope.Function:
        return item
    if scope is Scope.Package:
        return get_scope_package(item, source) or item
    return get_scope_node(item, scope) or item


def _params_of(source: FixtureDef[Any], item: pytest.Item, known: dict[str, Any]) -> tuple[Hashable, ...]:
    """Return the parameters of the item that the fixture's value depends on, itself or through what it requests."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or not callspec.params:
        return ()
    names = sorted(_closure(source, known) & callspec.params.keys())
    return tuple((name, _ParamKey.of(callspec.params[name])) for name in names)


def _closure(source: FixtureDef[Any], known: dict[str, Any]) -> set[str]:
    """Return the names of the fixture and of all that it requests, directly or through others."""
    names = {source.argname}
    todo = list(source.argnames)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo.extend(argname for each in known.get(name, ()) for argname in each.argnames)
    return names


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
