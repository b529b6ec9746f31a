"""A check's own copy of a reply: what one check changes, the next one must not see."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_llmcall.reply import Reply


def own_copy(reply: Reply) -> Reply:
    """Return a reply whose parts that can be changed are copies."""
    return replace(
        reply,
        data=copied(reply.data),
        files=dict(reply.files),
        tool_uses=tuple(replace(use, arguments=copied(use.arguments)) for use in reply.tool_uses),
        transcript=tuple(copied(list(reply.transcript))),
    )


def copied(value: Any) -> Any:
    """Return a deep copy of JSON values, however deep they are: `copy.deepcopy` gives up at some 300 levels."""
    whole: dict[Any, Any] = {"": value}
    waiting: list[Any] = [whole]
    # By the original's id, so that a cycle ends; the original is kept, since an id is unique only while it lives.
    made: dict[int, tuple[Any, Any]] = {}
    while waiting:
        container = waiting.pop()
        places = container.items() if isinstance(container, dict) else enumerate(container)
        for place, each in list(places):
            if each is None or isinstance(each, str | int | float):
                continue
            if id(each) not in made:
                own = _shallow(each)
                made[id(each)] = (each, own)
                if isinstance(own, dict | list):
                    waiting.append(own)
            container[place] = made[id(each)][1]
    return whole[""]


def _shallow(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, list) else copy.deepcopy(value)
