"""The pytest plugin: async tests that run on a virtual clock, over a simulated network.

An async test function that takes one of the fixtures runs in the main process of a `World` made for
it: no decorator, no real time, and the same every time for the same seed.

    async def test_a_worker_is_missed(aemp_network):
        boss = await aemp_network.node("boss")
        worker = await aemp_network.node("worker")
        ...

===================  ==============================================================================
``aemp_network``     the `SimulatedNetwork`: nodes and the faults that befall them
``aemp_clock``       the event loop, for tests of time without nodes: ``time()``, ``stall(seconds)``
``aemp_world``       the `World`: processes of their own, which can be stalled, killed, powered off
===================  ==============================================================================

Afterwards all nodes of the main process are closed. The test fails if something of a node is left
then, and if an exception reached an event loop with nobody to handle it.

Every pytest that can import aemp_core loads this module, so it imports nothing that costs time.
"""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .network import SimulatedNetwork
    from .world import ProcessLoop, World

#: The fixture that the others are made of.
WORLD = "aemp_world"
_seed = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How worlds are seeded."""
    group = parser.getgroup("aemp", "simulated networks of AEMP nodes")
    group.addoption(
        "--aemp-seed", type=int, metavar="N", help="seed of the simulated worlds (default: 0)"
    )
    group.addoption(
        "--aemp-seeds", type=int, metavar="COUNT", default=1,
        help="run every test in a simulated world with so many seeds, beginning with that one",
    )  # fmt: skip
    parser.addini("aemp_seed", "seed of the simulated worlds of AEMP nodes", default="0")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each of several seeds, if that was asked for."""
    count = metafunc.config.getoption("--aemp-seeds")
    if count > 1 and WORLD in metafunc.fixturenames:
        first = _first_seed(metafunc.config)
        metafunc.parametrize(WORLD, range(first, first + count), indirect=True, ids="seed{}".format)


@pytest.fixture
def aemp_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A simulated world; an async test runs in its main process."""
    from .world import World

    seed = request.node.stash[_seed] = getattr(request, "param", _first_seed(request.config))
    world = World(seed)
    yield world
    world.close()


@pytest.fixture
def aemp_network(aemp_world: World) -> SimulatedNetwork:
    """A simulated network, and the faults that befall it; `node` starts a node."""
    return aemp_world.network


@pytest.fixture
def aemp_clock(aemp_world: World) -> ProcessLoop:
    """The event loop of the test, whose time jumps when there is nothing to do."""
    return aemp_world.main.loop


# The innermost wrapper, so that no other plugin has seen the async function yet.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Make the async tests that take one of the fixtures plain ones, which any pytest can run."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function) and WORLD in item.fixturenames:
            if inspect.iscoroutinefunction(item.obj):
                item.obj = _in_world(item, item.obj)
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Tell how to have a failure again."""
    report = yield
    seed = item.stash.get(_seed, None)
    if report.failed and seed is not None:
        # Of several seeds each is a test of its own, whose name is known only among them.
        count = item.config.getoption("--aemp-seeds")
        options = f"--aemp-seed {_first_seed(item.config)} --aemp-seeds {count}"
        if count == 1:
            options = f"--aemp-seed {seed}"
        again = f"pytest {options} {shlex.quote(item.nodeid)}"
        report.sections.append(
            ("simulated world", f"Its seed was {seed}. To run it again:\n{again}")
        )
    return report


def _first_seed(config: pytest.Config) -> int:
    seed = config.getoption("--aemp-seed")
    return int(config.getini("aemp_seed")) if seed is None else seed


def _in_world(item: pytest.Function, test: Callable[..., Coroutine[Any, Any, object]]) -> Any:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        from .clock import Deadlock

        world: Any = item.funcargs[WORLD]
        stuck = ""
        try:
            world.run(_rehearse(world, test(**arguments)))
        except Deadlock as error:
            stuck = str(error)  # it knows better than any traceback where the test waits
        if stuck:
            pytest.fail(stuck, pytrace=False)

    return run


async def _rehearse(world: World, test: Coroutine[Any, Any, object]) -> None:
    from .. import context

    loop: Any = world.main.loop
    try:
        await test
    finally:
        nodes = list(reversed(context.nodes_on(loop)))
        for node in nodes:
            await node.close()
    left = [repr(task) for node in nodes for task in node._tasks if not task.done()]
    for timer in loop._scheduled:
        owner = getattr(timer._callback, "__self__", None)
        if not timer.cancelled() and type(owner).__module__.startswith("aemp_"):
            left.append(repr(timer))
    if left:
        text = "after the test all nodes were closed, and this was left of them:"
        pytest.fail("\n  ".join([text, *left]), pytrace=False)
