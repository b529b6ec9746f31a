"""What a finished process means: a Reply, or one kind of no reply. The exit code alone decides nothing.

`failures.py` says what an error of the CLI means; here stands what makes an end a reply at all.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply, TimedOut
from pytest_llmcall.executors.claude.argv import missing_tools
from pytest_llmcall.executors.claude.failures import failed_result, failed_start, last_trouble, retries, used_up_limit
from pytest_llmcall.executors.claude.process import Cause, Finished
from pytest_llmcall.executors.claude.servers import BY_HAND, MORE_TIME, death, silent_servers, start_fault
from pytest_llmcall.executors.claude.stream import Event, LineTooLongError, Transcript
from pytest_llmcall.executors.claude.traces import ServerLog, complaints
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.reply import MISSING, Ending, Reply, Usage

_ENDING_OF_SUBTYPE: Final = {
    "error_max_turns": Ending.MAX_TURNS,
    "error_max_budget_usd": Ending.MAX_BUDGET,
    "error_max_structured_output_retries": Ending.NO_STRUCTURED_OUTPUT,
}
_ENDING_OF_REASON: Final = {
    "blocking_limit": Ending.PROMPT_TOO_LONG,
    "prompt_too_long": Ending.PROMPT_TOO_LONG,
    "max_turns": Ending.MAX_TURNS,
    "budget_exhausted": Ending.MAX_BUDGET,
    "structured_output_retry_exhausted": Ending.NO_STRUCTURED_OUTPUT,
}


# Why the CLI had another model answer, where the asked one may answer next time.
_WEATHER: Final = {"overloaded", "server_error", "last_resort"}
OUT_OF_MEMORY: Final = "if the system was short of memory (a call takes about 250 MB), lower --llm-concurrency"


def reply_from(call: Call, finished: Finished, transcript: Transcript, *, servers: Sequence[ServerLog] = ()) -> Reply:
    """Return the reply of a finished process.

    Args:
        call: What was asked.
        finished: How the process ended.
        transcript: What it wrote.
        servers: What the CLI has noted of the MCP servers.

    Raises:
        TimedOut: The deadline passed before there was a result.
        ConfigurationError: It cannot work until somebody changes something.
        InfrastructureError: Another try may work.
    """
    try:
        return _judged(call, finished, transcript, servers)
    except NoReply as none:
        none.received = none.received or transcript.all_text
        if transcript.result is not None:
            usage = _usage(transcript.result)
            none.cost_usd, none.tokens = _cost(transcript.result), usage.total if usage else None
        detail = "\n".join(filter(None, (none.detail.strip(), complaints(servers) if none is transcript.fault else "")))
        # What did not start has said why on stderr, and that is the detail already.
        stderr = "" if detail and detail in finished.stderr else finished.stderr
        end = _end_of(stderr, transcript).removeprefix(none.reason)
        none.detail = "\n".join(filter(None, (detail, end.strip())))
        raise


def init_fault(call: Call, init: Event) -> NoReply | None:
    """Return why a call cannot be answered with the set-up that the CLI reports, before the model is paid."""
    missing = missing_tools(call, init.get("tools") or ())
    if missing:
        version = init.get("claude_code_version", "")
        return ConfigurationError(
            f"Claude Code {version} has no tool {', '.join(map(repr, missing))}",
            scope="call",
            remedy="take a tool's name from the documentation of Claude Code; case counts",
        )
    return start_fault(call, init)


def _judged(call: Call, finished: Finished, transcript: Transcript, servers: Sequence[ServerLog]) -> Reply:
    if finished.cause is Cause.DEADLINE:
        raise _too_late(call, transcript, servers)
    fault = finished.fault or transcript.fault
    if isinstance(fault, LineTooLongError):
        raise ConfigurationError(f"the claude CLI wrote too much: {fault}", scope="call", remedy="ask for less at once")
    if fault is not None:
        raise fault
    result = transcript.result
    if result is None:
        raise _no_result(finished, transcript)
    ending = _ending(call, result, transcript)
    if ending is None:
        raise failed_result(result, transcript)
    if ending is Ending.COMPLETED and not transcript.was_answered:
        raise InfrastructureError("the claude CLI ended without asking the model", detail=str(result.get("result", "")))
    if ending is Ending.COMPLETED and transcript.was_broken:
        # The CLI had the model go on, in words that the case does not hold; the pieces need not fit together.
        raise InfrastructureError("the connection to the Claude API broke in the middle of the answer")
    died = death(call, transcript.tool_uses(), servers)
    if died is not None:
        raise died
    _check_model(call, transcript)
    return _reply(call, ending, result, transcript, finished)


def _too_late(call: Call, transcript: Transcript, servers: Sequence[ServerLog]) -> TimedOut:
    reason = f"no reply within {call.timeout:g} s"
    # The CLI sets itself up only when all servers have answered, or have had their time; that may come in the grace.
    not_set_up = transcript.init is None or transcript.fault is not None
    silent = silent_servers(call, servers) if not_set_up else ""
    if silent:
        return TimedOut(f"{reason}: {silent}", detail=complaints(servers), remedy=f"{BY_HAND}; {MORE_TIME}")
    trouble = last_trouble(transcript)
    if trouble and not transcript.was_answered:
        return TimedOut(f"{reason}: {trouble}", remedy="try again later, or give the call a longer timeout")
    return TimedOut(reason, remedy="give the call a longer timeout, or find in what was received why it takes so long")


def _ending(call: Call, result: Event, transcript: Transcript) -> Ending | None:
    """Return how a reply ended, or None if a result is no reply."""
    errors = [kind for kind, _ in transcript.errors]
    if result.get("stop_reason") == "refusal":
        return Ending.REFUSAL
    found = _ENDING_OF_SUBTYPE.get(str(result.get("subtype"))) or _ENDING_OF_REASON.get(
        str(result.get("terminal_reason"))
    )
    if found:
        return found
    if "max_output_tokens" in errors[-1:] or result.get("stop_reason") == "max_tokens":
        return Ending.MAX_TOKENS
    if result.get("is_error") or result.get("subtype") != "success" or transcript.ends_in_error:
        return None
    if call.schema is not None and "structured_output" not in result:
        return Ending.NO_STRUCTURED_OUTPUT
    return Ending.COMPLETED


def _reply(call: Call, ending: Ending, result: Event, transcript: Transcript, finished: Finished) -> Reply:
    return Reply(
        text=_text(ending, result, transcript),
        model=transcript.model or str((transcript.init or {}).get("model", "")),
        data=result.get("structured_output", MISSING),
        ending=ending,
        ending_detail="" if ending is Ending.COMPLETED else _words(result),
        tool_uses=transcript.tool_uses(),
        transcript=tuple(transcript.events),
        usage=_usage(result),
        cost_usd=_cost(result),
        duration_s=finished.duration_s,
        turns=_turns(call, result),
        denied=tuple(str(denial.get("tool_name")) for denial in result.get("permission_denials") or ()),
        stderr=finished.stderr,
    )


def _turns(call: Call, result: Event) -> int:
    turns = max(1, int(result.get("num_turns") or 1))
    return min(turns, call.max_turns) if call.max_turns else turns  # the CLI counts the turn that it refused


def _text(ending: Ending, result: Event, transcript: Transcript) -> str:
    if ending is Ending.COMPLETED:
        text = result.get("result")
        # The CLI's own result holds what came after the last cut alone.
        return text if isinstance(text, str) and not transcript.was_resumed else transcript.last_answer
    # A bad ending's `result` is the CLI's own sentence about it, which no validator may take for the model's.
    return transcript.all_text if ending is Ending.MAX_TOKENS else transcript.last_answer


def _words(result: Event) -> str:
    errors = result.get("errors")
    listed = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    return str(result.get("result") or listed or result.get("terminal_reason") or "")


def _usage(result: Event) -> Usage | None:
    per_model: Mapping[str, Mapping[str, Any]] = result.get("modelUsage") or {}
    if not per_model:
        return None

    def total(key: str) -> int:
        return sum(int(each.get(key) or 0) for each in per_model.values())

    return Usage(
        input_tokens=total("inputTokens"),
        output_tokens=total("outputTokens"),
        cache_read_tokens=total("cacheReadInputTokens"),
        cache_write_tokens=total("cacheCreationInputTokens"),
    )


def _cost(result: Event) -> float | None:
    per_model: Mapping[str, Mapping[str, Any]] = result.get("modelUsage") or {}
    # The CLI guesses with another model's price where it knows none; unknown is truer.
    if any(each.get("costBasis") == "unknown" for each in per_model.values()):
        return None
    cost = result.get("total_cost_usd")
    return float(cost) if isinstance(cost, int | float) else None


def _check_model(call: Call, transcript: Transcript) -> None:
    for subtype in ("model_fallback", "model_refusal_fallback"):
        for event in transcript.of_type("system", subtype):
            if event.get("scope") != "local":  # a subagent's or side question's own
                raise _other_model(str(event.get("fallback_model")), str(event.get("original_model")), event)
    name = parse_model(call.model or "max/default")
    if not name.full_id or name.model is None:
        return
    others = sorted(model for model in {*transcript.models} if _bare_id(model) != _bare_id(name.model))
    if others:
        remedy = "ask for a label such as max/sonnet if any of its versions will do"
        raise ConfigurationError(f"{', '.join(others)} answered instead of {name.model}", scope="call", remedy=remedy)


def _other_model(other: str, asked: str, event: Event) -> NoReply:
    reason, detail = f"{other} answered instead of {asked}", str(event.get("content") or "")
    if event.get("trigger") in _WEATHER:
        return InfrastructureError(reason, detail=detail)
    remedy = f"ask for {other} itself, or for a model that the account may use"
    return ConfigurationError(reason, scope="call", detail=detail, remedy=remedy)


def _bare_id(model: str) -> str:
    """Return a model id without what providers and options add: region, date, version of the packaging, context."""
    start = model.find("claude-")
    bare = model[max(start, 0) :].lower().removesuffix("[1m]")
    bare = re.sub(r"(-v\d+)?(:\d+)?$", "", bare)
    return re.sub(r"[-@]\d{8}$", "", bare)


def _no_result(finished: Finished, transcript: Transcript) -> NoReply:
    code = finished.exit_code
    if code == 1 and transcript.init is None and not transcript.events:
        return failed_start(finished.stderr)
    if code is not None and code < 0:
        ended = f"was ended by {_signal_name(-code)}"
    elif code in (129, 137, 143):
        ended = f"was ended by {_signal_name(code - 128)}"
    else:
        ended = f"ended with exit code {code}"
    remedy = OUT_OF_MEMORY if code in (-signal.SIGKILL, 128 + signal.SIGKILL) else ""
    return InfrastructureError(f"the claude CLI {ended} and gave no result", remedy=remedy)


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _end_of(stderr: str, transcript: Transcript) -> str:
    parts = list(_waits(transcript))
    if stderr.strip():
        parts.append("stderr ends with:\n" + stderr.strip()[-2000:])
    if transcript.noise:
        parts.append("stdout held lines that are no events:\n" + "\n".join(transcript.noise)[-2000:])
    return "\n".join(parts)


def _waits(transcript: Transcript) -> Iterator[str]:
    yield from filter(None, (retries(transcript), used_up_limit(transcript)))
