# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
import pytest
from helpers import turn


@pytest.fixture
def own(own):
    return own + "!"


@pytest.mark.parametrize("n", range(3))
async def test_package_scope(package_thing, own, n, request):
    await turn()
    assert package_thing == "package"
    assert own == request.node.name + "!"
