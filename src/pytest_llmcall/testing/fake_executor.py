"""An executor that asks nobody: scripted replies for testing what stands above executors."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from pytest_llmcall.call import Call
from pytest_llmcall.reply import Reply

Answer = Reply | BaseException | str | Callable[[Call], "Reply | str"]


def reply(text: str = "ok", **fields: Any) -> Reply:
    """Return a reply; every field that is not given has a harmless value."""
    return Reply(text=text, **({"model": "fake"} | fields))


class FakeExecutor:
    """Answers calls from a script, in the order of the script or by what the prompt contains.

    An answer is a Reply, a text, an exception that is raised, or a function of the call.

    Args:
        answers: One per call, in order; the last one answers all that follow. With none, the text is "ok".
        hold_until: Keep every call open until that many are in flight at the same time. Calls in flight are
            awaited on one event loop.
    """

    def __init__(self, *answers: Answer, hold_until: int = 1) -> None:
        self.calls: list[Call] = []
        self.in_flight = 0
        self.peak_in_flight = 0
        self.cancelled: list[Call] = []
        self._answers: deque[Answer] = deque(answers or ("ok",))
        self._rules: list[tuple[str, deque[Answer]]] = []
        self._hold_until = hold_until
        self._all_here = asyncio.Event()

    def on(self, text: str, *answers: Answer) -> None:
        """Answer calls whose prompt contains a text with these, in order; the last one answers all that follow."""
        if not answers:
            raise ValueError("a rule needs at least one answer")
        self._rules.append((text, deque(answers)))

    async def execute(self, call: Call) -> Reply:
        """Return or raise what the script says."""
        self.calls.append(call)
        answer = self._next(call)
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            if self.in_flight >= self._hold_until:
                self._all_here.set()
            await self._all_here.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise
        finally:
            self.in_flight -= 1
        return _as_reply(answer, call)

    def _next(self, call: Call) -> Answer:
        answers = next((answers for text, answers in self._rules if text in call.prompt), self._answers)
        return answers.popleft() if len(answers) > 1 else answers[0]


def _as_reply(answer: Answer, call: Call) -> Reply:
    if isinstance(answer, BaseException):
        raise answer
    if callable(answer):
        answer = answer(call)
    return answer if isinstance(answer, Reply) else reply(answer)
