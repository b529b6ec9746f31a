from __future__ import annotations

from typing import Any

import pytest

from pytest_llmcall.executors.claude.stream import LineFramer, LineTooLongError, Transcript, parse_line


def assistant(text: str, *, message_id: str = "m1", model: str = "claude-x", **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "assistant", "message": {"id": message_id, "model": model, "content": content}, **fields}


def transcript_of(*events: dict[str, Any]) -> Transcript:
    transcript = Transcript()
    for event in events:
        transcript.add(event)
    return transcript


def piece(**event: Any) -> dict[str, Any]:
    return {"type": "stream_event", "event": event}


def test_lines_are_put_together_over_chunks() -> None:
    framer = LineFramer()
    assert framer.feed(b"on") == []
    assert framer.feed(b"e\ntwo\n\nth") == [b"one", b"two", b""]
    assert framer.rest() == b"th"
    assert framer.rest() == b""


def test_a_line_above_the_limit_is_refused_before_it_ends() -> None:
    framer = LineFramer(most=5)
    assert framer.feed(b"12345\n123") == [b"12345"]
    with pytest.raises(LineTooLongError):
        framer.feed(b"456")


@pytest.mark.parametrize("line", [b"", b"[1]", b'"x"', b"{torn", b"[SandboxDebug] x", b"{" * 100_000])
def test_what_is_no_json_object_is_no_event(line: bytes) -> None:
    assert parse_line(line) is None


def test_an_event_may_stand_between_blanks_and_end_like_on_windows() -> None:
    assert parse_line(b'  {"type": "x"}\r') == {"type": "x"}


def test_the_last_message_is_put_together_from_its_events() -> None:
    transcript = transcript_of(assistant("first"), assistant("se", message_id="m2"), assistant("cond", message_id="m2"))
    assert transcript.last_answer == "second"
    assert transcript.all_text == "firstsecond"


def test_texts_of_the_cli_and_of_subagents_are_not_the_models() -> None:
    transcript = transcript_of(
        assistant("mine"),
        assistant("API Error", model="<synthetic>", error="server_error"),
        assistant("a helper's", parent_tool_use_id="t1"),
    )
    assert transcript.all_text == "mine"
    assert transcript.errors == [("server_error", "API Error")]


def test_pieces_of_an_answer_count_until_the_whole_comes() -> None:
    transcript = transcript_of(
        piece(type="message_start"),
        piece(type="content_block_delta", delta={"type": "text_delta", "text": "I was"}),
        piece(type="content_block_delta", delta={"type": "thinking_delta", "thinking": "hm"}),
        piece(type="content_block_delta", delta={"type": "text_delta", "text": " about"}),
    )
    assert transcript.all_text == "I was about"
    assert transcript.events == []
    transcript.add(assistant("I was about to"))
    assert transcript.all_text == "I was about to"


def test_pieces_of_an_answer_that_starts_anew_are_dropped() -> None:
    delta = piece(type="content_block_delta", delta={"type": "text_delta", "text": "again"})
    assert transcript_of(delta, piece(type="message_start"), delta).all_text == "again"


def test_a_tool_use_without_a_result_has_none() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    used = {"type": "assistant", "message": {"id": "m", "model": "claude-x", "content": [use]}}
    (found,) = transcript_of(used).tool_uses()
    assert (found.name, found.arguments, found.result, found.is_error) == ("Bash", {"command": "ls"}, None, False)


def test_odd_shapes_do_no_harm() -> None:
    transcript = transcript_of(
        {"type": "assistant"},
        {"type": "assistant", "message": None},
        {"type": "user", "message": {"content": [None, {"type": "tool_result"}]}},
        {"type": "stream_event", "event": None},
        {"type": ["x"]},
    )
    assert transcript.tool_uses() == ()
    assert transcript.all_text == ""


CUT = "Your response above was cut off mid-stream. Resume directly from where it stops."
LIMIT = "Output token limit hit. Resume directly."


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]}, **fields}


def nudge(text: str) -> dict[str, Any]:
    return said(text, isSynthetic=True)


def test_an_answer_that_was_resumed_is_one_answer() -> None:
    parts = [assistant(each, message_id=each) for each in ("one ", "two ", "three")]
    resumed = transcript_of(parts[0], nudge(LIMIT), parts[1], nudge(LIMIT), parts[2])
    assert (resumed.last_answer, resumed.was_resumed, resumed.was_broken) == ("one two three", True, False)


def test_only_the_clis_own_words_resume_an_answer() -> None:
    first, second = assistant("one", message_id="1"), assistant("two", message_id="2")
    quoted = transcript_of(first, said(CUT), second)
    assert (quoted.last_answer, quoted.was_resumed, quoted.was_broken) == ("two", False, False)
    subagent = transcript_of(first, {**nudge(CUT), "parent_tool_use_id": "t"}, second)
    assert (subagent.last_answer, subagent.was_broken) == ("two", False)


def test_an_answer_stays_broken_until_something_else_is_said() -> None:
    first, second, third = (assistant(each, message_id=each) for each in ("one", "two", "three"))
    assert transcript_of(first, nudge(CUT), second).was_broken
    assert transcript_of(first, nudge(CUT), second, nudge(LIMIT), third).was_broken
    tool_result = said("")
    healed = transcript_of(first, nudge(CUT), second, tool_result, third)
    assert (healed.last_answer, healed.was_broken) == ("three", False)
