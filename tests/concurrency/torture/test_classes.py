# ruff: noqa: ANN001, ANN201, ANN206, ARG002, PT009, T201
# mypy: ignore-errors
import unittest

import pytest
from helpers import event, turn


def setup_module(module):
    event("setup_module", "up")


def teardown_module(module):
    event("setup_module", "down")


class TestXunit:
    @classmethod
    def setup_class(cls):
        event("setup_class", "up")
        cls.shared = []

    @classmethod
    def teardown_class(cls):
        event("setup_class", "down")

    def setup_method(self, method):
        event(f"setup_method:{method.__name__}", "up")
        self.mine = method.__name__

    def teardown_method(self, method):
        event(f"setup_method:{method.__name__}", f"down, mine is {self.mine}")

    async def test_one(self):
        await turn()
        assert self.mine == "test_one"

    async def test_two(self):
        await turn()
        assert self.mine == "test_two"

    def test_sync(self):
        assert self.mine == "test_sync"


class TestClassFixtures:
    @pytest.fixture(scope="class")
    async def class_thing(self, request):
        event("class_thing", "up")
        await turn()
        yield request.cls.__name__
        event("class_thing", "down")

    @pytest.fixture
    async def bound(self):
        self.seen = "bound"
        await turn()
        return self

    @pytest.mark.parametrize("n", range(3))
    async def test_class_scope(self, class_thing, n):
        await turn()
        assert class_thing == "TestClassFixtures"

    async def test_fixture_is_bound_to_the_instance(self, bound):
        assert bound is self
        assert self.seen == "bound"


class TestBrokenClass:
    @classmethod
    def setup_class(cls):
        event("broken setup_class", "up")
        raise LookupError("class")

    async def test_one(self):
        raise AssertionError("never")

    async def test_two(self):
        raise AssertionError("never")


class TestUnittest(unittest.TestCase):
    def setUp(self):
        self.value = 1

    def test_unittest(self):
        print("unittest")
        self.assertEqual(self.value, 1)
