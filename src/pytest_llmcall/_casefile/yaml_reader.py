"""Reads YAML into nodes by the core schema of YAML 1.2: `yes` and `12:30` are texts, and no tag makes objects.

It works on ruamel.yaml's events, since its constructors follow more than the core schema (dates, merge keys).
"""

from __future__ import annotations

import re
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from pytest_llmcall._casefile.nodes import Node, Scalar
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.tree import SURROGATE, Tree

_PREFIX: Final = "tag:yaml.org,2002:"
_NULL: Final = re.compile(r"null|Null|NULL|~|")
_TRUE: Final = re.compile(r"true|True|TRUE")
_FALSE: Final = re.compile(r"false|False|FALSE")
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY: Final = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)")
_NAN: Final = re.compile(r"\.nan|\.NaN|\.NAN")


def read_yaml(text: str, tree: Tree, problems: Problems) -> None:
    """Build the tree of a YAML text.

    Raises:
        CaseFileError: It is not YAML, or goes beyond the core schema in its structure.
    """
    try:
        reader = _Reader(tree, problems)
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except MarkedYAMLError as error:
        line, column = _position(error)
        context = f" ({error.context})" if error.context else ""
        problems.fail(Code.SYNTAX, line, column, f"not YAML: {error.problem}{context} at column {column}")
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.fail(Code.SYNTAX, line, 0, f"not YAML: {chr(error.character)!r} may not stand in a file")
    except (YAMLError, ValueError, OverflowError) as error:
        problems.fail(Code.SYNTAX, 0, 0, f"not YAML: {error}")


class _Reader:
    """Turns events into a tree; knows the anchors."""

    def __init__(self, tree: Tree, problems: Problems) -> None:
        self._tree = tree
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: Event) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, DocumentStartEvent):
            self._start_document(event, line)
        elif isinstance(event, AliasEvent):
            self._tree.add(self._aliased(event, line, column))
        elif isinstance(event, ScalarEvent):
            node = self._scalar(event, line, column)
            self._anchor(event, node)
            self._tree.add(node)
        elif isinstance(event, MappingStartEvent):
            self._check_tag(event, "map", line, column)
            self._anchor(event, self._tree.open_map(line, column))
        elif isinstance(event, SequenceStartEvent):
            self._check_tag(event, "seq", line, column)
            self._anchor(event, self._tree.open_list(line, column))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._tree.close()

    def _start_document(self, event: DocumentStartEvent, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            self._problems.fail(Code.SYNTAX, line, 0, "a second document starts here; a case file is one document")
        if event.version not in (None, (1, 2)):
            version = ".".join(map(str, event.version))
            self._problems.fail(Code.SYNTAX, line, 0, f"the file says YAML {version}; case files are YAML 1.2")

    def _anchor(self, event: NodeEvent, node: Node) -> None:
        if event.anchor:
            self._anchors[event.anchor] = node

    def _aliased(self, event: AliasEvent, line: int, column: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            self._problems.fail(
                Code.SYNTAX, line, column, f"not YAML: the alias *{event.anchor} has no anchor before it"
            )
        if self._tree.is_open(node):
            self._problems.fail(Code.ALIASES, line, column, f"the alias *{event.anchor} stands inside its own anchor")
        return node

    def _check_tag(self, event: MappingStartEvent | SequenceStartEvent, wanted: str, line: int, column: int) -> None:
        if event.tag not in (None, "!", _PREFIX + wanted):
            self._unknown_tag(event.tag, line, column)

    def _unknown_tag(self, tag: str, line: int, column: int) -> None:
        shown = tag.replace(_PREFIX, "!!")
        self._problems.add_at(Code.VALUE, line, column, f"the tag {shown!r} does not fit here; case files need no tags")

    def _scalar(self, event: ScalarEvent, line: int, column: int) -> Scalar:
        raw = _joined(event.value)
        try:
            value = core_value(raw) if event.tag is None and event.implicit[0] else raw
            if event.tag not in (None, "!", f"{_PREFIX}str"):
                value = core_value(raw)
                if event.tag not in _TAGS.get(type(value), ()):
                    self._unknown_tag(event.tag, line, column)
        except ValueError as error:
            self._problems.add_at(Code.VALUE, line, column, f"not a number that can be read: {error}")
            value = raw
        return Scalar(line=line, column=column, value=value, raw=raw, weight=16 + len(raw))


_TAGS: Final = {
    type(None): (f"{_PREFIX}null",),
    bool: (f"{_PREFIX}bool",),
    int: (f"{_PREFIX}int", f"{_PREFIX}float"),
    float: (f"{_PREFIX}float",),
}


def core_value(raw: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in the core schema of YAML 1.2."""
    if _NULL.fullmatch(raw):
        return None
    if _TRUE.fullmatch(raw) or _FALSE.fullmatch(raw):
        return raw[0] in "tT"
    if _INTEGER.fullmatch(raw):
        return int(raw)
    if _OCTAL.fullmatch(raw) or _HEXADECIMAL.fullmatch(raw):
        return int(raw[2:], 8 if raw[1] == "o" else 16)
    if _FLOAT.fullmatch(raw) or _INFINITY.fullmatch(raw) or _NAN.fullmatch(raw):
        return float(raw.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return raw


def _joined(text: str) -> str:
    """Return a text with escaped surrogate pairs joined, as JSON has them; a lone half stays and is found later."""
    if not SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _position(error: MarkedYAMLError) -> tuple[int, int]:
    mark = error.problem_mark or error.context_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)
