"""What an error that the CLI reports means: for whom it is, what it stops, and what to do about it."""

from __future__ import annotations

import re
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
# These depend on a service that could not be reached; every other start-up failure needs somebody's hand.
_START_MAY_WORK_LATER: Final = {
    "org_verify_failed",
    "remote_settings_required_unavailable",
    "org_config_required_unavailable",
    "worktree_unverified",
}


def failed_result(result: Event, transcript: Transcript) -> NoReply:
    """Return what a result that is no reply means."""
    reason = result.get("startup_failure_reason")
    if isinstance(reason, str):
        return _failed_startup(reason, _message(result, transcript))
    kind = _kind(transcript)
    status = result.get("api_error_status")
    message = _message(result, transcript)
    known = _known(kind, status, message)
    if known is not None:
        return known
    if status is None and result.get("subtype") == "error_during_execution":
        return InfrastructureError("the claude CLI was interrupted", detail=message)
    what = "the connection to the Claude API broke" if status is None else f"the Claude API answered {status}"
    return InfrastructureError(what, detail=message)


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
        return InfrastructureError("the connection to the Claude API broke", detail=message)
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
