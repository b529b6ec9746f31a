"""Reads JSON into nodes: strict JSON, and a line for every value, which the standard library does not keep."""

from __future__ import annotations

import bisect
import json
import re
from typing import Final, NoReturn

from pytest_llmcall._casefile.nodes import Scalar
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.tree import Tree

_PIECE: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]|[^ \t\r\n{}\[\]:,]+')


def read_json(text: str, tree: Tree, problems: Problems) -> None:
    """Build the tree of a JSON text.

    Raises:
        CaseFileError: It is not JSON.
    """
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        problems.fail(Code.SYNTAX, error.lineno, error.colno, f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        problems.fail(Code.SYNTAX, 0, 0, "not readable: nested too deeply")
    except ValueError as error:
        problems.fail(Code.SYNTAX, 0, 0, f"not JSON: {error}")
    _build(text, tree)


def _build(text: str, tree: Tree) -> None:
    # json.loads has found the text to be right, so that the pieces alone tell its structure.
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for match in _PIECE.finditer(text):
        piece, at = match[0], match.start()
        line = bisect.bisect_right(starts, at)
        column = at - starts[line - 1] + 1
        if piece == "{":
            tree.open_map(line, column)
        elif piece == "[":
            tree.open_list(line, column)
        elif piece in "}]":
            tree.close()
        elif piece not in ":,":
            tree.add(Scalar(line=line, column=column, value=json.loads(piece), raw=piece, weight=16 + len(piece)))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
