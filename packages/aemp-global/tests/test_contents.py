"""Contents: what a global node tells operators of the families it knows, and who a home is."""

from __future__ import annotations

import asyncio

import pytest

import aemp_core as mp
import aemp_global as gl
from aemp_core.cli.shell.completion import Completion, Found
from aemp_core.errors import NodeClosed
from aemp_core.testing import SimulatedNetwork
from aemp_global.testing.crowd import within

SEED = ["memory://hub"]


async def asked(node: mp.Node, whom: str, begins: str, after: int = 0) -> tuple[object, ...]:
    return await node.cal(whom, "families", begins, after, timeout=5)


async def test_a_global_node_tells_its_families(aemp_network: SimulatedNetwork) -> None:
    await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=SEED)
    db = gl.of(one)
    for number in range(3):
        db.db_set("many", f"key{number}")
    db.db_set("gone", "key").cancel()
    for _ in range(2):
        db.grp_reg("choir", one.port())
    await asyncio.sleep(0.1)
    error, total, rows, after = await asked(one, "hub", "")
    assert (error, after) == ("", 0)
    assert {"family": "many", "keys": 3} in rows
    assert "gone" not in {row["family"] for row in rows}
    error, total, rows, after = await asked(one, "hub", "'g:")
    assert (total, rows) == (1, [{"family": "'g:choir", "keys": 2}])
    assert await asked(one, "hub", "nothing") == ("", 0, [], 0)


async def test_many_families_come_in_pages(aemp_network: SimulatedNetwork) -> None:
    hub = await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=SEED)
    for number in range(500):
        gl.of(hub).db_set(f"family{number}", "key")
    after, names = 0, []
    while True:
        error, total, rows, after = await asked(one, "hub", "family", after)
        assert (error, total) == ("", 500) and 0 < len(rows) <= 200
        names += [row["family"] for row in rows]
        if not after:
            break
    assert names == [f"family{number}" for number in range(500)]


async def test_who_does_not_know_or_may_not_ask_is_told(aemp_network: SimulatedNetwork) -> None:
    await aemp_network.node("hub", seeds=[], rules=[{"node": "one", "deny": ["inspect"]}])
    one = await aemp_network.node("one", seeds=SEED)
    two = await aemp_network.node("two", seeds=SEED)
    (text,) = await asked(two, "one", "")
    assert text == "one is no global node: it does not know"
    (text,) = await asked(one, "hub", "")
    assert "needs the rule 'inspect'" in text
    two.snd("hub", "families", 5, 0, two.port())
    assert (await asked(two, "hub", ""))[0] == "", "a wrong question harms nobody"


async def test_waiting_for_a_home(aemp_network: SimulatedNetwork) -> None:
    one = await aemp_network.node("one", seeds=SEED)
    early = one.task(gl.of(one).homing.found())
    await asyncio.sleep(1)
    assert not early.done()
    await aemp_network.node("hub", seeds=[])
    assert await early == "hub"
    assert await gl.of(one).homing.found() == "hub"


async def test_waiting_for_a_home_ends_with_the_node(aemp_network: SimulatedNetwork) -> None:
    one = await aemp_network.node("one", seeds=SEED)
    waiting = asyncio.ensure_future(gl.of(one).homing.found())
    await asyncio.sleep(1)
    await one.close()
    with pytest.raises(NodeClosed):
        await waiting


async def test_a_shell_completes_names_of_groups(aemp_network: SimulatedNetwork) -> None:
    hub = await aemp_network.node("hub", seeds=[])
    one = await aemp_network.node("one", seeds=["memory://hub"])
    for group in ("cooks", "cleaners", "guests"):
        gl.of(one).grp_reg(group, one.port())
    gl.of(one).db_set("c", "not a group")

    async def names(word: str) -> list[str]:
        return []

    for node in (hub, one):
        await within(5, lambda: len(gl.of(hub).families.sizes()) == 5)
        completion = Completion(node, names, list)
        assert await completion.of('grp_get("c') == Found(1, ["cleaners", "cooks"])
        completion.close()
