"""What works, fails for a moment and works again: the login and the CLI. What stays broken stops the executor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply
from pytest_llmcall.executors.claude import ClaudeCLI
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import BAD_KEY, ScriptedModel, Status, Text

if TYPE_CHECKING:
    from tests.executors.claude.conftest import Asking

EXPIRED = Status(401, message="OAuth token has expired.")
OF_A_SUBSCRIPTION = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-scripted"}


def in_turn(cli: ClaudeCLI, asking: Asking, *steps: object) -> list[Reply | NoReply]:
    """Return how calls ended that were made one after another, with steps between them."""
    ended: list[Reply | NoReply] = []

    async def all_of_them() -> None:
        call = asking.call("Hi").resolved(model="max/default", timeout=20)
        for step in steps:
            if callable(step):
                step()
                continue
            with anyio.fail_after(30):
                try:
                    ended.append(await cli.execute(call))
                except NoReply as none:
                    ended.append(none)

    anyio.run(all_of_them)
    return ended


ASK = object()


@pytest.mark.real_cli
def test_a_login_that_is_rejected_once_more_stops_the_executor(real: Asking, model: ScriptedModel) -> None:
    model.default(EXPIRED)
    first, second = in_turn(real.cli(**OF_A_SUBSCRIPTION), real, ASK, ASK)
    assert type(first) is InfrastructureError
    assert isinstance(second, ConfigurationError)
    assert (first.reason, second.scope) == (second.reason, "executor")
    assert "log in again" in first.remedy


@pytest.mark.real_cli
def test_calls_of_one_wave_whose_login_is_rejected_are_all_worth_another_try(
    real: Asking, model: ScriptedModel
) -> None:
    async def wave() -> None:
        cli = real.cli(**OF_A_SUBSCRIPTION)

        async def one() -> None:
            with pytest.raises(InfrastructureError, match="rejected the login"):
                await cli.execute(real.call("Hi").resolved(model="max/default", timeout=20))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(one)

    model.default(EXPIRED)
    anyio.run(wave)


@pytest.mark.real_cli
def test_a_key_is_nobody_s_to_refresh(real: Asking, model: ScriptedModel) -> None:
    model.default(BAD_KEY)
    (only,) = in_turn(real.cli(), real, ASK)
    assert isinstance(only, ConfigurationError)


@pytest.mark.real_cli
def test_a_login_that_works_again_is_excused_again(real: Asking, model: ScriptedModel) -> None:
    rejected = (EXPIRED, EXPIRED)  # the CLI asks again by itself
    model.script(*rejected, Text("ok"), *rejected, Text("ok"))
    kinds = [type(each) for each in in_turn(real.cli(**OF_A_SUBSCRIPTION), real, ASK, ASK, ASK, ASK)]
    assert kinds == [InfrastructureError, Reply, InfrastructureError, Reply]


@pytest.mark.real_cli
def test_a_login_that_is_gone_after_it_has_worked_is_excused_once(
    real: Asking, model: ScriptedModel, tmp_path: Path
) -> None:
    login = tmp_path / "home" / "config" / ".credentials.json"
    login.parent.mkdir(parents=True)
    scopes = ["user:inference", "user:profile"]
    good = {"accessToken": "sk-ant-oat01-scripted", "expiresAt": 4_000_000_000_000, "scopes": scopes}
    login.write_text(json.dumps({"claudeAiOauth": {**good, "refreshToken": "none", "subscriptionType": "max"}}))
    model.default(Text("ok"))
    reply, first, second = in_turn(real.cli(ANTHROPIC_API_KEY=""), real, ASK, login.unlink, ASK, ASK)
    assert isinstance(reply, Reply)
    assert type(first) is InfrastructureError
    assert isinstance(second, ConfigurationError)
    assert first.reason == second.reason == "the claude CLI is not logged in"


def test_a_cli_that_is_missing_for_a_moment_costs_no_reply(fake: Asking, tmp_path: Path) -> None:
    async def both() -> tuple[Reply, Reply]:
        cli = fake.cli()
        call = fake.call("Hi").resolved(model="max/default", timeout=20)
        first = await cli.execute(call)
        fake.binary.rename(away)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_back)
            second = await Retry(cli, pause_s=0.3).execute(call)
        return first, second

    async def put_back() -> None:
        while len(fake.tapes()) < 2 or fake.tapes()[1].ending is None:  # noqa: ASYNC110 - a file sets no event
            await anyio.sleep(0.01)
        away.rename(fake.binary)

    away = tmp_path / "away"
    first, second = anyio.run(both)
    assert (first.text, second.text, second.attempts) == ("Hi", "Hi", 2)


def test_a_cli_that_is_gone_for_good_stops_the_executor(fake: Asking) -> None:
    _, first, second = in_turn(fake.cli(), fake, ASK, fake.binary.unlink, ASK, ASK)
    assert type(first) is InfrastructureError
    assert isinstance(second, ConfigurationError)
    assert second.scope == "executor"
    assert "--llm-claude" in second.remedy


def test_a_cli_that_was_never_there_stops_the_executor_at_once(fake: Asking) -> None:
    (only,) = in_turn(fake.cli(), fake, fake.binary.unlink, ASK)
    assert isinstance(only, ConfigurationError)


def test_the_version_that_answered_stands_on_the_tape(fake: Asking) -> None:
    def update() -> None:
        fake.binary.write_text(
            fake.binary.read_text().replace('claude_code_version="0.0.0"', 'claude_code_version="1"')
        )

    in_turn(fake.cli(), fake, ASK, update, ASK)
    versions = [tape.events[0]["claude_code_version"] for tape in fake.tapes()]
    assert versions == ["0.0.0", "1"]
