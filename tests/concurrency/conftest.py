"""The torture tree is data: it runs inside the pytest runs that the tests here start."""

import pytest
from tests.concurrency import inner

collect_ignore = ["torture"]


@pytest.fixture(scope="session")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> inner.Run:
    """The oracle: the torture tree as stock pytest with pytest-asyncio runs it."""
    return inner.run(inner.TORTURE, lanes=0, out=tmp_path_factory.mktemp("sequential"))
