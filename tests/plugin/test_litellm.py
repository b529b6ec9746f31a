"""Models without our prefixes go through LiteLLM: in the same run, with the same reports, next to Claude's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.testing import Gate, Hang, ScriptedModel, Status, Text, UseTool

Run = Callable[..., pytest.RunResult]
Write = Callable[[str, str], Path]
Outcomes = Callable[[], dict[str, dict[str, Any]]]
HOME = os.environ["HOME"]  # pytester gives each test another one, where no model was pulled
STRICT = ("-W", "error", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def openai(model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The scripted model behind LiteLLM, as a user would set it up."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("OPENAI_API_BASE", f"{model.url}/v1")
    return model


def cases(*entries: str) -> str:
    return "model: gpt-4o-mini\ncases:\n" + "".join(f"  - {entry}\n" for entry in entries)


def test_a_case_is_asked_and_judged_and_its_evidence_kept(
    openai: ScriptedModel, run: Run, write: Write, outcomes: Outcomes
) -> None:
    openai.on("Capital", Text("Paris"))
    openai.on("Colour", Text("green"))
    write(
        "cases.llm.yaml",
        cases(
            "{id: right, prompt: Capital?, validate: [{contains: Paris}]}",
            "{id: wrong, prompt: Colour?, validate: [{contains: blue}]}",
        ),
    )
    result = run(*STRICT)
    result.assert_outcomes(passed=1, failed=1)
    assert "sk-of-the-user" not in result.stdout.str() + result.stderr.str()
    assert "litellm" not in result.stderr.str().lower()
    right = outcomes()["right"]
    assert right["model"] == "gpt-4o-mini"
    assert right["cost_usd"] > 0
    assert json.loads(Path(right["tape"]).read_text().splitlines()[0])["executor"] == "litellm"


def test_calls_of_one_run_overlap(openai: ScriptedModel, run: Run, write: Write) -> None:
    openai.default(Gate(Text("ok"), opens_at=6))
    write("cases.llm.yaml", cases(*[f"{{id: c{n}, prompt: Hi, validate: [not_empty]}}" for n in range(6)]))
    run("--llm-concurrency", "6").assert_outcomes(passed=6)
    assert openai.peak_in_flight == 6


def test_a_python_test_reads_what_the_model_asks_of_a_function(openai: ScriptedModel, run: Run, write: Write) -> None:
    openai.default(UseTool("add", {"a": 1, "b": 2}))
    write(
        "test_functions.py",
        """
import pytest

ADD = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


@pytest.mark.llm(model="gpt-4o-mini")
async def test_add(llm):
    reply = await llm("What is 1 + 2?", functions=[ADD])
    assert [(use.name, use.arguments) for use in reply.tool_uses] == [("add", {"a": 1, "b": 2})]


@pytest.mark.llm(model="max/opus")
async def test_claude_has_none(llm):
    await llm("What is 1 + 2?", functions=[ADD])
""",
    )
    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*functions* are for models through LiteLLM*"])
    assert len(openai.requests) == 1


def test_a_failure_that_may_pass_is_tried_once_more(openai: ScriptedModel, run: Run, write: Write) -> None:
    openai.script(Status(503), Text("ok"))
    write("cases.llm.yaml", cases("{id: a, prompt: Hi, validate: [{contains: ok}]}"))
    run().assert_outcomes(passed=1)
    assert len(openai.requests) == 2


def test_a_rejected_key_stops_its_model_and_no_other(openai: ScriptedModel, run: Run, write: Write) -> None:
    openai.on(lambda request: request.body["model"] == "gpt-4o-mini", Status(401))
    openai.default(Text("ok"))
    write(
        "cases.llm.yaml",
        cases(
            "{id: first, prompt: Hi, validate: [not_empty]}",
            "{id: second, prompt: Ho, validate: [not_empty]}",
            "{id: other, model: gpt-4o, prompt: Ha, validate: [not_empty]}",
        ),
    )
    result = run("--llm-concurrency", "1")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*OPENAI_API_KEY*", "*not asked: an earlier case stopped this model*"])
    assert len(openai.requests) == 2


def test_a_deadline_is_an_error_and_the_request_is_ended(openai: ScriptedModel, run: Run, write: Write) -> None:
    openai.default(Hang())
    write("cases.llm.yaml", cases("{id: a, prompt: Hi, timeout: 0.5, validate: [not_empty]}"))
    result = run(*STRICT)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no reply within 0.5 s*"])
    assert openai.in_flight == 0


def test_what_a_model_cannot_do_is_found_before_anything_is_asked(
    openai: ScriptedModel, run: Run, write: Write
) -> None:
    write("cases.llm.yaml", cases("{id: a, prompt: Hi, tools: [Read], validate: [not_empty]}"))
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*LC032*tools*Claude Code's own*"])
    assert openai.requests == ()


def test_a_forced_model_that_cannot_do_what_a_case_asks_is_an_error(
    openai: ScriptedModel, run: Run, write: Write
) -> None:
    openai.default(Text("ok"))
    write(
        "cases.llm.yaml",
        "cases:\n"
        "  - {id: plain, model: max/opus, prompt: Hi, validate: [not_empty]}\n"
        "  - {id: tools, model: max/opus, prompt: Hi, tools: [Read], validate: [not_empty]}\n",
    )
    result = run("--llm-force-model", "gpt-4o-mini")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*`tools` are Claude Code's own*"])
    assert len(openai.requests) == 1


@pytest.mark.real_model
def test_the_embedded_model_needs_no_key(
    run: Run, write: Write, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    entry = "prompt: What is 2 + 2? Answer with the number only., validate: [{contains: '4'}]"
    entry += ", needs: ['env:OPENAI_API_KEY']"
    write("cases.llm.yaml", cases(f"{{id: litellm, {entry}}}", f"{{id: claude, model: max/opus, {entry}}}"))
    result = run("--llm-local", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    assert outcomes()["litellm"]["model"].startswith("SmolLM2")
    assert outcomes()["litellm"]["cost_usd"] == 0.0
    result.stdout.fnmatch_lines(["*needs env:OPENAI_API_KEY*"])
