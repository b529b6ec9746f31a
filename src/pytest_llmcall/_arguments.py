"""What a Python test asks with: the arguments of `llm(…)` and of its mark, checked and made into a Call.

The rules are those of case files. Knows no pytest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pytest_llmcall import _casefile
from pytest_llmcall.call import Call
from pytest_llmcall.errors import Misuse
from pytest_llmcall.validators.wording import unknown

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

DEFAULT_KEYS: Final = ("model", "system", "tools", "functions", "mcp", "schema", "files", "max_turns", "timeout")
"""What both a call and a mark may say; a call overrides its test's mark."""

MARK_KEYS: Final = (*DEFAULT_KEYS, "needs", "exclusive")


def read_mark(
    args: Sequence[object], kwargs: Mapping[str, object], *, path: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what one `llm` mark says, and what is wrong with it.

    Args:
        args: Its positional arguments; it takes none.
        kwargs: Its keywords.
        path: The file of the test.
    """
    problems = [f"takes keywords only, found {each!r:.80}" for each in args]
    problems += [unknown("keyword", key, MARK_KEYS) for key in kwargs if key not in MARK_KEYS]
    exclusive = kwargs.get("exclusive", False)
    if not isinstance(exclusive, bool):
        problems.append(f"exclusive must be True or False, not {exclusive!r:.80}")
    known = {key: value for key, value in kwargs.items() if key in MARK_KEYS and key != "exclusive"}
    values, wrong = _casefile.read_python_values(known, path=path)
    return values | {"exclusive": exclusive}, (*problems, *wrong)


def make_call(
    prompt: object,
    messages: object,
    own: Mapping[str, object],
    defaults: Mapping[str, Any],
    *,
    path: Path,
    sample: int = 0,
) -> Call:
    """Return the call that `llm(…)` asks for.

    Args:
        prompt: A text, or None where there are messages.
        messages: A conversation, or None where there is a prompt.
        own: What the call itself says, None for what it does not.
        defaults: What its test's marks say, as `read_mark` returns it.
        path: The file of the test.
        sample: Tells repeated calls apart.

    Raises:
        Misuse: It cannot be asked so; the text names everything that is wrong.
    """
    given = {key: value for key, value in own.items() if value is not None}
    conversation = {"prompt": prompt, "messages": messages}
    asked = {key: value for key, value in conversation.items() if value is not None}
    problems: tuple[str, ...] = ()
    if len(asked) != 1:
        found = "both" if asked else "neither"
        problems = (f"a call needs exactly one of prompt and messages, this one has {found}",)
    values, wrong = _casefile.read_python_values({**given, **asked}, path=path)
    if problems or wrong:
        raise Misuse("llm(…) cannot be asked so: " + "; ".join((*problems, *wrong)))
    turns = values.pop("messages", None) or values.pop("prompt")
    inherited = {key: value for key, value in defaults.items() if key in DEFAULT_KEYS}
    return Call(messages=turns, sample=sample, **(inherited | values))
