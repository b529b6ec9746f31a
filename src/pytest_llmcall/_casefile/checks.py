"""Reads `validate`: built-in validators are made at once, every other name stands for a fixture of that name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pytest_llmcall import validators
from pytest_llmcall._casefile.nodes import MapNode, Node, Scalar, descend, describe, plain
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import read_list
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Problem, Source
from pytest_llmcall.reply import MISSING
from pytest_llmcall.validators.wording import nearest_of
from pytest_llmcall.verdict import Validator

Check = Validator | CustomCheck


def read_checks(node: Node, problems: Problems, fixtures: Collection[str] | None) -> tuple[Check, ...]:
    """Return the validators of a list."""
    checks = (_check(item, problems, fixtures) for item in read_list(node, "validate", problems))
    return tuple(each for each in checks if each is not None)


def unknown_check_problem(check: CustomCheck, known_names: Iterable[str] = ()) -> Problem:
    """Return the problem of a check for which there is neither a built-in validator nor a fixture.

    Args:
        check: The check as the case file names it.
        known_names: Fixtures that could be meant, besides the built-in validators.
    """
    return Problem(check.source, Code.UNKNOWN_VALIDATOR.code, _unknown(check.name, known_names))


def _unknown(name: str, fixtures: Iterable[str]) -> str:
    near = nearest_of(name, (*validators.names(), *fixtures))
    hint = f" Did you mean {near!r}?" if near else ""
    return (
        f"unknown validator {name!r}.{hint} Neither built in ({', '.join(validators.names())}) "
        f"nor a fixture of that name in a conftest"
    )


def shadowed_name_problem(name: str, source: Source) -> Problem:
    """Return the problem of a fixture that has the name of a built-in validator; the source is the fixture's."""
    message = f"the fixture {name!r} has the name of a built-in validator, which it cannot replace; rename it"
    return Problem(source, Code.SHADOWED.code, message)


def missing_fixture_problem(case_id: str, name: str, source: Source) -> Problem:
    """Return the problem of a fixture that a case needs, through its validators or marks, and that does not exist."""
    message = f"case {case_id!r} needs the fixture {name!r}, through a validator or a mark; there is none of that name"
    return Problem(source, Code.UNKNOWN_VALIDATOR.code, message)


def unknown_mark_problem(source: Source, reason: str) -> Problem:
    """Return the problem of a mark that pytest does not accept, in pytest's own words."""
    return Problem(source, Code.MARK.code, f"marks: {reason}")


def _check(node: Node, problems: Problems, fixtures: Collection[str] | None) -> Check | None:
    params: Node | None = None
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip():
        name, where = node.value, node
    elif isinstance(node, MapNode) and len(node.entries) == 1:
        [(name, params)] = node.entries.items()
        where = node.keys[name]
    else:
        problems.add(Code.VALIDATE, node, _not_a_check(node))
        return None
    if name in validators.BUILT_IN:
        return _built_in(name, params, where, problems)
    if not name.isidentifier() or (fixtures is not None and name not in fixtures):
        problems.add(Code.UNKNOWN_VALIDATOR, where, _unknown(name, fixtures or ()))
        return None
    source = Source(problems.path, where.line, where.column)
    return CustomCheck(name=name, params=_custom_params(params), source=source)


def _built_in(name: str, params: Node | None, where: Node, problems: Problems) -> Validator | None:
    try:
        return validators.build(name, MISSING if params is None else plain(params))
    except validators.ParameterError as error:
        for each in error.problems:
            place = _place(name, params, each.path) if params and each.path else where
            problems.add(Code.PARAMETERS, place, f"{name}: {each.message}")
        return None


def _place(name: str, params: Node, path: tuple[str | int, ...]) -> Node:
    short = validators.BUILT_IN[name].short_parameter()
    is_long = isinstance(params, MapNode) and path[0] in params.entries
    return descend(params, path if is_long or path[0] != short else path[1:])


def _custom_params(params: Node | None) -> dict[str, Any]:
    if params is None or (isinstance(params, Scalar) and params.value is None):
        return {}
    value: Any = plain(params)
    return value if isinstance(params, MapNode) else {"value": value}


def _not_a_check(node: Node) -> str:
    shape = "a validator is a name, or one name with its parameters"
    if isinstance(node, MapNode) and len(node.entries) > 1:
        first = next(iter(node.entries))
        listed = ", ".join(node.entries)
        cls = validators.BUILT_IN.get(first)
        short = cls.short_parameter() if cls else None
        if cls and short and set(list(node.entries)[1:]) <= set(cls.parameters()):
            return (
                f"{shape}; options stand beside its value: {{{first}: {{{short}: …, {listed.partition(', ')[2]}: …}}}}"
            )
        return f"{shape}; found {len(node.entries)} in one entry: {listed}. Give each its own `-`"
    is_text = isinstance(node, Scalar) and isinstance(node.value, str)
    return f"{shape}; found {'an empty text' if is_text else describe(node)}"
