"""Structured output of a model that was asked for JSON: parsed, and checked against the schema of the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from pytest_llmcall.errors import ConfigurationError
from pytest_llmcall.executors.litellm_api.answer import NotFittingError

_MOST_ERRORS: Final = 5


class Schema:
    """A JSON Schema that is right in itself. Nothing that it refers to is fetched.

    Raises:
        ConfigurationError: It is wrong.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        plain = dict(schema)
        kind = validator_for(plain, default=Draft202012Validator)
        try:
            kind.check_schema(plain)
        except SchemaError as error:
            raise _wrong(error.message, attempts=0) from error
        self._validator = kind(plain, registry=Registry())

    def data(self, text: str) -> Any:
        """Return the data that a text holds.

        Raises:
            NotFittingError: It holds none that follows the schema.
            ConfigurationError: The schema refers to something that does not exist.
        """
        try:
            data = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise NotFittingError(f"the answer is no JSON: {error}") from error
        try:
            errors = list(self._validator.iter_errors(data))
        except Unresolvable as error:
            raise _wrong(str(error), attempts=1) from error
        if errors:
            listed = [f"{error.json_path}: {error.message}" for error in errors[:_MOST_ERRORS]]
            raise NotFittingError("the answer does not follow the schema: " + "; ".join(listed))
        return data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _wrong(why: str, *, attempts: int) -> ConfigurationError:
    return ConfigurationError(
        "the schema of the call cannot be used",
        scope="call",
        detail=why,
        remedy="make it a valid JSON Schema",
        attempts=attempts,
    )
