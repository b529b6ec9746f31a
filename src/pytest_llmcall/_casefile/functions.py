"""Reads the `functions` key: tools that are offered to a model through LiteLLM and that nobody runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_llmcall._casefile.nodes import MapNode, Node, descend, plain
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import check_keys, read_list, read_map, read_text

_KEYS: Final = ("name", "description", "parameters")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what every provider takes
_SHAPE: Final = "{name: …, description: …, parameters: a JSON Schema of an object}"


def read_functions(node: Node, problems: Problems) -> tuple[Mapping[str, Any], ...] | None:
    """Return definitions of functions, each with a name of its own."""
    functions = [_function(item, problems) for item in read_list(node, "functions", problems)]
    seen: set[str] = set()
    for name, where in [each for each in functions if each]:
        if name in seen:
            problems.add(Code.FUNCTION, where, f"the function {name!r} is offered twice")
        seen.add(name)
    return tuple(plain(where) for _, where in [each for each in functions if each])


def _function(node: Node, problems: Problems) -> tuple[str, MapNode] | None:
    function = read_map(node, "a function", problems)
    if function is None:
        return None
    check_keys(function, "a function", _KEYS, problems)
    if "name" not in function.entries:
        problems.add(Code.FUNCTION, node, f"a function needs a name; write {_SHAPE}")
        return None
    name = read_text(function.entries["name"], "the name of a function", problems)
    if name is None:
        return None
    if not _NAME.fullmatch(name):
        message = f"the function name {name!r} must be 1 to 64 letters, digits, _ and -"
        problems.add(Code.FUNCTION, function.entries["name"], message)
    if "description" in function.entries:
        read_text(function.entries["description"], f"the description of {name!r}", problems)
    if "parameters" in function.entries:
        _check_parameters(name, function.entries["parameters"], problems)
    return name, function


def _check_parameters(name: str, node: Node, problems: Problems) -> None:
    parameters = read_map(node, f"the parameters of {name!r}", problems)
    if parameters is None:
        return
    from pytest_llmcall.validators.schemas import schema_problems  # noqa: PLC0415 - jsonschema takes 0.1 s

    schema: dict[str, Any] = plain(parameters)
    for each in schema_problems(schema, formats=False):
        problems.add(Code.SCHEMA, descend(parameters, each.path), each.message)
    if schema.get("type") != "object":
        message = f"the parameters of {name!r} must be the JSON Schema of an object: {{type: object, properties: …}}"
        problems.add(Code.FUNCTION, parameters, message)
