"""Options and ini keys become settings, or one message with everything that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall._settings import Settings, matches, names_llm, read_settings
from pytest_llmcall.errors import SettingsError


def read(options: Mapping[str, Any] | None = None, ini: Mapping[str, Any] | None = None) -> Settings:
    return read_settings(
        (options or {}).get, (ini or {}).get, rootdir=Path("/project"), invocation_dir=Path("/project/here")
    )


def test_defaults_are_those_of_the_documentation() -> None:
    assert read() == Settings(
        run=False,
        concurrency=8,
        timeout=120.0,
        model="max/default",
        evidence=Path("/project/.llmcall"),
        files=("*.llm.yaml", "*.llm.yml", "*.llm.json"),
    )


@pytest.mark.parametrize(
    ("markexpr", "named"),
    [
        ("llm", True),
        ("llm and not slow", True),
        ("(smoke or llm)", True),
        ("not llm", True),
        ("llm(model='x')", True),
        ("", False),
        ("smoke", False),
        ("not_llm or llm_slow", False),
        ("kind(name='llm')", False),
        ("llm.extra", False),
    ],
)
def test_a_mark_expression_runs_llm_items_only_if_it_holds_the_name(markexpr: str, named: bool) -> None:  # noqa: FBT001
    assert names_llm(markexpr) is named
    assert read({"markexpr": markexpr}).run is named


@pytest.mark.parametrize(("options", "ini"), [({"llm": True}, {}), ({}, {"llm_run": "always"})])
def test_the_option_or_the_ini_key_runs_llm_items(options: Mapping[str, Any], ini: Mapping[str, Any]) -> None:
    assert read(options, ini).run


def test_an_option_beats_its_ini_key() -> None:
    settings = read(
        {"llm_concurrency": "3", "llm_timeout": "7.5", "llm_model": "max/opus", "llm_claude": "a"},
        {"llm_concurrency": "5", "llm_timeout": "9", "llm_model": "max/haiku", "llm_claude": "b"},
    )
    assert (settings.concurrency, settings.timeout, settings.model, settings.claude) == (3, 7.5, "max/opus", "a")


def test_an_ini_key_beats_the_default() -> None:
    settings = read({}, {"llm_concurrency": "5", "llm_timeout": "9", "llm_model": "max/haiku", "llm_files": ["*.x"]})
    assert (settings.concurrency, settings.timeout, settings.model) == (5, 9.0, "max/haiku")
    assert settings.files == ("*.x",)


def test_the_evidence_folder_is_relative_to_where_it_was_written() -> None:
    assert read({"llm_evidence": "out"}).evidence == Path("/project/here/out")
    assert read({}, {"llm_evidence": "out"}).evidence == Path("/project/out")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", " "])
def test_a_concurrency_below_one_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"--llm-concurrency is .*: write how many calls"):
        read({"llm_concurrency": value})


@pytest.mark.parametrize("value", ["0", "-5", "nan", "inf", "soon"])
def test_a_timeout_that_is_no_positive_number_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"llm_timeout is .*: write a number of seconds above 0"):
        read({}, {"llm_timeout": value})


def test_all_problems_come_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read(
            {"llm_concurrency": "0", "llm_timeout": "-1", "llm_model": " ", "llm_local_model": "missing.gguf"},
            {"llm_run": "yes"},
        )
    text = str(caught.value)
    assert len(text.splitlines()) == 5
    for part in ("--llm-concurrency", "--llm-timeout", "--llm-model", "missing.gguf", "llm_run = 'yes'"):
        assert part in text


def test_a_model_file_implies_the_embedded_model(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    settings = read({"llm_local_model": str(model)})
    assert settings.local
    assert settings.local_model == model


def test_several_forced_models_are_kept_in_order_without_repeats() -> None:
    assert read({"llm_force_model": ["max/opus", "max/haiku", "max/opus"]}).force_models == ("max/opus", "max/haiku")


def test_globs_match_names_and_with_a_slash_paths() -> None:
    assert matches(Path("/a/b/x.llm.yaml"), ("*.llm.yaml",))
    assert not matches(Path("/a/b/x.yaml"), ("*.llm.yaml",))
    assert matches(Path("/a/cases/x.yaml"), ("*/cases/*.yaml",))
    assert not matches(Path("/a/other/x.yaml"), ("*/cases/*.yaml",))


def test_a_path_that_pytest_takes_for_a_place_of_tests_is_noticed(tmp_path: Path) -> None:
    here, away = tmp_path / "here", tmp_path / "away"
    here.mkdir()
    away.touch()

    def misread(*arguments: str) -> Settings:
        nothing: dict[str, Any] = {}
        return read_settings(nothing.get, nothing.get, rootdir=tmp_path, invocation_dir=here, arguments=arguments)

    found = misread("--llm", "--llm-claude", str(away))
    assert found.misread == ("--llm-claude",)
    assert found.evidence == here / ".llmcall"
    for harmless in ((f"--llm-claude={away}",), ("--llm-claude", "/no/such"), ("--llm-evidence", "inside")):
        assert misread(*harmless).misread == ()
        assert misread(*harmless).evidence == tmp_path / ".llmcall"


def test_limits_come_from_options_and_ini_keys_and_are_none_by_default() -> None:
    names = ("max_cost_usd", "max_calls", "max_tokens", "max_time_s")
    options = {"llm_max_cost": "0.5", "llm_max_calls": "3"}
    settings = read(options, {"llm_max_cost": "9", "llm_max_tokens": "1000", "llm_max_time": "60"})
    assert [getattr(settings, name) for name in names] == [0.5, 3, 1_000, 60.0]
    assert [getattr(read({}, dict.fromkeys(options, "")), name) for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [(f"llm_max_{what}", value) for what in ("cost", "time") for value in ("0", "-1", "nan", "inf", "$1", "")]
    + [(f"llm_max_{what}", value) for what in ("calls", "tokens") for value in ("0", "-1", "1.5", "many", "1e3")],
)
def test_a_limit_that_is_no_number_above_zero_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^--{name.replace('_', '-')} is {value!r}: write ".replace("$", r"\$")):
        read({name: value})


def test_a_dry_run_is_a_way_to_ask_for_llm_items() -> None:
    assert (read({"llm_dry_run": True}).run, read({"llm_dry_run": True}).dry_run) == (True, True)
    assert not read({"llm": True}).dry_run
