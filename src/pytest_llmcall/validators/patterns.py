"""Regular expressions as parameters: compiled when the validator is made, and searched for those that cannot say no."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Final

from pydantic import AfterValidator

from pytest_llmcall.validators.base import Kind, ParameterProblem, Text, unfit

_LOOKS_AROUND: Final = re.compile(r"[\^$]|\\[AZbB]|\(\?(?:[=!]|<[=!])")
_LEADING_ANCHOR: Final = re.compile(r"\^|\\A")


def compile_pattern(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Return the compiled pattern.

    Raises:
        re.error: It is no regular expression.
    """
    with warnings.catch_warnings():
        # "Possible nested set": a hint at some later Python, which a suite with `-W error` would take for a crash.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(pattern, flags)


def matches_everything(pattern: str) -> bool:
    r"""Tell whether a search always succeeds, where that is certain.

    Without anything that looks around itself (`^ $ \b (?=`), a pattern that matches the empty text matches at the end
    of every text.
    """
    rest = _LEADING_ANCHOR.sub("", pattern, count=1) if _LEADING_ANCHOR.match(pattern) else pattern
    return compile_pattern(pattern).fullmatch("") is not None and not _LOOKS_AROUND.search(rest.replace("[^", "["))


def _compilable(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        message = f"{pattern!r} is not a regular expression: {error.msg}{where}"
    except (OverflowError, RecursionError) as error:
        message = f"{pattern!r} is not a usable regular expression: {error}"
    else:
        return pattern
    raise unfit(ParameterProblem(path=(), message=message))


Pattern = Annotated[Text, AfterValidator(_compilable), Kind("a regular expression that is not empty")]
