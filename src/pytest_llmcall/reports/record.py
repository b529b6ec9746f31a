"""The record of an outcome as plain JSON values: a line of `outcomes.jsonl`, and what a worker tells its controller."""

from __future__ import annotations

import json
from typing import Any

from pytest_llmcall.outcome import Outcome, Status
from pytest_llmcall.validators.judging import COMPLETED


def record(outcome: Outcome, *, nodeid: str, started: float, ended: float) -> dict[str, Any]:
    """Return an outcome as JSON values.

    Args:
        outcome: What became of the case.
        nodeid: The pytest item.
        started: When the item began to ask, in seconds since the epoch.
        ended: When its outcome was known, likewise.
    """
    return {
        "nodeid": nodeid,
        "status": outcome.status.value,
        "reason": summary(outcome),
        "started": round(started, 3),
        "ended": round(ended, 3),
        **_asked(outcome),
        "verdicts": [
            {
                "validator": verdict.validator,
                "passed": verdict.passed,
                "reason": verdict.reason,
                "score": verdict.score,
                "evidence": json.loads(json.dumps(dict(verdict.evidence), default=str)),
            }
            for verdict in outcome.verdicts
        ],
        "broken": [{"validator": each.validator, "reason": each.reason} for each in outcome.broken],
    }


def summary(outcome: Outcome) -> str:
    """Return in one line why an outcome is what it is; empty if it passed."""
    if outcome.no_reply is not None:
        return outcome.no_reply.reason
    if outcome.reason:
        return outcome.reason
    if outcome.broken:
        first = outcome.broken[0]
        return f"broken validator {first.validator!r}: {(first.reason.splitlines() or [''])[0]}"
    # How the reply ended explains what the other validators found.
    rejected = sorted(
        (each for each in outcome.verdicts if not each.passed), key=lambda each: each.validator != COMPLETED
    )
    return "; ".join(f"{each.validator}: {(each.reason.splitlines() or [''])[0]}" for each in rejected)


def _asked(outcome: Outcome) -> dict[str, Any]:
    reply, error = outcome.reply, outcome.no_reply
    tape = reply.tape if reply else error.evidence if error else None
    usage = reply.usage if reply else None
    return {
        "model": reply.model if reply else outcome.call.model,
        "asked_model": outcome.call.model,
        "ending": reply.ending.value if reply else None,
        "duration_s": _duration(outcome),
        "queued_s": round(reply.queued_s if reply else error.queued_s if error else 0.0, 3),
        "tokens": usage.total if usage else None,
        "cost_usd": reply.cost_usd if reply else None,
        "attempts": reply.attempts if reply else error.attempts if error else int(outcome.status is Status.CUT),
        "tools": [use.name for use in reply.tool_uses] if reply else [],
        "tape": str(tape) if tape else None,
        "kind": error.kind if error else None,
    }


def _duration(outcome: Outcome) -> float | None:
    if outcome.reply:
        return round(outcome.reply.duration_s, 3)
    if outcome.no_reply and outcome.no_reply.attempts:
        return round(outcome.no_reply.duration_s, 3)
    return None
