"""The pytest plugin, in the pytest of somebody who uses it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(200)  # each starts a pytest or two

GOOD = """
    import asyncio
    import time

    import pytest

    import aemp_core as mp
    from aemp_core.testing import World

    BEGAN = time.monotonic()

    @pytest.fixture
    def slow(aemp_network):
        aemp_network.default.latency = 1.5
        return aemp_network

    async def test_function(aemp_network):
        boss = await aemp_network.node("boss")
        worker = await aemp_network.node("worker")
        await boss.up("worker")
        fired = []
        boss.mon(worker.port(), fired.append)
        await asyncio.sleep(1)
        aemp_network.partition({boss}, {worker})
        await asyncio.sleep(30)
        assert fired == [("transport_error", "worker was silent for 10 s")]
        aemp_network.heal()
        await asyncio.sleep(30)
        assert boss.up_nodes() == ["worker"]
        await worker.crash()
        again = await aemp_network.node("worker")
        await again.up("boss")
        assert again.incarnation > worker.incarnation

    class TestMethods:
        @pytest.mark.parametrize("number", [1, 2])
        async def test_method(self, number, aemp_clock, tmp_path):
            began = aemp_clock.time()
            await asyncio.sleep(3_600 * number)
            assert aemp_clock.time() == began + 3_600 * number
            assert tmp_path.is_dir()

    async def test_a_fixture_that_takes_ours(slow):
        boss, worker = await slow.node("boss"), await slow.node("worker")
        began = slow.now
        await boss.up("worker")
        assert 10 > slow.now - began > 6

    @pytest.mark.usefixtures("aemp_world")
    async def test_used_without_being_named():
        await asyncio.sleep(1e6)

    async def test_nodes_that_the_test_makes_itself(aemp_network):
        async with mp.Node("a", binds=["memory://a"]) as a:
            b = await mp.Node("b", seeds=["memory://a"]).start()
            await b.up("a")
            aemp_network.partition(a, b)
            await asyncio.sleep(30)
            assert b.up_nodes() == a.up_nodes() == []

    async def test_processes_of_their_own(aemp_world):
        process = aemp_world.process("worker")
        worker = await process.call(aemp_world.network.node, "worker")
        boss = await aemp_world.network.node("boss")
        await boss.up("worker")
        process.stall(20)
        await asyncio.sleep(15)
        assert boss.up_nodes() == []

    def test_a_plain_function(aemp_world):
        async def main():
            await asyncio.sleep(1)
            return 42

        assert aemp_world.run(main()) == 42

    def test_a_plain_function_that_runs_nothing(aemp_clock):
        assert aemp_clock.time() > 0

    def test_the_seed_is_0_unless_told_otherwise(aemp_network):
        assert aemp_network.secret == World(0).network.secret

    def test_no_time_has_passed():
        assert time.monotonic() - BEGAN < 60
"""

#: How a user's pytest may be set up: the options, and what the INI file says.
SETUPS = {
    "without pytest-asyncio": (["-p", "no:asyncio"], ""),
    "pytest-asyncio, strict": ([], "asyncio_mode = strict"),
    "pytest-asyncio, auto": ([], "asyncio_mode = auto"),
    "anyio": (["-p", "no:asyncio", "-p", "anyio"], ""),
    "anyio, auto": (["-p", "no:asyncio", "-p", "anyio"], "anyio_mode = auto"),
}


def run(
    pytester: pytest.Pytester, *options: str, setup: str = "pytest-asyncio, auto", ini: str = ""
) -> pytest.RunResult:
    """Run the tests there are, where a warning is an error."""
    more, line = SETUPS[setup]
    if "no:asyncio" not in more:
        line += "\nasyncio_default_fixture_loop_scope = function"
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{line}\n{ini}\n")
    quick = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # hypothesis loads slowly
    return pytester.runpytest_subprocess(*quick, *more, *options, timeout=90)


@pytest.mark.parametrize("setup", SETUPS)
def test_async_tests_run_on_a_virtual_clock_whatever_else_is_installed(
    pytester: pytest.Pytester, setup: str
) -> None:
    if "anyio" in setup and importlib.util.find_spec("anyio") is None:
        pytest.skip("anyio is not installed")
    pytester.makepyfile(test_it=GOOD)
    run(pytester, setup=setup).assert_outcomes(passed=11)


def test_failures_show_the_line_the_seed_and_how_to_have_them_again(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        test_it="""
        import asyncio

        async def test_wrong(aemp_network):
            node = await aemp_network.node("a")
            assert node.up_nodes() == ["b"]

        async def test_stuck(aemp_clock):
            await asyncio.Event().wait()

        async def test_unhandled(aemp_clock):
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await asyncio.sleep(1)

        async def test_residue(aemp_network):
            node = await aemp_network.node("a")

            async def mule():
                while True:
                    try:
                        await asyncio.sleep(100)
                    except asyncio.CancelledError:
                        pass

            node.task(mule(), name="mule")
            await asyncio.sleep(1)

        def test_plain():
            assert False

        async def test_real():
            assert await asyncio.to_thread(int) == 0
        """
    )
    result = run(pytester, ini="aemp_seed = 5")
    result.assert_outcomes(failed=5, passed=1)
    text = result.stdout.str()
    wrong, stuck, unhandled, residue, plain = text.split("\n____")[1:]
    assert "assert [] == ['b']" in wrong and "test_it.py:5: AssertionError" in wrong
    assert "world.py" not in wrong and "clock.py" not in wrong, "its traceback is the test's own"
    assert "pytest --aemp-seed 5 test_it.py::test_wrong" in wrong
    assert "nothing will ever happen" in stuck and "test_it.py:8" in stuck
    assert "Traceback" not in stuck and "pytest --aemp-seed 5 test_it.py::test_stuck" in stuck
    assert "ZeroDivisionError" in unhandled and "nobody handled" in unhandled
    assert "all nodes were closed" in residue and "mule" in residue
    assert "aemp" not in plain.partition("short test summary")[0]


def test_every_test_can_run_with_many_seeds(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import asyncio

        import pytest

        async def test_of_two_timers_due_together_one_is_the_first(aemp_clock):
            order = []
            at = aemp_clock.time() + 1
            aemp_clock.call_at(at, order.append, "one")
            aemp_clock.call_at(at, order.append, "other")
            await asyncio.sleep(2)
            assert order == ["one", "other"]

        @pytest.mark.parametrize("number", [1, 2])
        async def test_fine(aemp_network, number):
            pass

        def test_plain():
            pass
        """
    )
    result = run(pytester, "--aemp-seed", "10", "--aemp-seeds", "8", ini="aemp_seed = 5")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes["failed"] == 25
    assert 1 <= outcomes["failed"] <= 7
    lines = [line for line in result.outlines if line.startswith("pytest --aemp-seed")]
    again = lines[0].split()
    assert again[:5] == ["pytest", "--aemp-seed", "10", "--aemp-seeds", "8"]
    assert again[5].startswith(
        "'test_it.py::test_of_two_timers_due_together_one_is_the_first[seed1"
    )


def test_a_test_can_be_run_again_in_a_world_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(3):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    pytester.makepyfile(
        """
        import asyncio

        async def test_it(aemp_network):
            await aemp_network.node("a")
            await asyncio.sleep(1)
        """
    )
    run(pytester).assert_outcomes(passed=3)


def test_unused_it_costs_next_to_nothing() -> None:
    """Whoever has aemp-core installed has the plugin loaded at every start of pytest."""
    code = (
        "import sys, pytest; before = {*sys.modules}; import aemp_core.testing.pytest_plugin;"
        "print(*sorted({*sys.modules} - before))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    assert answer.stdout.split() == [
        "aemp_core",
        "aemp_core.testing",
        "aemp_core.testing.pytest_plugin",
    ]
