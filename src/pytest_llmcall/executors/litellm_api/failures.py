"""What an exception that comes out of LiteLLM means: an ending of a reply, or one kind of no reply.

LiteLLM's classes say little: an unknown key is a BadRequestError in one version and an AuthenticationError in the
next, a 403 an APIConnectionError with status 500. The status that the provider sent and its words decide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply
from pytest_llmcall.executors.tape import MASK
from pytest_llmcall.reply import Ending

_MOST_DETAIL: Final = 2000
_SECRET_NAME: Final = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET: Final = 8
_KEY_NAME: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:API_KEY|KEY|TOKEN)\b")
_TOO_LONG: Final = re.compile(
    r"prompt is too long|context_length_exceeded|maximum context length|context window|too many (input )?tokens"
    r"|input is too long|exceeds? the (model's )?context",
    re.IGNORECASE,
)
_POLICY: Final = re.compile(
    r"content_policy_violation|content management policy|safety system|content_filter|ResponsibleAIPolicy",
    re.IGNORECASE,
)
_NO_CREDIT: Final = re.compile(
    r"credit balance is too low|insufficient_quota|exceeded your current quota|billing", re.IGNORECASE
)
_NO_KEY: Final = re.compile(
    r"missing credentials|unable to locate credentials|api_key client option must be set|missing .{0,30}api key"
    r"|default credentials were not found|no api key|api key (is )?(not (set|found|provided)|missing)",
    re.IGNORECASE,
)
_NO_MODEL: Final = re.compile(
    r"model_not_found|model[^.\n]{0,80}(does not exist|not found|is not supported)", re.IGNORECASE
)
_NO_PACKAGE: Final = re.compile(r"No module named '([\w.]+)'|pip install ([\w\[\]-]+)")
_NO_PROVIDER: Final = "LLM Provider NOT provided"
_STATUS_OF_TYPE: Final = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
}
_REFUSED: Final = {400, 405, 406, 413, 414, 415, 422, 501}


def bad_ending(error: Exception) -> Ending | None:
    """Return how the reply ended, if an exception stands for a reply that ended badly."""
    names = {each.__name__ for each in type(error).__mro__}
    text = str(error)
    refused = status_of(error) in _REFUSED
    if "ContextWindowExceededError" in names or (refused and _TOO_LONG.search(text)):
        return Ending.PROMPT_TOO_LONG
    if "ContentPolicyViolationError" in names or (refused and _POLICY.search(text)):
        return Ending.REFUSAL
    return None


def no_reply(call: Call, error: Exception, *, secrets: tuple[str, ...] = ()) -> NoReply:
    """Return what an exception means that stands for no reply."""
    text, detail = str(error), readable(error, secrets=secrets)
    if _NO_PROVIDER in text:
        return _unknown_provider(call)
    if found := _NO_PACKAGE.search(text):
        package = found[1] or found[2]
        reason = f"the model {call.model!r} needs the package {package}"
        return ConfigurationError(
            reason,
            scope="model",
            detail=detail,
            remedy=f"install it; LiteLLM's documentation of {_provider(call)} says how",
        )
    status = status_of(error)
    if status == 402 or (status in {400, 403, 429} and _NO_CREDIT.search(text)):
        remedy = "add credit to the account, or use another key"
        return ConfigurationError("the account has no credit", scope="model", detail=detail, remedy=remedy)
    if _NO_KEY.search(text):
        remedy = f"set {_key_name(call, text)}"
        return ConfigurationError(f"there is no key for {call.model}", scope="model", detail=detail, remedy=remedy)
    return _by_status(call, status, text, detail)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that the provider sent, or LiteLLM's guess where there was none."""
    known = re.search(r"\"type\": ?\"(\w+)\"", str(error))
    if known and known[1] in _STATUS_OF_TYPE:
        return _STATUS_OF_TYPE[known[1]]
    found = [status for status in map(_own_status, _chain(error)) if status is not None]
    return found[-1] if found else None


def readable(error: BaseException, *, secrets: tuple[str, ...] = ()) -> str:
    """Return an exception's text without tracebacks and without keys, which some providers repeat."""
    text = str(error).partition("Traceback (most recent call last)")[0].strip()
    name = type(error).__name__
    text = text if name in text else f"{name}: {text}"
    values = [value for key, value in os.environ.items() if _SECRET_NAME.search(key)]
    for secret in sorted({*values, *secrets}, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text if len(text) <= _MOST_DETAIL else f"{text[:_MOST_DETAIL]} …"


def _by_status(call: Call, status: int | None, text: str, detail: str) -> NoReply:
    if status in {401, 403}:
        remedy = f"check {_key_name(call, text)}, and what it allows"
        return ConfigurationError(f"{_provider(call)} rejected the key", scope="model", detail=detail, remedy=remedy)
    if status == 404 or (status in _REFUSED and _NO_MODEL.search(text)):
        remedy = "check the model's name and, if one is set, the address of the API"
        return ConfigurationError(f"there is no model {call.model!r}", scope="model", detail=detail, remedy=remedy)
    if status in _REFUSED:
        remedy = "change what the call asks for as the message says"
        reason = f"{_provider(call)} refused the request"
        return ConfigurationError(reason, scope="call", detail=detail, remedy=remedy)
    what = {429: "limits the rate of requests", 529: "is overloaded"}.get(status or 0, "")
    if what:
        return InfrastructureError(f"{_provider(call)} {what}", detail=detail)
    return InfrastructureError(f"{_provider(call)} did not answer properly", detail=detail)


def _unknown_provider(call: Call) -> ConfigurationError:
    return ConfigurationError(
        f"LiteLLM does not know who provides the model {call.model!r}",
        scope="model",
        remedy=f"write provider/model, for example openai/{call.model}, or max/sonnet for a Claude model",
    )


def _provider(call: Call) -> str:
    provider, slash, _ = (call.model or "").partition("/")
    return provider if slash else "the provider"


def _key_name(call: Call, text: str) -> str:
    if found := _KEY_NAME.search(text):
        return found[0]
    provider, slash, _ = (call.model or "").partition("/")
    return (
        f"{provider.upper().replace('-', '_')}_API_KEY" if slash else "the provider's API key, such as OPENAI_API_KEY"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _own_status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    try:
        number = int(status)  # type: ignore[arg-type]  # some are text
    except (TypeError, ValueError):
        return None
    return number if 400 <= number < 600 else None
