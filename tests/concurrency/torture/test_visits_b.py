# ruff: noqa: ANN001, ANN201, ANN206, ARG002
# mypy: ignore-errors
"""The neighbour of test_visits_a.py: the same, split by the same fixture."""

import helpers
import pytest


def setup_module():
    helpers.event("setup_module b", "up")


def teardown_module():
    helpers.event("setup_module b", "down")


@pytest.fixture(scope="module")
async def module_thing():
    helpers.event("module_thing b", "up")
    made = {"users": []}
    yield made
    await helpers.turn()
    helpers.event("module_thing b", f"down after {len(made['users'])}")


@pytest.fixture(scope="class")
def class_thing(module_thing):
    helpers.event("class_thing b", "up")
    yield
    helpers.event("class_thing b", "down")


async def test_first(split, module_thing, own):
    module_thing["users"].append(own)
    await helpers.turn()


def test_requests_late(split, request):
    request.getfixturevalue("module_thing")["users"].append(1)


class TestInside:
    @classmethod
    def teardown_class(cls):
        helpers.event("teardown_class b", "down")

    async def test_in_class(self, split, class_thing, module_thing):
        module_thing["users"].append("class")
        await helpers.turn()

    async def test_in_class_too(self, split, class_thing):
        await helpers.turn()


async def test_never_split(module_thing):
    module_thing["users"].append("last")
    await helpers.turn()
