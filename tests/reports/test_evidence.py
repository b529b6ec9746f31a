"""What a run leaves on disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pytest_llmcall.errors import SettingsError
from pytest_llmcall.reports.evidence import open_run, prune, run_name

NAME = "20261121-211900-0123abcd"


def test_a_run_has_a_folder_that_git_ignores(tmp_path: Path) -> None:
    folder = open_run(tmp_path / ".llmcall", NAME)
    assert folder.tapes.is_dir()
    assert (tmp_path / ".llmcall" / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_each_outcome_is_on_disk_when_write_returns(tmp_path: Path) -> None:
    folder = open_run(tmp_path, NAME)
    for number in range(3):
        folder.write({"number": number, "text": "é\n"})
        lines = folder.outcomes.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["number"] for line in lines] == list(range(number + 1))


def test_only_the_oldest_runs_are_pruned_and_nothing_else(tmp_path: Path) -> None:
    names = [f"2026010{day}-000000-0123abcd" for day in range(1, 7)]
    for name in [*names, "mine"]:
        (tmp_path / "runs" / name).mkdir(parents=True)
    prune(tmp_path, keep=2)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [*names[-2:], "mine"]


def test_opening_a_run_keeps_twenty(tmp_path: Path) -> None:
    for second in range(30):
        (tmp_path / "runs" / f"20250101-0000{second:02d}-0123abcd").mkdir(parents=True)
    folder = open_run(tmp_path, NAME)
    assert folder.path.is_dir()
    assert len(list((tmp_path / "runs").iterdir())) == 20


def test_names_sort_in_the_order_of_the_starts() -> None:
    first = run_name(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "f" * 32)
    second = run_name(datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC), "0" * 32)
    assert first == "20260102-030405-ffffffff"
    assert first < second


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be written: .*--llm-evidence"):
        open_run(tmp_path / "file", NAME)


def test_a_run_that_is_still_going_on_is_not_pruned(tmp_path: Path) -> None:
    going_on = open_run(tmp_path, "20200101-000000-0123abcd")
    for day in range(1, 4):
        open_run(tmp_path, f"2025010{day}-000000-0123abcd").close()
    prune(tmp_path, keep=1)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "20200101-000000-0123abcd",
        "20250103-000000-0123abcd",
    ]
    going_on.write({"still": "here"})
    going_on.close()
    prune(tmp_path, keep=1)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["20250103-000000-0123abcd"]
