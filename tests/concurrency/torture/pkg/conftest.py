# ruff: noqa: ANN201
# mypy: ignore-errors
import pytest
from helpers import event, turn


@pytest.fixture(scope="package")
async def package_thing():
    event("package_thing", "up")
    await turn()
    yield "package"
    event("package_thing", "down")


@pytest.fixture(scope="package", autouse=True)
def package_always():
    event("package_always", "up")
    yield
    event("package_always", "down")
