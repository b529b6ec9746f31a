"""An item that runs alone says why, and where what makes it so stands; the summary counts."""

from pathlib import Path

from tests.concurrency import inner

_CONFTEST = """

@pytest.fixture
def environment(monkeypatch):
    return monkeypatch

@pytest.fixture
def deeper(environment):
    return environment
"""

_TREES = {
    "test_autouse": """
import pytest

@pytest.fixture(autouse=True)
def changes_something(deeper):
    pass

async def test_one():
    pass

async def test_two():
    pass
""",
    "test_through": """
import pytest

async def test_through(deeper):
    pass

@pytest.mark.usefixtures("environment")
async def test_through_a_mark():
    pass
""",
    "test_itself": """
import pytest

async def test_asks(monkeypatch):
    pass

@pytest.mark.usefixtures("monkeypatch")
async def test_asks_by_mark():
    pass

async def test_overlaps():
    pass
""",
    "test_own": """
import pytest

@pytest.fixture(autouse=True)
def monkeypatch():
    pass

async def test_always():
    pass
""",
}


def test_a_reason_names_the_fixture_that_brings_it(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", **_TREES)
    conftest = tree / "conftest.py"
    before = conftest.read_text(encoding="utf-8")
    conftest.write_text(before + _CONFTEST, encoding="utf-8")
    environment = before.count("\n") + 3
    run = inner.run(tree, lanes=4, out=tmp_path)
    assert set(run.outcomes().values()) == {"passed"}, run.stdout
    assert run.record["alone"] == {
        "test_autouse.py::test_one": "monkeypatch, autouse in test_autouse.py:4",
        "test_autouse.py::test_two": "monkeypatch, autouse in test_autouse.py:4",
        "test_through.py::test_through": f"monkeypatch, through deeper in conftest.py:{environment + 4}",
        "test_through.py::test_through_a_mark": f"monkeypatch, through environment in conftest.py:{environment}",
        "test_itself.py::test_asks": "monkeypatch",
        "test_itself.py::test_asks_by_mark": "monkeypatch",
        "test_own.py::test_always": "monkeypatch, autouse in test_own.py:4",
    }
    assert run.record["total"] == 8
    reasons = list(run.record["reasons"].items())
    assert reasons[:2] == [("monkeypatch, autouse in test_autouse.py:4", 2), ("monkeypatch", 2)]
    assert sum(run.record["reasons"].values()) == 7
