"""Sequential pytest is the oracle: the torture tree gives the same with lanes, but for the order of reports."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.concurrency import inner

_ISOLATED = ("test_own_loop", "test_prints", "test_skipped", "test_expected", "test_subtests")
# In its strict mode pytest-asyncio leaves the tests of the tree alone: with one lane, too, the engine runs them.
_STRICT = ("-o", "asyncio_mode=strict")
_CASES = {
    "one lane": (1, "greenlet", ()),
    "one lane, no other runner": (1, "greenlet", _STRICT),
    "2 greenlets": (2, "greenlet", ()),
    "8 greenlets": (8, "greenlet", _STRICT),
    "50 greenlets": (50, "greenlet", ()),
    "8 threads": (8, "thread", ()),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[inner.Run]]]:
    """A run for each case, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            case: pool.submit(
                inner.run, inner.TORTURE, lanes=lanes, fiber=fiber, args=args, out=tmp_path_factory.mktemp("lanes")
            )
            for case, (lanes, fiber, args) in _CASES.items()
        }


@pytest.fixture(scope="module", params=_CASES)
def with_lanes(request: pytest.FixtureRequest, runs: dict[str, Future[inner.Run]]) -> inner.Run:
    return runs[request.param].result(timeout=100)


def _of_each(run: inner.Run, *names: str) -> dict[str, list[dict[str, Any]]]:
    return {
        nodeid: [{name: each[name] for name in names} for each in reports] for nodeid, reports in run.reports().items()
    }


def test_the_oracle_is_worth_it(sequential: inner.Run) -> None:
    assert len(sequential.reports()) > 250
    assert set(sequential.outcomes().values()) == {"passed", "failed", "error", "skipped"}


def test_phases_and_outcomes_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    names = ("kind", "when", "outcome", "wasxfail")
    assert _of_each(with_lanes, *names) == _of_each(sequential, *names)


def test_failure_texts_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert _of_each(with_lanes, "text") == _of_each(sequential, "text")


def test_sections_agree_line_by_line(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert _of_each(with_lanes, "sections") == _of_each(sequential, "sections")


def test_properties_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert _of_each(with_lanes, "properties") == _of_each(sequential, "properties")


def test_warnings_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert sorted(with_lanes.record["warnings"]) == sorted(sequential.record["warnings"])


def test_fixture_events_agree_for_each_instance(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert with_lanes.events() == sequential.events()


def test_events_of_each_item_come_in_one_order(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert with_lanes.events_of_items() == sequential.events_of_items()


def test_places_and_keywords_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    names = ("location", "keywords")
    assert _of_each(with_lanes, *names) == _of_each(sequential, *names)


def test_exit_codes_agree(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert with_lanes.code == sequential.code == 1


def test_junit_agrees(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert with_lanes.junit == sequential.junit


def test_nothing_but_reports_reaches_the_terminal(sequential: inner.Run, with_lanes: inner.Run) -> None:
    assert with_lanes.stderr == sequential.stderr == ""
    assert sorted(_progress(with_lanes)) == sorted(_progress(sequential))


def _progress(run: inner.Run) -> str:
    """Return the letters of the progress lines: one for each report."""
    head = run.stdout.split("= ERRORS =")[0]
    lines = [line.split("[")[0].split(".py ")[-1] for line in head.splitlines() if line.endswith("%]")]
    return "".join(lines).replace(" ", "")


def test_items_overlapped_up_to_the_limit(with_lanes: inner.Run, request: pytest.FixtureRequest) -> None:
    lanes, *_ = _CASES[request.node.callspec.params["with_lanes"]]
    assert with_lanes.record["peak"] == (lanes if lanes > 1 else 0)
    assert (len(with_lanes.record["overlapped"]) > 100) == (lanes > 1)


def test_items_that_ran_alone_say_why(with_lanes: inner.Run) -> None:
    if with_lanes.record["off"]:
        assert with_lanes.record["off"] == "one lane"
        return
    text = (inner.TORTURE / "test_more.py").read_text(encoding="utf-8").split("def environment(")[0]
    through = f"monkeypatch, through environment in test_more.py:{text.count(chr(10))}"
    assert with_lanes.record["alone"] == {
        "test_classes.py::TestUnittest::test_unittest": "unittest item",
        **{f"test_more.py::TestIsolated::{name}": "unittest item" for name in _ISOLATED},
        **{f"test_more.py::test_monkeypatch_through_a_fixture[{n}]": through for n in range(3)},
        "test_more.py::test_capsysbinary_is_alone": "capsysbinary",
        "test_more.py::test_capteesys_is_alone": "capteesys",
        "test_output.py::test_capfd_is_alone": "capfd",
        "test_output.py::test_capsys_is_alone": "capsys",
        "test_output.py::test_marked_alone": "marked",
        "test_output.py::test_monkeypatch_is_alone": "monkeypatch",
    }


def test_other_capture_methods_agree(tmp_path: Path) -> None:
    for method in ("sys", "tee-sys"):
        args = (f"--capture={method}",)
        first = inner.run(inner.TORTURE, lanes=0, out=tmp_path, args=args, only="test_output.py")
        second = inner.run(inner.TORTURE, lanes=8, out=tmp_path, args=args, only="test_output.py")
        assert _of_each(second, "sections") == _of_each(first, "sections")
