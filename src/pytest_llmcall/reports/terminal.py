"""What stands in the terminal: the text of one failed case, and the closing section of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NoReply
from pytest_llmcall.outcome import Exchange, Outcome, Status
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.validators.judging import COMPLETED
from pytest_llmcall.verdict import describe

SHOWN_PROMPT: Final = 600  # characters
SHOWN_REPLY: Final = 2_000
SHOWN_CASES: Final = 50  # lines of the closing section, without -v

Record = Mapping[str, Any]


def case_text(outcome: Outcome) -> str:
    """Return what is shown of a case that did not pass: what was asked, what came, and every verdict."""
    return "\n".join(_case_lines(outcome))


def _case_lines(outcome: Outcome) -> Iterator[str]:
    if outcome.no_reply:
        yield from _no_reply_lines(outcome.no_reply)
    yield from _broken_and_verdicts(outcome)
    for exchange in outcome.exchanges:
        yield from _exchange_lines(exchange)


def exchanges_lines(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Return what is shown of the calls of a test: what was asked and what came, call by call."""
    for number, exchange in enumerate(exchanges, start=1):
        yield f"call {number} of {len(exchanges)}"
        if exchange.no_reply:
            yield from (f"  {line}" for line in _no_reply_lines(exchange.no_reply))
        yield from _exchange_lines(exchange)


def _exchange_lines(exchange: Exchange) -> Iterator[str]:
    yield from _call_lines(exchange.call)
    if exchange.reply:
        yield from _reply_lines(exchange.reply)


def _no_reply_lines(error: NoReply) -> Iterator[str]:
    yield f"no reply ({error.kind}): {error.reason}" if error.kind != "not asked" else error.reason
    if error.remedy:
        yield f"  what to do: {error.remedy}"
    if error.attempts > 1:
        yield f"  asked {error.attempts} times"
    if error.detail:
        yield from _block("detail", error.detail, SHOWN_REPLY, error.evidence)
    if error.received:
        yield from _block("received so far", error.received, SHOWN_REPLY, error.evidence)
    if error.evidence:
        yield f"  evidence: {error.evidence}"


def _broken_and_verdicts(outcome: Outcome) -> Iterator[str]:
    for broken in outcome.broken:
        yield from _indented(str(broken), first="", rest="  ")
    for verdict in sorted(outcome.verdicts, key=lambda each: (each.passed, each.validator != COMPLETED)):
        yield from _indented(describe(verdict), first="", rest="      ")


def _call_lines(call: Call) -> Iterator[str]:
    yield f"  model:  {call.model}"
    if call.system:
        yield from _block("system", call.system, SHOWN_PROMPT, None)
    for earlier in call.messages[:-1]:
        yield from _block(earlier.role, earlier.content, SHOWN_PROMPT, None)
    yield from _block("prompt", call.prompt, SHOWN_PROMPT, None)


def _reply_lines(reply: Reply) -> Iterator[str]:
    yield from _block("reply", reply.text, SHOWN_REPLY, reply.tape)
    if reply.ending is not Ending.COMPLETED:
        yield f"  ended:  {reply.ending.value}"
    if reply.tool_uses:
        yield f"  tools:  {', '.join(use.name + (' (error)' if use.is_error else '') for use in reply.tool_uses)}"
    if reply.denied:
        yield f"  denied: {', '.join(reply.denied)}"
    yield f"  answered by {reply.model} in {reply.duration_s:.1f} s, {_tokens(reply)}, {cost_text(reply.cost_usd)}"
    if reply.tape:
        yield f"  evidence: {reply.tape}"


def _block(title: str, text: str, limit: int, whole: Path | None) -> Iterator[str]:
    shown = text if len(text) <= limit else text[:limit]
    yield from _indented(shown or "(empty)", first=f"  {title}: ", rest="    ")
    if len(text) > limit:
        where = f"; all of it in {whole}" if whole else ""
        yield f"    … {len(text) - limit} more characters{where}"


def _indented(text: str, *, first: str, rest: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines() or [""]):
        yield (rest if number else first) + line


def _tokens(reply: Reply) -> str:
    return f"{reply.usage.total} tokens" if reply.usage else "tokens unknown"


def cost_text(cost: float | None) -> str:
    """Return a cost in US dollars; an unknown one is never shown as nothing."""
    return "cost unknown" if cost is None else f"${cost:.4f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What the closing section tells of a whole run, besides its records.

    Attributes:
        peak: The most calls that were in flight at once.
        evidence: The run's folder, as it is shown; empty if nothing was asked.
        remarks: Lines on what was skipped, ran alone or kept others waiting.
    """

    peak: int
    evidence: str
    remarks: Sequence[str] = ()


def summary_lines(records: Sequence[Record], run: RunSummary, *, everything: bool) -> Iterator[str]:
    """Return the lines of the closing section.

    Args:
        records: One per outcome.
        run: What the records do not say.
        everything: Show all cases, however many there are.
    """
    asked_for = [each for each in records if each["status"] != Status.SKIPPED]
    shown = sorted(asked_for, key=lambda each: -(each["duration_s"] or 0.0))
    if not everything and len(shown) > SHOWN_CASES:
        shown = shown[:SHOWN_CASES]
    yield from map(_case_line, shown)
    if len(shown) < len(asked_for):
        yield f"… {len(asked_for) - len(shown)} faster cases are not shown; -v shows all"
    if asked_for:
        yield _totals(asked_for, run.peak)
    yield from run.remarks
    if run.evidence:
        yield f"evidence: {run.evidence}"


def _case_line(each: Record) -> str:
    duration = f"{each['duration_s']:.1f} s" if each["duration_s"] is not None else "-"
    tokens = f"{each['tokens']} tok" if each["tokens"] is not None else "- tok"
    cost = "-" if not each["attempts"] else "$ ?" if each["cost_usd"] is None else f"${each['cost_usd']:.4f}"
    return f"{duration:>8} {tokens:>11} {cost:>9}  {each['status']:<16} {each['nodeid']}"


def _totals(records: Sequence[Record], peak: int) -> str:
    durations = [each["duration_s"] or 0.0 for each in records]
    times = [each[key] for each in records if each["attempts"] for key in ("started", "ended")]
    wall = max(times) - min(times) if times else 0.0
    asked = [call for each in records for call in each["calls"] if call["attempts"]]
    known = [each["cost_usd"] for each in asked if each["cost_usd"] is not None]
    retries = sum(each["attempts"] - 1 for each in asked)
    parts = [
        f"{len(asked)} call{'' if len(asked) == 1 else 's'}: {sum(durations):.1f} s of calls in {wall:.1f} s",
        f"at most {peak} in flight",
        f"{retries} retr{'y' if retries == 1 else 'ies'}",
        f"{sum(each['tokens'] or 0 for each in asked)} tokens",
        f"${sum(known):.4f}" + (f" and {len(asked) - len(known)} of unknown cost" if len(known) < len(asked) else ""),
    ]
    return ", ".join(parts)
