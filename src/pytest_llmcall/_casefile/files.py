"""Reads a case file from disk into nodes: its size, its encoding, and which syntax it is in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pytest_llmcall._casefile.json_reader import read_json
from pytest_llmcall._casefile.nodes import Node
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.tree import Tree
from pytest_llmcall._casefile.yaml_reader import read_yaml

FILE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a case file at most; reading YAML takes more than a second for each MB of it."""


def read_nodes(path: Path, problems: Problems) -> Node:
    """Return the top value of a file; `.json` is read as JSON, everything else as YAML.

    Raises:
        CaseFileError: It cannot be read, with what was found up to there.
    """
    text = _text(path, problems)
    tree = Tree(problems)
    if not text.strip():
        problems.fail(Code.EMPTY, 0, 0, "the file is empty; a case file has a list `cases:`")
    (read_json if path.suffix.lower() == ".json" else read_yaml)(text, tree, problems)
    if tree.root is None:
        problems.fail(Code.EMPTY, 0, 0, "the file holds only comments; a case file has a list `cases:`")
    return tree.root


def _text(path: Path, problems: Problems) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        problems.fail(Code.UNREADABLE, 0, 0, f"cannot be read: {error.strerror or error}")
    if len(data) > FILE_LIMIT:
        problems.fail(Code.UNREADABLE, 0, 0, f"is larger than {FILE_LIMIT:,} bytes; make several files of it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Offsets count from after a byte order mark, which `utf-8-sig` takes away before it decodes.
        at = error.start + (len(data) - len(error.object))
        line = data.count(b"\n", 0, at) + 1
        message = f"not UTF-8: byte 0x{data[at]:02x} at offset {at:,} ({error.reason}); save the file as UTF-8"
        problems.fail(Code.NOT_UTF8, line, 0, message)
