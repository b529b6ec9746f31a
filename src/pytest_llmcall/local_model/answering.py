"""One turn of the embedded model: text, or one tool use of the right shape.

The small model cannot call tools by itself. Where a tool is due, grammars bind it first to a tool's name, then to
arguments that follow the tool's schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pytest_llmcall.local_model.dialogue import STRUCTURED_OUTPUT, Dialogue, Tool, Turn
from pytest_llmcall.local_model.engine import Engine, Said
from pytest_llmcall.local_model.messages_api import Answer, TextBlock, ToolUseBlock

_MOST_DESCRIPTION: Final = 120


def answer(engine: Engine, dialogue: Dialogue, *, model: str, gone: Callable[[], bool]) -> Answer:
    """Return the model's next turn.

    Raises:
        BadRequest: The model cannot take the request.
        ClientGone: Nobody waits any more.
    """
    if not dialogue.due:
        said = engine.say(dialogue.turns, max_tokens=dialogue.max_tokens, gone=gone, schema=dialogue.schema)
        return _as_answer(said, model=model)
    tool = _choose(engine, dialogue, gone=gone)
    turns = _with_hint(dialogue.turns, tool)
    said = engine.say(turns, max_tokens=dialogue.max_tokens, gone=gone, schema=_arguments_schema(tool))
    if not said.complete:
        return _as_answer(said, model=model)
    spoken = _as_answer(said, model=model)
    return replace(spoken, blocks=(ToolUseBlock(tool.name, json.loads(said.text)),), stop_reason="tool_use")


def _choose(engine: Engine, dialogue: Dialogue, *, gone: Callable[[], bool]) -> Tool:
    if len(dialogue.due) == 1:
        return dialogue.due[0]
    names = [tool.name for tool in dialogue.due]
    # Shown as examples, the small model chose the right tool twice as often as from a list of descriptions.
    examples = [turn for tool in dialogue.due for turn in _example(tool)]
    turns = (Turn(role="system", text="You choose the tool for a request."), *examples, *_spoken(dialogue.turns))
    said = engine.say(turns, max_tokens=dialogue.max_tokens, gone=gone, schema={"enum": names})
    return dialogue.due[names.index(json.loads(said.text))]


def _example(tool: Tool) -> tuple[Turn, Turn]:
    described = tool.description.strip().partition("\n")[0][:_MOST_DESCRIPTION] or tool.name
    return Turn(role="user", text=described), Turn(role="assistant", text=json.dumps(tool.name))


def _spoken(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    return tuple(turn for turn in turns if turn.role != "system")


def _with_hint(turns: tuple[Turn, ...], tool: Tool) -> tuple[Turn, ...]:
    what = "Answer" if tool.name == STRUCTURED_OUTPUT else f"Call {tool.name}"
    keys = ", ".join(tool.schema.get("properties", {}))
    return _with_system(turns, f"{what} with JSON: {keys}" if keys else f"{what} with JSON")


def _with_system(turns: tuple[Turn, ...], text: str) -> tuple[Turn, ...]:
    if turns[0].role == "system":
        return (Turn(role="system", text=f"{turns[0].text}\n{text}"), *turns[1:])
    return (Turn(role="system", text=text), *turns)


def _arguments_schema(tool: Tool) -> dict[str, Any]:
    return {"type": "object"} | dict(tool.schema)


def _as_answer(said: Said, *, model: str) -> Answer:
    return Answer(
        blocks=(TextBlock(said.text),),
        model=model,
        stop_reason="end_turn" if said.complete else "max_tokens",
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
