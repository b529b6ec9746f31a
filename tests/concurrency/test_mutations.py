"""Without any one piece of the engine, the torture tree shows it: the differential tests are not blind."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.concurrency import inner

_PIECES = (
    "instances",
    "setup_tree",
    "locks",
    "process_state",
    "bracket",
    "router",
    "drain",
    "exclusive",
    "current_item",
    "threads",
    "shared_context",
    "subtests",
    "visits",
    "lives",
    "waiting_for_lives",
)


@pytest.fixture(scope="module")
def mutants(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[inner.Run | None]]]:
    """The runs that the selected tests want, two at a time."""
    selected = [item.callspec.params.get("piece") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(2) as pool:
        yield {
            piece: pool.submit(_run_without, piece, tmp_path_factory.mktemp(piece))
            for piece in ("nothing", *_PIECES)
            if piece == "nothing" or piece in selected
        }


_SINCE_PYTEST_9 = pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="subtests came with pytest 9")


@pytest.mark.parametrize(
    "piece", [pytest.param(piece, marks=_SINCE_PYTEST_9) if piece == "subtests" else piece for piece in _PIECES]
)
def test_its_removal_is_noticed(
    piece: str, sequential: inner.Run, mutants: dict[str, Future[inner.Run | None]]
) -> None:
    mutant = mutants[piece].result(timeout=100)
    assert mutant is None or mutant.record["off"] is None
    assert mutant is None or _what_matters(mutant) != _what_matters(sequential)


def test_a_whole_engine_passes_the_same_comparison(
    sequential: inner.Run, mutants: dict[str, Future[inner.Run | None]]
) -> None:
    whole = mutants["nothing"].result(timeout=100)
    assert whole is not None
    assert _what_matters(whole) == _what_matters(sequential)


def _run_without(piece: str, tmp_path: Path) -> inner.Run | None:
    """Return what the run recorded, or None if it hung or crashed, which does not go unnoticed either."""
    environment = {"MUTATION": piece, "PYTHONPATH": str(inner.TORTURE)}
    try:
        return inner.run(
            inner.TORTURE, lanes=8, out=tmp_path, args=("-p", "mutations"), environment=environment, timeout=30
        )
    except subprocess.TimeoutExpired:
        return None
    except inner.NothingRecorded as error:
        if "usage:" in str(error) or "ImportError" in str(error):
            raise
        return None


def _what_matters(run: inner.Run) -> object:
    return run.code, run.reports(), sorted(run.record["warnings"]), run.events(), run.stderr
