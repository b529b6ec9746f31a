from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_llmcall.local_model import LocalModel, pull


@pytest.fixture(scope="session")
def local_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local") / "model.log"


@pytest.fixture(scope="session")
def local(local_log: Path) -> Iterator[LocalModel]:
    """The embedded model, fetched if it is not there yet."""
    pull(lambda _: None)
    with LocalModel.start(None, log=local_log, run_id="tests") as model:
        yield model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the user's; returns the folder where the model would be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    from pytest_llmcall.local_model import model_path

    folder = model_path().parent
    assert folder.is_relative_to(tmp_path)
    return folder
