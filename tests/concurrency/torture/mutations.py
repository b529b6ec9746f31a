# ruff: noqa: ANN001, ANN201, ANN202, ARG005
# mypy: ignore-errors
"""Removes one piece of the engine, named by the environment; the differential tests must notice each."""

import asyncio
import contextlib
import os

from pytest_llmcall.concurrency import plugin, probes
from pytest_llmcall.concurrency import setup_tree as setup_tree_module
from pytest_llmcall.concurrency.fixture_instances import FixtureInstances
from pytest_llmcall.concurrency.locks import Locks
from pytest_llmcall.concurrency.logs import ThreadsKnowTheirLane
from pytest_llmcall.concurrency.loop import _LaneHandle, _LaneTimerHandle
from pytest_llmcall.concurrency.output import LaneOutput, RoutedStream
from pytest_llmcall.concurrency.parameters import Lives
from pytest_llmcall.concurrency.process_state import ProcessState
from pytest_llmcall.concurrency.setup_tree import TreeSetupState
from pytest_llmcall.concurrency.shared_context import SharedContext
from pytest_llmcall.concurrency.visits import Visits


def nothing():
    pass


def instances():
    FixtureInstances.adopt = lambda self, items: None


def setup_tree():
    TreeSetupState._is_needed = lambda self, node: False


def locks():
    Locks.hold = lambda self, guarded, what: contextlib.nullcontext()


def process_state():
    ProcessState.write = lambda self, values, *, root_level: None


def bracket():
    # The probe would notice at once, and the items would run one at a time, correctly.
    del probes._PROBES["event loop"]
    _LaneHandle._run = asyncio.Handle._run
    _LaneTimerHandle._run = asyncio.TimerHandle._run


def router():
    RoutedStream.write = lambda self, text: self._real.write(text)


def drain():
    LaneOutput._drain = lambda self, lane: None


def exclusive():
    plugin.EXCLUSIVE_FIXTURES = frozenset()


def current_item():
    class Nothing:
        def get(self):
            return None

    setup_tree_module.CURRENT_ITEM = Nothing()


def threads():
    ThreadsKnowTheirLane.install = lambda self: None


def shared_context():
    SharedContext.set_up = lambda self, execute, *args: execute(*args)


def visits():
    stock = Visits.__init__

    def one_life(self, items):
        stock(self, items)
        first = {}
        for item, above in self._of.items():
            for node in above:
                above[node] = first.setdefault(node, above[node])
                above[node].left.add(item)

    Visits.__init__ = one_life


def lives():
    # As if each value of a parameter lived once.
    Lives.plan = lambda self, item, scope_of: None


def waiting_for_lives():
    FixtureInstances.may_start = lambda self, item: True


def subtests():
    plugin.route_subtests = contextlib.nullcontext


globals()[os.environ["MUTATION"]]()
