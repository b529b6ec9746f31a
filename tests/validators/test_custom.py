"""A custom check says yes, says no, or is broken: three things that are never mixed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_llmcall import BrokenValidator, Reply, Verdict
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Source
from pytest_llmcall.validators.custom import bind_custom

REPLY = Reply(text="Paris", model="m")
SOURCE = Source(Path("a.llm.yaml"), 7, 9)


def custom(**params: Any) -> CustomCheck:
    return CustomCheck(name="polite", params=params, source=SOURCE)


def judge(function: object, **params: Any) -> Verdict:
    answer = bind_custom(custom(**params), function).judge(REPLY)
    if isinstance(answer, Verdict):
        return answer

    async def wait(waiting: Awaitable[Verdict]) -> Verdict:
        with anyio.fail_after(5):
            return await waiting

    return anyio.run(wait, answer)


def both_ways(function: Callable[[Reply, dict[str, Any]], Any]) -> list[Callable[..., Any]]:
    """Return a check that does the same, as a plain function and as a coroutine function."""

    def plain(reply: Reply, *, params: dict[str, Any]) -> Any:
        return function(reply, params)

    async def later(reply: Reply, *, params: dict[str, Any]) -> Any:
        await anyio.lowlevel.checkpoint()
        return function(reply, params)

    return [plain, later]


def raising(error: BaseException) -> Callable[[Reply, dict[str, Any]], Any]:
    def function(_reply: Reply, _params: dict[str, Any]) -> Any:
        raise error

    return function


@pytest.mark.parametrize("check", both_ways(lambda reply, params: reply.text == params["text"]))
def test_a_boolean_is_the_answer_and_its_reason_names_the_params(check: object) -> None:
    assert judge(check, text="Paris").passed
    verdict = judge(check, text="London")
    assert not verdict.passed
    assert verdict.reason == 'returned False for params {"text": "London"}'
    assert verdict.validator == "polite"


@pytest.mark.parametrize("passed", [True, False])
def test_a_verdict_is_handed_on_as_it_is(*, passed: bool) -> None:
    verdict = Verdict(validator="mine", passed=passed, reason="why", score=0.5)
    for check in both_ways(lambda _reply, _params: verdict):
        assert judge(check) is verdict


@pytest.mark.parametrize("check", both_ways(raising(AssertionError("assert 'Paris' == 'London'"))))
def test_an_assertion_is_a_no_with_its_text(check: object) -> None:
    verdict = judge(check)
    assert not verdict.passed
    assert verdict.reason == "assert 'Paris' == 'London'"


def test_an_assertion_without_text_names_its_place() -> None:
    verdict = judge(both_ways(raising(AssertionError()))[0])
    assert not verdict.passed
    assert "test_custom.py:" in verdict.reason


def test_the_text_of_an_assertion_that_pytest_rewrote_is_kept() -> None:
    def check(reply: Reply, *, params: dict[str, Any]) -> bool:
        assert reply.text == "London"
        return True

    assert "'Paris' == 'London'" in judge(check).reason


@pytest.mark.parametrize("check", both_ways(raising(pytest.fail.Exception("not polite"))))
def test_pytest_fail_is_a_no(check: object) -> None:
    verdict = judge(check)
    assert not verdict.passed
    assert "not polite" in verdict.reason


@pytest.mark.parametrize(
    "error",
    [
        pytest.skip.Exception("no network"),
        pytest.xfail.Exception("known"),
        pytest.exit.Exception("stop"),
        KeyboardInterrupt(),
    ],
)
def test_what_means_the_test_or_the_run_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        bind_custom(custom(), both_ways(raising(error))[0]).judge(REPLY)


@pytest.mark.parametrize("check", both_ways(lambda _reply, _params: None))
def test_none_is_broken_since_a_forgotten_return_must_not_pass(check: object) -> None:
    with pytest.raises(BrokenValidator, match=r"returned None: a forgotten return\?") as caught:
        judge(check)
    assert caught.value.source == SOURCE


def generator(reply: Reply, *, params: dict[str, Any]) -> Iterator[bool]:
    yield True


@pytest.mark.parametrize(
    ("check", "kind"),
    [*((each, "builtins.str") for each in both_ways(lambda _reply, _params: "yes")), (generator, "generator")],
)
def test_any_other_answer_is_broken(check: object, kind: str) -> None:
    with pytest.raises(BrokenValidator, match=f"returned .*{kind}"):
        judge(check)


@pytest.mark.parametrize("check", both_ways(lambda _reply, params: params.nothing))  # type: ignore[attr-defined]
def test_a_crash_is_broken_with_its_type_text_and_place(check: object) -> None:
    with pytest.raises(BrokenValidator) as caught:
        judge(check)
    assert "AttributeError: 'dict' object has no attribute 'nothing'" in caught.value.reason
    assert f"test_custom.py:{inspect.getsourcelines(test_a_crash_is_broken_with_its_type_text_and_place)[1]}" in (
        caught.value.reason
    )
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_crash_inside_a_library_names_the_check_too() -> None:
    def check(reply: Reply, *, params: dict[str, Any]) -> bool:
        return bool(Path("/nowhere/at/all").read_text(encoding="utf-8"))

    with pytest.raises(BrokenValidator, match=r"pathlib.*called from .*test_custom\.py:\d+"):
        judge(check)


@pytest.mark.parametrize("value", [None, True, "text", Verdict(validator="a", passed=True, reason="")])
def test_a_fixture_that_cannot_be_called_is_broken_with_file_and_line(value: object) -> None:
    with pytest.raises(BrokenValidator, match=r"a\.llm\.yaml:7\): the fixture gives .* cannot be called"):
        bind_custom(custom(), value)


def nothing() -> bool:
    return True


def reply_only(reply: Reply) -> bool:
    return True


def params_only(*, params: object) -> bool:
    return True


def two_replies(reply: Reply, other: Reply, *, params: object) -> bool:
    return True


@pytest.mark.parametrize("function", [nothing, reply_only, params_only, two_replies])
def test_a_function_of_another_shape_is_broken_before_anything_is_asked(function: object) -> None:
    with pytest.raises(BrokenValidator, match=r"cannot be called as check\(reply, \*, params\)"):
        bind_custom(custom(), function)


def positional(reply: Reply, params: object) -> bool:
    return True


def keywords(reply: Reply, **kwargs: object) -> bool:
    return True


def anything(*args: object, **kwargs: object) -> bool:
    return True


@pytest.mark.parametrize("function", [positional, keywords, anything, functools.partial(two_replies, REPLY)])
def test_every_shape_that_takes_a_reply_and_params_will_do(function: object) -> None:
    assert judge(function).passed


def test_a_check_that_changes_its_params_changes_them_for_itself_alone() -> None:
    def check(reply: Reply, *, params: dict[str, Any]) -> bool:
        params["words"].append("more")
        return True

    asked = custom(words=["one"])
    bind_custom(asked, check).judge(REPLY)
    assert asked.params == {"words": ["one"]}
