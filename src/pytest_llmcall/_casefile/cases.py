"""From the nodes of a file to its cases: defaults, each case's own keys, and what only both together show."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_llmcall._casefile import call_keys
from pytest_llmcall._casefile.checks import read_checks
from pytest_llmcall._casefile.expansion import Expansion, values_for
from pytest_llmcall._casefile.functions import read_functions
from pytest_llmcall._casefile.marks import read_marks, read_needs
from pytest_llmcall._casefile.mcp import fill_servers, read_mcp
from pytest_llmcall._casefile.nodes import ListNode, MapNode, Node, Scalar, describe
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import check_keys, read_text
from pytest_llmcall.call import Call, McpServer
from pytest_llmcall.case import Case
from pytest_llmcall.errors import SettingsError, Source
from pytest_llmcall.executors.models import find_misfit

Reader = Callable[[Node, Problems], Any]
Fixtures = Collection[str] | None

ADDED: Final = ("marks", "needs", "validate")
"""Lists to which the file's defaults are added, the defaults first; every other default is replaced."""

_CONVERSATION: Final = ("prompt", "messages")
_FORBIDDEN_IN_ID: Final = ("::", "[", "]")


def _read_id(node: Node, problems: Problems) -> str | None:
    value = node.value if isinstance(node, Scalar) else None
    if not isinstance(value, str):
        return read_text(node, "id", problems)
    if reason := _id_problem(value):
        problems.add(Code.BAD_ID, node, f"the id {value!r} {reason}")
        return None
    return value


def _id_problem(value: str) -> str:
    if not value or value != value.strip():
        return "must not be empty, and neither start nor end with white space"
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in value):
        return "must be one line without control characters"
    found = [each for each in _FORBIDDEN_IN_ID if each in value]
    return f"must not hold {' or '.join(map(repr, found))}, which mean something in pytest's node ids" if found else ""


READERS: Final[Mapping[str, Reader]] = {
    "id": _read_id,
    "description": call_keys.read_description,
    "model": call_keys.read_model,
    "prompt": call_keys.read_prompt,
    "messages": call_keys.read_messages,
    "system": call_keys.read_system,
    "tools": call_keys.read_tools,
    "functions": read_functions,
    "mcp": read_mcp,
    "schema": call_keys.read_schema,
    "files": call_keys.read_files,
    "max_turns": call_keys.read_max_turns,
    "timeout": call_keys.read_timeout,
    "marks": read_marks,
    "needs": read_needs,
}
KEYS: Final = (*READERS, "validate")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A case before it is known to be right; a value that is wrong is None."""

    node: MapNode
    values: Mapping[str, Any]
    places: Mapping[str, Node]


def read_cases(root: Node, problems: Problems, fixtures: Fixtures) -> tuple[Case, ...]:
    """Return the cases of a file.

    Raises:
        CaseFileError: Something in the file is wrong; lists everything.
    """
    if not isinstance(root, MapNode):
        message = f"the top of a case file must be a mapping with a list `cases:`, not {describe(root)}"
        problems.fail(Code.TOP, root.line, root.column, message)
    drafts = _drafts(root, problems, fixtures)
    _check_ids(drafts, problems)
    servers = [_check(draft, problems) for draft in drafts]
    problems.raise_if_any()
    return tuple(_case(draft, each, problems) for draft, each in zip(drafts, servers, strict=True))


def _drafts(root: MapNode, problems: Problems, fixtures: Fixtures) -> list[_Draft]:
    check_keys(root, "a case file", ("cases", *(key for key in KEYS if key != "id")), problems)
    defaults = {key: value for key, value in _read_values(root, problems, fixtures, {}).items() if key != "id"}
    return [
        _draft(node, root, defaults, problems, fixtures)
        for node in _case_nodes(root, problems)
        if isinstance(node, MapNode)
    ]


def _case_nodes(root: MapNode, problems: Problems) -> list[Node]:
    cases = root.entries.get("cases")
    if cases is None:
        problems.add(Code.NO_CASES, None, "there is no list `cases:`")
        return []
    if not isinstance(cases, ListNode) or not cases.items:
        found = "an empty list" if isinstance(cases, ListNode) else describe(cases)
        problems.add(Code.NO_CASES, cases, f"cases must be a list of at least one case, not {found}")
        return []
    for at, node in enumerate(cases.items, start=1):
        if not isinstance(node, MapNode):
            problems.add(Code.WRONG_TYPE, node, f"case {at} must be a mapping, not {describe(node)}")
    return cases.items


def _draft(node: MapNode, root: MapNode, defaults: Mapping[str, Any], problems: Problems, fixtures: Fixtures) -> _Draft:
    check_keys(node, "a case", KEYS, problems)
    own = _read_values(node, problems, fixtures, root.entries)
    inherited = {key: value for key, value in defaults.items() if key not in node.entries}
    if any(key in node.entries for key in _CONVERSATION):
        inherited = {key: value for key, value in inherited.items() if key not in _CONVERSATION}
    added = {key: (*(defaults.get(key) or ()), *(own.get(key) or ())) for key in ADDED}
    return _Draft(node=node, values=inherited | own | added, places=root.entries | node.entries)


def _read_values(node: MapNode, problems: Problems, fixtures: Fixtures, defaults: Mapping[str, Node]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, each in node.entries.items():
        if isinstance(each, Scalar) and each.value is None and key in defaults and key not in ("id", *ADDED):
            continue  # null takes back a default
        if key == "validate":
            values[key] = read_checks(each, problems, fixtures)
        elif key in READERS:
            values[key] = READERS[key](each, problems)
    return values


def _check_ids(drafts: list[_Draft], problems: Problems) -> None:
    first: dict[str, int] = {}
    for draft in drafts:
        place = draft.node.entries.get("id")
        if place is None:
            problems.add(Code.BAD_ID, draft.node, "a case needs an id")
        elif (name := draft.values.get("id")) in first:
            message = f"the id {name!r} stands twice: in line {first[name]} and in line {place.line}"
            problems.add(Code.DUPLICATE_ID, place, message)
        elif name is not None:
            first[name] = place.line


def _check(draft: _Draft, problems: Problems) -> tuple[McpServer, ...]:
    """Note what only the whole case shows; return its servers, which only the whole case can fill."""
    _check_conversation(draft, problems)
    if not draft.values["validate"] and not _invalid(draft, "validate"):
        message = "nothing is validated, so that any reply would pass; add for example `validate: [not_empty]`"
        problems.add(Code.NOTHING_VALIDATED, draft.places.get("validate", draft.node), message)
    _check_model(draft, problems)
    if (servers := draft.values.get("mcp")) is None:
        return ()
    variables = frozenset(need.removeprefix("env:") for need in draft.values["needs"] if need.startswith("env:"))
    expansion = Expansion(values=values_for(problems.path), may_be_unset=variables)
    return fill_servers(servers, expansion, problems)


def _invalid(draft: _Draft, key: str) -> bool:
    node = draft.places.get(key)
    return node is not None and not (isinstance(node, ListNode) and not node.items)


def _check_conversation(draft: _Draft, problems: Problems) -> None:
    given = [key for key in _CONVERSATION if key in draft.values]
    if len(given) != 1:
        found = "both" if given else "neither"
        message = f"a case needs exactly one of prompt and messages, this one has {found}"
        problems.add(Code.PROMPT, draft.places[given[1]] if given else draft.node, message)
        return
    messages = draft.values[given[0]] or ()
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in _asked(messages, draft.values.get("system")))
    if size > call_keys.TEXT_LIMIT:
        limit = f"{call_keys.TEXT_LIMIT:,} bytes (4 MiB)"
        message = f"messages and system prompt hold {size:,} bytes, more than the {limit} that one case may ask with"
        problems.add(Code.TOO_LONG, draft.places[given[0]], f"{message}; put large material into `files`")


def _check_model(draft: _Draft, problems: Problems) -> None:
    """Note what the case's own model cannot do; of another one, the executor says it."""
    values = draft.values
    asked = {key: values[key] for key in ("model", "tools", "functions", "files", "max_turns") if values.get(key)}
    servers = tuple(McpServer(name=name) for name in values["mcp"].entries) if values.get("mcp") else ()
    try:
        misfit = find_misfit(Call(messages=(), mcp=servers, **asked))
    except SettingsError:
        return  # the name of the model is a problem of its own
    if misfit is not None:
        problems.add(Code.MODEL_CANNOT, draft.places[misfit.key], f"{misfit.reason}; the case asks {values['model']}")


def _asked(messages: tuple[Any, ...], system: str | None) -> Iterator[str]:
    yield from (each.content for each in messages)
    yield system or ""


def _case(draft: _Draft, servers: tuple[McpServer, ...], problems: Problems) -> Case:
    values = draft.values
    call = Call(
        messages=values["prompt"] if "prompt" in values else values["messages"],
        model=values.get("model"),
        system=values.get("system"),
        tools=values.get("tools", ()),
        functions=values.get("functions", ()),
        mcp=servers,
        schema=values.get("schema"),
        files=values.get("files", ()),
        max_turns=values.get("max_turns"),
        timeout=values.get("timeout"),
    )
    return Case(
        id=values["id"],
        call=call,
        source=Source(problems.path, draft.node.line, draft.node.column),
        description=values.get("description") or "",
        checks=values["validate"],
        marks=values["marks"],
        needs=values["needs"],
    )
