"""Reads `marks` and `needs`, which say how pytest treats a case and what must be there for it to make sense."""

from __future__ import annotations

import re
from typing import Any, Final

from pytest_llmcall._casefile.nodes import ListNode, MapNode, Node, Scalar, describe, plain
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import read_list, read_text
from pytest_llmcall.case import Mark
from pytest_llmcall.validators.wording import unknown

_NEEDS: Final = ("tools", "judge", "capable-model", "network")
_NEED_OF: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|command:[^\s/]+|command:/\S+")
_NOT_HERE: Final = {
    "llm": "every case carries it; its settings are keys of the case",
    "parametrize": "write several cases instead",
}
# What pytest's own marks take here, and which of it a bare text gives.
_OWN: Final[dict[str, dict[str, type]]] = {
    "skip": {"reason": str},
    "skipif": {"condition": bool, "reason": str},
    "xfail": {"reason": str, "strict": bool, "run": bool, "condition": bool},
}


def read_needs(node: Node, problems: Problems) -> tuple[str, ...]:
    """Return what must be there."""
    needs = []
    for item in read_list(node, "needs", problems):
        need = read_text(item, "a need", problems)
        if need is not None and need not in _NEEDS and not _NEED_OF.fullmatch(need):
            problems.add(Code.NEED, item, unknown("need", need, (*_NEEDS, "env:NAME", "command:NAME")))
        needs.append(need or "")
    return tuple(needs)


def read_marks(node: Node, problems: Problems) -> tuple[Mark, ...]:
    """Return the marks of a list."""
    marks = (_mark(item, problems) for item in read_list(node, "marks", problems))
    return tuple(each for each in marks if each is not None)


def _mark(node: Node, problems: Problems) -> Mark | None:
    if isinstance(node, MapNode) and len(node.entries) == 1:
        [(name, given)] = node.entries.items()
        where: Node = node.keys[name]
    elif isinstance(node, Scalar) and isinstance(node.value, str):
        name, given, where = node.value, None, node
    else:
        shape = "a mark is a name, or one name with its values: {xfail: {reason: known}}"
        problems.add(Code.MARK, node, f"{shape}; found {describe(node)}")
        return None
    if not name.isidentifier():
        problems.add(Code.MARK, where, f"{name!r} is not the name of a mark")
        return None
    if name in _NOT_HERE:
        problems.add(Code.MARK, where, f"the mark {name!r} cannot stand here: {_NOT_HERE[name]}")
        return None
    return _own_mark(name, given, where, problems) if name in _OWN else _any_mark(name, given)


def _any_mark(name: str, given: Node | None) -> Mark:
    if given is None or (isinstance(given, Scalar) and given.value is None):
        return Mark(name=name)
    value: Any = plain(given)
    if isinstance(given, MapNode):
        return Mark(name=name, kwargs=value)
    return Mark(name=name, args=tuple(value) if isinstance(given, ListNode) else (value,))


def _own_mark(name: str, given: Node | None, where: Node, problems: Problems) -> Mark | None:
    known = _OWN[name]
    if given is None or (isinstance(given, Scalar) and given.value is None):
        values: dict[str, Any] = {}
    elif isinstance(given, MapNode):
        values = plain(given)
    elif isinstance(given, Scalar) and isinstance(given.value, str) and name != "skipif":
        values = {"reason": given.value}
    else:
        problems.add(Code.MARK, given, f"{name} takes {{{', '.join(known)}}}, not {describe(given)}")
        return None
    for key, value in values.items():
        if key not in known:
            problems.add(Code.MARK, where, f"{name}: {unknown('key', key, known)}")
        elif type(value) is not known[key]:
            words = "a text" if known[key] is str else "true or false"
            hint = "; a condition is not evaluated here" if key == "condition" else ""
            problems.add(Code.MARK, where, f"{name}: {key} must be {words}, not {value!r}{hint}")
    if name == "skipif" and set(values) != set(known):
        problems.add(Code.MARK, where, "skipif needs condition (true or false) and reason")
    if name == "xfail" and "condition" in values and "reason" not in values:
        problems.add(Code.MARK, where, "xfail with a condition needs a reason")
    return _with_condition(name, values)


def _with_condition(name: str, values: dict[str, Any]) -> Mark:
    kwargs = {key: value for key, value in values.items() if key != "condition"}
    return Mark(name=name, args=(values["condition"],) if "condition" in values else (), kwargs=kwargs)
