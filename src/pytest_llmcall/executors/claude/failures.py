"""What an error that the CLI reports means: for whom it is, what it stops, and what to do about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply
from pytest_llmcall.executors.claude.stream import Event, Transcript

LOG_IN: Final = "set ANTHROPIC_API_KEY, or run `claude` once and log in with /login"
CHECK_KEY: Final = "check ANTHROPIC_API_KEY, or log in again with `claude` and /login"
_AUTHENTICATION: Final = {
    "authentication_failed": "the Claude API rejected the login",
    "oauth_org_not_allowed": "the organisation does not allow this login",
    "account_on_hold": "the account is on hold",
    "verification_required": "the account has to be verified",
    "cloud_credential_error": "the cloud provider rejected the login",
}
_BUSY: Final = {
    "rate_limit": "the Claude API limits the rate of requests",
    "overloaded": "the Claude API is overloaded",
    "server_error": "the Claude API failed",
}
_NO_CONNECTION: Final = "the connection to the Claude API broke"
# These depend on a service that could not be reached; every other start-up failure needs somebody's hand.
_START_MAY_WORK_LATER: Final = {
    "org_verify_failed",
    "remote_settings_required_unavailable",
    "org_config_required_unavailable",
    "worktree_unverified",
}


OWN_KEY: Final = "ANTHROPIC_API_KEY"  # nobody refreshes it


def failed_result(result: Event, transcript: Transcript) -> NoReply:
    """Return what a result that is no reply means."""
    reason = result.get("startup_failure_reason")
    if isinstance(reason, str):
        return _failed_startup(reason, _message(result, transcript))
    kind = _kind(transcript)
    status = result.get("api_error_status")
    message = _message(result, transcript)
    if kind == "rate_limit" and (used_up := used_up_limit(transcript)):
        return InfrastructureError(used_up, detail=message, remedy="wait until then, or use another login")
    known = _known(kind, status, message)
    if known is not None:
        return known
    if status is None and result.get("subtype") == "error_during_execution":
        return InfrastructureError("the claude CLI was interrupted", detail=message)
    what = _NO_CONNECTION if status is None else f"the Claude API answered {status}"
    return InfrastructureError(what, detail=message)


def is_rejected_login(transcript: Transcript) -> bool:
    """Return whether the API rejected a login that the CLI keeps fresh, and that another process may be refreshing."""
    return is_without_login(transcript) and (transcript.result or {}).get("api_error_status") in {401, 403}


def is_without_login(transcript: Transcript) -> bool:
    """Return whether the CLI found no login that is good, be it one that the API rejected or none at all."""
    source = (transcript.init or {}).get("apiKeySource")
    return source != OWN_KEY and _kind(transcript) == "authentication_failed"


def used_up_limit(transcript: Transcript) -> str:
    """Return which limit of a subscription is used up until when, as words of a message; empty if none is."""
    for event in transcript.of_type("rate_limit_event"):
        limit = event.get("rate_limit_info") or {}
        if limit.get("status") == "rejected" and isinstance(limit.get("resetsAt"), int | float):
            resets = datetime.fromtimestamp(limit["resetsAt"], UTC)
            name = str(limit.get("rateLimitType") or "rate").replace("_", "-")
            return f"the {name} limit of the account is used up until {resets:%Y-%m-%d %H:%M} UTC"
    return ""


def last_trouble(transcript: Transcript) -> str:
    """Return why the CLI had to retry lastly, as words of a message; empty if it had not."""
    last = next(reversed([*transcript.of_type("system", "api_retry")]), None)
    if last is None:
        return ""
    if last.get("error_status") is None:
        return _NO_CONNECTION
    return _BUSY.get(str(last.get("error")), f"the Claude API answered {last['error_status']}")


def retries(transcript: Transcript) -> str:
    """Return what the CLI retried by itself, as words of a message; empty if nothing."""
    events = [*transcript.of_type("system", "api_retry")]
    if not events:
        return ""
    last = events[-1]
    status = f" ({last['error_status']})" if last.get("error_status") else ""
    times = max(int(event.get("attempt") or 0) for event in events)
    count = f" {times} time{'s' * (times > 1)}" if times else ""
    return f"the claude CLI had retried{count}, lastly because of {last.get('error')}{status}"


def failed_start(stderr: str) -> NoReply:
    """Return what an exit with code 1 means that came before any event: the launch line or the set-up was refused."""
    message = stderr.strip()
    first = next(iter(message.splitlines()), "")
    if re.search(r"json-schema", first, re.IGNORECASE):
        return ConfigurationError(
            "the claude CLI refused the schema", scope="call", detail=message, remedy="make it a valid JSON Schema"
        )
    if re.search(r"mcp", first, re.IGNORECASE):
        return ConfigurationError(
            "the claude CLI refused the MCP servers",
            scope="call",
            detail=message,
            remedy="correct the mcp entry of the case",
        )
    if re.search(r"unknown option", first, re.IGNORECASE):
        return ConfigurationError(
            "the claude CLI does not know an option of ours", detail=message, remedy="run `claude update`"
        )
    if not message:
        return InfrastructureError("the claude CLI ended with exit code 1 and said nothing")
    return ConfigurationError("the claude CLI did not start", detail=message, remedy="run `claude doctor`")


def _known(kind: str, status: object, message: str) -> NoReply | None:
    if status == 529:  # the CLI calls it a server_error in its last message
        return InfrastructureError(_BUSY["overloaded"], detail=message)
    if status is None and kind == "server_error":
        return InfrastructureError(_NO_CONNECTION, detail=message)
    if kind in _BUSY:
        return InfrastructureError(_BUSY[kind], detail=message)
    if kind == "model_not_found":
        remedy = "use a label such as max/sonnet, or a model id that the account may use"
        return ConfigurationError("the model does not exist", scope="model", detail=message, remedy=remedy)
    if status in {400, 413, 422} and not _is_about_credit(kind, message):
        remedy = "change what the call asks for as the message says"
        return ConfigurationError("the Claude API refused the request", scope="call", detail=message, remedy=remedy)
    return _account(kind, status, message)


def _account(kind: str, status: object, message: str) -> NoReply | None:
    if "not logged in" in message.lower():
        return ConfigurationError("the claude CLI is not logged in", detail=message, remedy=LOG_IN)
    if _is_about_credit(kind, message):
        remedy = "add credit to the account, or use another login"
        return ConfigurationError("the account has no credit", detail=message, remedy=remedy)
    if kind in _AUTHENTICATION or status in {401, 403}:
        reason = _AUTHENTICATION.get(kind, _AUTHENTICATION["authentication_failed"])
        return ConfigurationError(reason, detail=message, remedy=CHECK_KEY)
    return None


def _is_about_credit(kind: str, message: str) -> bool:
    return kind == "billing_error" or "credit balance is too low" in message.lower()


def _failed_startup(reason: str, message: str) -> NoReply:
    text = f"the claude CLI did not start: {reason.replace('_', ' ')}"
    if reason in _START_MAY_WORK_LATER:
        return InfrastructureError(text, detail=message)
    remedy = "do what the message says; `claude doctor` shows more"
    return ConfigurationError(text, detail=message, remedy=remedy)


def _kind(transcript: Transcript) -> str:
    errors = transcript.errors
    return errors[-1][0] if errors else ""


def _message(result: Event, transcript: Transcript) -> str:
    errors = result.get("errors")
    listed = "\n".join(map(str, errors)) if isinstance(errors, list) else ""
    said = transcript.errors[-1][1] if transcript.errors else ""
    return str(result.get("result") or listed or said)
