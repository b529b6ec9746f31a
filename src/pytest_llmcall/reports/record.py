"""The record of an outcome as plain JSON values: a line of `outcomes.jsonl`, and what a worker tells its controller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_llmcall.outcome import Exchange, Outcome, Status
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
                "evidence": json.loads(json.dumps(dict(verdict.evidence), default=str)) if verdict.evidence else {},
            }
            for verdict in outcome.verdicts
        ],
        "broken": [{"validator": each.validator, "reason": each.reason} for each in outcome.broken],
    }


def summary(outcome: Outcome) -> str:
    """Return in one line why an outcome is what it is; empty if it passed."""
    if outcome.reason:
        return outcome.reason
    if outcome.no_reply is not None and outcome.status in {Status.NO_REPLY, Status.NOT_ASKED}:
        return outcome.no_reply.reason
    if outcome.broken:
        first = outcome.broken[0]
        return f"broken validator {first.validator!r}: {(first.reason.splitlines() or [''])[0]}"
    # How the reply ended explains what the other validators found.
    rejected = sorted(
        (each for each in outcome.verdicts if not each.passed), key=lambda each: each.validator != COMPLETED
    )
    return "; ".join(f"{each.validator}: {(each.reason.splitlines() or [''])[0]}" for each in rejected)


def _asked(outcome: Outcome) -> dict[str, Any]:
    calls = [_exchange(each, cut=outcome.status is Status.CUT) for each in outcome.exchanges]
    last: dict[str, Any] = calls[-1] if calls else {}
    same = ("model", "asked_model", "ending", "tape", "kind")
    asked = [each for each in calls if each["attempts"]]
    return {
        **{name: last.get(name) for name in same},
        "duration_s": _sum(each["duration_s"] for each in asked if each["duration_s"] is not None),
        "queued_s": round(sum(each["queued_s"] for each in calls), 3),
        "tokens": _sum(each["tokens"] for each in asked if each["tokens"] is not None),
        "cost_usd": _known_sum([each["cost_usd"] for each in asked]),
        "attempts": sum(each["attempts"] for each in calls),
        "tools": [name for each in calls for name in each["tools"]],
        "calls": calls,
    }


def _exchange(exchange: Exchange, *, cut: bool) -> dict[str, Any]:
    call, reply, error = exchange.call, exchange.reply, exchange.no_reply
    tape = reply.tape if reply else error.evidence if error else None
    usage = reply.usage if reply else None
    return {
        "model": reply.model if reply else call.model,
        "asked_model": call.model,
        "ending": reply.ending.value if reply else None,
        "duration_s": _duration(exchange),
        "queued_s": round(reply.queued_s if reply else error.queued_s if error else 0.0, 3),
        "tokens": usage.total if usage else error.tokens if error else None,
        "cost_usd": reply.cost_usd if reply else error.cost_usd if error else None,
        "attempts": reply.attempts if reply else error.attempts if error else int(cut or exchange.was_cut),
        "tools": [use.name for use in reply.tool_uses] if reply else [],
        "tape": str(tape) if tape else None,
        "kind": error.kind if error else None,
    }


def _sum(known: Iterable[float]) -> Any:
    """Return the sum of what is known, or None if nothing is."""
    values = list(known)
    return round(sum(values), 9) if values else None


def _known_sum(values: Sequence[float | None]) -> float | None:
    """Return the sum, or None if there is nothing to add or a part is unknown: then the whole is."""
    known = [each for each in values if each is not None]
    return round(sum(known), 9) if known and len(known) == len(values) else None


def _duration(exchange: Exchange) -> float | None:
    if exchange.reply:
        return round(exchange.reply.duration_s, 3)
    if exchange.no_reply and exchange.no_reply.attempts:
        return round(exchange.no_reply.duration_s, 3)
    return None
