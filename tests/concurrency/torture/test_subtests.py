# ruff: noqa: ANN001, ANN201, T201
# mypy: ignore-errors
import os

import pytest
from helpers import turn

if not hasattr(pytest, "Subtests"):
    pytest.skip("subtests came with pytest 9", allow_module_level=True)


@pytest.mark.parametrize("n", range(3))
async def test_subtests(n, subtests):
    print("before", n)
    for k in range(3):
        with subtests.test("part", k=k):
            print("inside", n, k)
            await turn()
            print("still inside", n, k)
            os.write(1, f"raw inside {n} {k}\n".encode())
            assert k != n
        os.write(1, f"raw outside {n} {k}\n".encode())
        await turn()
    print("after", n)


def test_sync_subtests(subtests):
    with subtests.test("one"):
        print("one")
    with subtests.test("two"):
        pytest.skip("two")
