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
from _pytest.outcomes import OutcomeException
from _pytest.scope import Scope

from pytest_llmcall.concurrency.locks import Locks
from pytest_llmcall.concurrency.parameters import Lives
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
        self._lives = Lives(self._definitions)
        self._shared: dict[Hashable, FixtureDef[Any]] = {}
        self._latest: dict[Hashable, FixtureDef[Any]] = {}
        self._unfinished: set[FixtureDef[Any] | None] = set()
        self._earlier: dict[FixtureDef[Any], FixtureDef[Any]] = {}
        self._users: dict[FixtureDef[Any], set[pytest.Item]] = {}
        self._used_by: dict[pytest.Item, list[FixtureDef[Any]]] = {}
        self._requests: dict[FixtureDef[Any], Any] = {}

    def adopt(self, items: Iterable[pytest.Item]) -> None:
        """Give every item its instances, for the fixtures that it names and for those that it will ask for."""
        for item in items:
            info = getattr(item, "_fixtureinfo", None)
            if info is not None:
                self._lives.plan(item, self._scope_of)
                defs = {
                    name: tuple(self._planned(each, item) for each in found)
                    for name, found in info.name2fixturedefs.items()
                }
                _adopt(item, dataclasses.replace(info, name2fixturedefs=defs))
        self._manager.getfixturedefs = self._getfixturedefs  # type: ignore[method-assign]

    def give_back(self) -> None:
        """Let the fixture manager answer for itself again."""
        self._manager.__dict__.pop("getfixturedefs", None)

    def may_start(self, item: pytest.Item) -> bool:
        """Tell whether the earlier lives of the item's parametrized fixtures are over."""
        return not any(self._earlier.get(instance) in self._unfinished for instance in self._used_by.get(item, ()))

    def _definitions(self, name: str, item: pytest.Item) -> Sequence[FixtureDef[Any]]:
        info = getattr(item, "_fixtureinfo", None)
        known: Sequence[FixtureDef[Any]] | None = None if info is None else info.name2fixturedefs.get(name)
        found = known or self._stock_getfixturedefs(name, item) or ()
        return [getattr(each, _SOURCE, each) for each in found]

    def _scope_of(self, source: FixtureDef[Any], item: pytest.Item) -> Hashable:
        node = _scope_node(source, item)
        return item if node is item else self._visits.of(item, node)

    def _getfixturedefs(self, argname: str, node: Node) -> Sequence[FixtureDef[Any]] | None:
        found = self._stock_getfixturedefs(argname, node)
        if not found or not isinstance(node, pytest.Item):
            return found
        return tuple(self._instance(each, node) for each in found)

    def _planned(self, source: FixtureDef[Any], item: pytest.Item) -> FixtureDef[Any]:
        instance = self._instance(source, item)
        if instance in self._users:
            self._users[instance].add(item)
            self._used_by.setdefault(item, []).append(instance)
        return instance

    def _instance(self, source: FixtureDef[Any], item: pytest.Item) -> FixtureDef[Any]:
        if isinstance(source, _RequestFixtureDef) or hasattr(source, _SOURCE):
            return source
        node = _scope_node(source, item)
        if node is item:
            own = item.stash.setdefault(_OWN, {})
            return own.get(id(source)) or own.setdefault(id(source), _copy_of(source))
        visit, parameters = self._visits.of(item, node), self._lives.parameters(source, item)
        key = (source, visit, parameters)
        instance = self._shared.get(key)
        if instance is None:
            # Of an unparametrized session fixture there is only one: other plugins may keep the original.
            single = node is item.session and not parameters.values
            instance = self._shared[key] = source if single else _copy_of(source)
            self._share(instance)
            if parameters.values:
                self._begin_life(instance, (source, visit, parameters.values))
        return instance

    def _begin_life(self, instance: FixtureDef[Any], of: Hashable) -> None:
        self._users[instance] = set()
        self._unfinished.add(instance)
        if of in self._latest:
            self._earlier[instance] = self._latest[of]
        self._latest[of] = instance

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
        used = self._used_by.pop(item, [])
        for instance in used:
            self._users[instance].discard(item)
        unused = {instance for instance in used if not self._users[instance]}
        errors: list[BaseException] = []
        # In the reverse order of their set-up, as a scope's end would do it.
        for instance in [each for each in reversed(self._requests) if each in unused]:
            try:
                instance.finish(self._requests.pop(instance))
            except (Exception, OutcomeException, SystemExit) as error:
                errors.append(error)
        self._unfinished -= unused
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
