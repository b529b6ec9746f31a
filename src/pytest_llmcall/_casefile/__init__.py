"""Case files: from YAML or JSON to cases, or to every problem of the file at once, before anything is asked.

The way of a file: `files` (bytes to nodes, through `yaml_reader` or `json_reader`), `cases` (nodes to cases, with a
reader for each key), `problems` (the codes). Nothing here knows pytest.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pytest_llmcall._casefile.cases import read_cases
from pytest_llmcall._casefile.checks import (
    missing_fixture_problem,
    shadowed_name_problem,
    unknown_check_problem,
    unknown_mark_problem,
)
from pytest_llmcall._casefile.files import read_nodes
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.python_values import read_python_values
from pytest_llmcall.case import Case

__all__ = [
    "Code",
    "load",
    "missing_fixture_problem",
    "read_python_values",
    "shadowed_name_problem",
    "unknown_check_problem",
    "unknown_mark_problem",
]


def load(path: Path, *, fixtures: Collection[str] | None = None) -> tuple[Case, ...]:
    """Return the cases of a file.

    Args:
        path: The file; `.json` is read as JSON, everything else as YAML 1.2.
        fixtures: The names of the fixtures that there are. Without them every name that is not built in becomes a
            `CustomCheck`, for `unknown_check_problem` to judge once the fixtures are known.

    Raises:
        CaseFileError: Something is wrong; lists every problem of the file.
    """
    problems = Problems(path)
    return read_cases(read_nodes(path, problems), problems, fixtures)
