"""The far side of a shell: who may evaluate, what comes back, and when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from core_kit import Network, Probe, crash, nodes, settle

import aemp_core as mp
from aemp_core.services.shell import OUTPUT_LENGTH, serve
from aemp_core.testing import virtual_clock

RULES = [{"node": "alice", "allow": ["eval"]}]


class Shell:
    """A shell on one node with a session on another."""

    def __init__(self, node: mp.Node, far: mp.Node) -> None:
        self.node = node
        self.probe = Probe(node)
        self.session = serve(far, self.probe.port)

    def run(self, text: str, number: int = 1) -> None:
        self.node.snd(self.session, "run", number, text, "all")

    def take(self) -> list[tuple[Any, ...]]:
        got = [tuple(each) for each in self.probe.got]
        self.probe.got.clear()
        return got


@virtual_clock
async def test_texts_are_run_as_code_of_the_session():
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("x = current_port(); node.id")
        await settle()
        assert shell.take() == [("output", "'bob'\n", False), ("done", 1, "done", 0)]
        shell.run("x == me; print('a', 1, sep='-', end=';')", 2)
        shell.run("print()", 3)
        await settle()
        assert shell.take() == [
            ("output", "True\n", False),
            ("output", "a-1;", False),
            ("done", 2, "done", 0),
            ("output", "\n", False),
            ("done", 3, "done", 0),
        ]


@virtual_clock
async def test_errors_and_exits_come_back():
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("1 / 0")
        shell.run("exit(7)", 2)
        await settle()
        error, *rest = shell.take()
        assert error[0] == "output" and error[1].endswith("division by zero\n") and error[2]
        assert rest == [("done", 1, "failed", 0), ("done", 2, "left", 7)]
        assert shell.session in bob.ports  # whether it ends is the shell's to say


@virtual_clock
async def test_a_text_that_waits_holds_nothing_up_and_is_interrupted():
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("await asyncio.sleep(3600)")
        await settle()
        assert await alice.cal("bob", "info", timeout=1) == ("bob",)
        alice.snd(shell.session, "interrupt")
        await settle()
        assert shell.take() == [
            ("output", "KeyboardInterrupt\n", True),
            ("done", 1, "interrupted", 0),
        ]


@virtual_clock
async def test_long_and_odd_output_comes_in_parts_that_can_be_sent():
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run(f"print('x' * {OUTPUT_LENGTH}, '\\ud800')")
        await settle()
        *output, _ = shell.take()
        assert "".join(text for _, text, _ in output) == "x" * OUTPUT_LENGTH + " \\ud800\n"
        assert len(output) == 2


@virtual_clock
async def test_names_are_completed():
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("of_mine = 5")
        await settle()
        assert await alice.cal(shell.session, "complete", "of_m", timeout=1) == ("of_mine",)


@virtual_clock
async def test_strangers_have_no_say():
    async with nodes("alice", "bob", "carol", rules=RULES) as (alice, bob, carol):
        shell = Shell(alice, bob)
        carol.snd(shell.session, "run", 1, "node.stolen = True", "all")
        carol.snd(shell.session, "interrupt")
        carol.snd(shell.session, "complete", "no", Probe(carol).port)
        await settle()
        assert not hasattr(bob, "stolen")
        assert shell.take() == []
        carol.snd(shell.session, "hello")  # a message: perhaps the shell asked for it
        await settle()
        assert shell.take() == [("output", f"{shell.session} <- ('hello',)\n", False)]


@virtual_clock
async def test_without_the_rule_nothing_is_run_any_more():
    async with nodes("alice", "bob") as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("node.stolen = True")
        await settle()
        assert not hasattr(bob, "stolen")
        assert shell.take() == [
            ("output", "eval is not allowed here any more\n", True),
            ("done", 1, "failed", 0),
        ]


@virtual_clock
@pytest.mark.parametrize("how", ["shell ends", "link is lost", "node closes"])
async def test_a_session_ends_and_what_it_began_with_it(how: str):
    network = Network.here()
    async with nodes("alice", "bob", rules=RULES) as (alice, bob):
        shell = Shell(alice, bob)
        shell.run("async def f():\n    await asyncio.sleep(3600)\n\nt = task(f()); node.t = t")
        shell.run("await f()", 2)
        await settle()
        task: asyncio.Task[Any] = bob.t  # type: ignore[attr-defined]
        assert not task.done()
        if how == "shell ends":
            alice.kil(shell.probe.port)
        elif how == "link is lost":
            await crash(network, alice)
        else:
            await bob.close()
        await settle()
        assert shell.session not in bob.ports
        assert task.cancelled()
