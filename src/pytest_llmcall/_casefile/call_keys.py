"""Readers of the keys that make a Call: conversation, model, tools, schema, files, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pytest_llmcall._casefile.nodes import Node, Scalar, descend, describe, plain
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import check_keys, read_list, read_map, read_number, read_text
from pytest_llmcall.call import Message, WorkFile
from pytest_llmcall.errors import SettingsError
from pytest_llmcall.executors.models import parse_model

TEXT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of messages and system prompt at most. No model reads as much; a larger one is a mistake that costs money."""

_TOOL: Final = re.compile(r"[A-Za-z_*][\w*-]*(\([^\n]+\))?")


def read_prompt(node: Node, problems: Problems) -> tuple[Message, ...] | None:
    """Return the conversation that a prompt alone makes."""
    text = read_text(node, "prompt", problems)
    return None if text is None else (Message(role="user", content=text),)


def read_messages(node: Node, problems: Problems) -> tuple[Message, ...] | None:
    """Return a conversation: user and assistant in turn, the user first and last."""
    items = read_list(node, "messages", problems)
    messages = [_message(item, at, problems) for at, item in enumerate(items)]
    if not items:
        problems.add(Code.MESSAGES, node, "messages must be a list of at least one message")
        return None
    if len(items) % 2 == 0:
        problems.add(Code.MESSAGES, items[-1], "the last message must be the user's: it is what the model answers")
    return tuple(each for each in messages if each is not None)


def _message(node: Node, at: int, problems: Problems) -> Message | None:
    message = read_map(node, "a message", problems)
    if message is None:
        return None
    check_keys(message, "a message", ("role", "content"), problems)
    for key in ("role", "content"):
        if key not in message.entries:
            problems.add(Code.MESSAGES, node, f"a message needs {key!r}; write {{role: user, content: …}}")
            return None
    content = read_text(message.entries["content"], "content", problems)
    role = message.entries["role"]
    wanted = "assistant" if at % 2 else "user"
    found = role.value if isinstance(role, Scalar) else None
    if found == "system":
        problems.add(Code.MESSAGES, role, "a system prompt is no message: write it as `system:` of the case")
    elif found not in ("user", "assistant"):
        problems.add(Code.MESSAGES, role, f"role must be user or assistant, not {describe(role)}")
    elif found != wanted:
        problems.add(Code.MESSAGES, role, f"message {at + 1} must be the {wanted}'s: they take turns, the user first")
    return None if content is None else Message(role="assistant" if at % 2 else "user", content=content)


def read_model(node: Node, problems: Problems) -> str | None:
    """Return a model name that has a meaning."""
    name = read_text(node, "model", problems)
    if name is None:
        return None
    try:
        parse_model(name)
    except SettingsError as error:
        problems.add(Code.MODEL, node, str(error))
    return name


def read_system(node: Node, problems: Problems) -> str | None:
    """Return a system prompt."""
    return read_text(node, "system", problems)


def read_description(node: Node, problems: Problems) -> str | None:
    """Return a description, which may be empty."""
    return read_text(node, "description", problems, may_be_empty=True)


def read_tools(node: Node, problems: Problems) -> tuple[str, ...] | None:
    """Return names of tools and rules on them."""
    names = []
    for item in read_list(node, "tools", problems):
        name = read_text(item, "a tool", problems)
        if name is not None and not _TOOL.fullmatch(name):
            message = f"{name!r} is not a tool; write a name such as Read, or a rule such as Bash(git:*)"
            problems.add(Code.TOOL, item, message)
        names.append(name or "")
    return tuple(names)


def read_schema(node: Node, problems: Problems) -> Mapping[str, Any] | None:
    """Return a JSON Schema that is right in itself."""
    schema = read_map(node, "schema", problems)
    if schema is None:
        return None
    from pytest_llmcall.validators.schemas import schema_problems  # noqa: PLC0415 - jsonschema takes 0.1 s

    value: dict[str, Any] = plain(schema)
    for each in schema_problems(value, formats=False):
        problems.add(Code.SCHEMA, descend(schema, each.path), each.message)
    return value


def read_max_turns(node: Node, problems: Problems) -> int | None:
    """Return a number of turns."""
    value = read_number(node, "max_turns", problems)
    if value is not None and (not isinstance(value, int) or value < 1):
        problems.add(Code.OUT_OF_RANGE, node, f"max_turns must be a whole number of at least 1, not {value}")
        return None
    return None if value is None else int(value)


def read_timeout(node: Node, problems: Problems) -> float | None:
    """Return seconds."""
    value = read_number(node, "timeout", problems)
    if value is not None and value <= 0:
        problems.add(Code.OUT_OF_RANGE, node, f"timeout must be more than 0 seconds, not {value}")
    return value


def read_files(node: Node, problems: Problems) -> tuple[WorkFile, ...] | None:
    """Return the files that the working folder starts with."""
    files = read_map(node, "files", problems)
    if files is None:
        return None
    for path, where in files.keys.items():
        if reason := _path_problem(path, files.entries):
            problems.add(Code.FILES, where, f"the path {path!r} {reason}")
    contents = {
        path: read_text(each, f"the content of {path!r}", problems, may_be_empty=True)
        for path, each in files.entries.items()
    }
    return tuple(WorkFile(path=path, content=content or "") for path, content in contents.items())


def _path_problem(path: str, paths: Mapping[str, Node]) -> str:
    parts = path.split("/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "must be relative to the working folder"
    if ".." in parts:
        return "leaves the working folder"
    if "\\" in path or not path.isprintable():
        return "has a character that does not work on every system; use / between folders"
    if "" in parts or "." in parts:
        return "is not written plainly, like folder/name.txt"
    above = ("/".join(parts[:count]) for count in range(1, len(parts)))
    if folder := next((each for each in above if each in paths), None):
        return f"needs a folder {folder!r}, which is a file here"
    return ""
