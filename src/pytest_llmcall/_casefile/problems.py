"""What can be wrong with a case file: a stable code for each kind, and the collector that reports all at once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NoReturn

from pytest_llmcall._casefile.nodes import Node
from pytest_llmcall.errors import CaseFileError, Problem, Source


class Code(Enum):
    """The codes. They stay the same over releases; docs/case-files.md says more on each."""

    UNREADABLE = ("LC001", "the file cannot be read, or is too large")
    NOT_UTF8 = ("LC002", "the file is not UTF-8")
    SYNTAX = ("LC003", "the file is not YAML or JSON")
    EMPTY = ("LC004", "the file is empty")
    DUPLICATE_KEY = ("LC005", "a key stands twice in one mapping")
    ALIASES = ("LC006", "aliases expand to too much, or to themselves")
    VALUE = ("LC007", "a value that case files do not have")
    TOP = ("LC008", "the top of the file is not a mapping")
    NO_CASES = ("LC009", "there is no list of cases")
    UNKNOWN_KEY = ("LC010", "a key is not known")
    WRONG_TYPE = ("LC011", "a value is not of the right type")
    OUT_OF_RANGE = ("LC012", "a number is out of range")
    BAD_ID = ("LC013", "an id is missing or cannot be used")
    DUPLICATE_ID = ("LC014", "an id stands twice")
    PROMPT = ("LC015", "a case needs exactly one of prompt and messages")
    MESSAGES = ("LC016", "a conversation is not one")
    TOO_LONG = ("LC017", "a case asks with too much text")
    MODEL = ("LC018", "a model name is not known")
    TOOL = ("LC019", "a tool cannot be allowed by that name")
    MCP = ("LC020", "an MCP server cannot be started or reached so")
    EXPANSION = ("LC021", "a variable or placeholder has no value")
    SCHEMA = ("LC022", "a JSON Schema is wrong")
    FILES = ("LC023", "a path leaves the working folder, or cannot be made")
    MARK = ("LC024", "a mark cannot be used so")
    NEED = ("LC025", "a need is not known")
    NOTHING_VALIDATED = ("LC026", "a case validates nothing")
    VALIDATE = ("LC027", "an entry of validate is not a validator")
    PARAMETERS = ("LC028", "the parameters of a validator do not fit")
    UNKNOWN_VALIDATOR = ("LC029", "a validator is not known")
    SHADOWED = ("LC030", "a fixture has the name of a built-in validator")
    FUNCTION = ("LC031", "a function cannot be offered so")
    MODEL_CANNOT = ("LC032", "a case asks what its model cannot do")

    def __init__(self, code: str, meaning: str) -> None:
        self.code = code
        self.meaning = meaning


class Problems:
    """Collects the problems of one file; the same problem, met again through a default or an alias, counts once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[Problem, None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, code: Code, where: Node | None, message: str) -> None:
        """Note a problem at a value, or with the file as a whole."""
        self.add_at(code, where.line if where else 0, where.column if where else 0, message)

    def add_at(self, code: Code, line: int, column: int, message: str) -> None:
        """Note a problem at a line and a column."""
        self._found[Problem(Source(self.path, line, column), code.code, message)] = None

    def fail(self, code: Code, line: int, column: int, message: str) -> NoReturn:
        """Note a problem after which the file cannot be read on, and raise all.

        Raises:
            CaseFileError: Always.
        """
        self.add_at(code, line, column, message)
        raise CaseFileError(tuple(self._found))

    def raise_if_any(self) -> None:
        """Raise what was found.

        Raises:
            CaseFileError: There is a problem.
        """
        if self._found:
            raise CaseFileError(tuple(self._found))
