"""Every wrong use raises at the caller, with a text that names the value and the remedy."""

from __future__ import annotations

import asyncio

import pytest
from core_kit import SECRET, Probe, nodes, settle

import aemp_core as mp
from aemp_core.testing.clock import virtual_clock


def nothing(*_: object) -> None:
    pass


async def coroutine_function() -> None:
    pass


def unexposed() -> None:
    pass


#: verb with its wrong arguments -> the error, and what its text must say.
WRONG = {
    "port handler": (lambda n: n.port(5), mp.UsageError, ["5", "callable"]),
    "port on_error": (lambda n: n.port(on_error="x"), mp.UsageError, ["'x'", "callable"]),
    "rcv form": (lambda n: n.rcv("a#b#c"), mp.PortError, ["'a#b#c'", "nodeid#name"]),
    "rcv type": (lambda n: n.rcv(5), mp.PortError, ["5", "nodeid#name"]),
    "rcv remote": (lambda n: n.rcv("b#x", nothing), mp.PortError, ["'b#x'", "b", "message"]),
    "rcv node port": (lambda n: n.rcv("a", nothing), mp.PortError, ["'a'", "port()"]),
    "rcv dead": (lambda n: n.rcv("a#gone", nothing), mp.PortError, ["'a#gone'", "ended"]),
    "rcv handler": (lambda n: n.rcv(n.port(), 5), mp.UsageError, ["5", "handler"]),
    "rcv tag handler": (lambda n: n.rcv(n.port(), tag=5), mp.UsageError, ["5", "'tag'"]),
    "rcv tag": (lambda n: n.rcv(n.port(), {5: nothing}), mp.UsageError, ["5", "str"]),
    "on remote": (lambda n: n.on("b#x", "tag"), mp.PortError, ["'b#x'"]),
    "on tag": (lambda n: n.on(n.port(), 5)(nothing), mp.UsageError, ["5", "str"]),
    "on function": (lambda n: n.on(n.port(), "tag")(5), mp.UsageError, ["5", "handler"]),
    "snd form": (lambda n: n.snd("not a port", "x"), mp.PortError, ["'not a port'", "nodeid#name"]),
    "snd type": (lambda n: n.snd(None, "x"), mp.PortError, ["None", "nodeid#name"]),
    "snd bytes": (lambda n: n.snd(b"a#b", "x"), mp.PortError, ["b'a#b'"]),
    "snd unhashable": (lambda n: n.snd(["a#b"], "x"), (mp.PortError, TypeError), ["list"]),
    "snd value": (lambda n: n.snd("b#x", {1, 2}), mp.UnsendableError, ["set", "list"]),
    "snd nested": (
        lambda n: n.snd("b#x", "tag", {"price": float("inf")}),
        mp.UnsendableError, ["['price']", "inf"],
    ),
    "snd too long": (
        lambda n: n.snd("b#x", b"x" * (17 * 2**20)), mp.UnsendableError, ["frame_limit", "parts"],
    ),
    "kil form": (lambda n: n.kil("a b"), mp.PortError, ["'a b'", "nodeid#name"]),
    "kil node port": (lambda n: n.kil("a"), mp.PortError, ["'a'", "close"]),
    "kil remote node port": (lambda n: n.kil("b"), mp.PortError, ["'b'", "node port"]),
    "kil reason": (lambda n: n.kil("b#x", object()), mp.UnsendableError, ["object"]),
    "kil local reason": (lambda n: n.kil(n.port(), object()), mp.UnsendableError, ["object"]),
    "mon form": (lambda n: n.mon("a b", nothing), mp.PortError, ["'a b'"]),
    "mon target": (lambda n: n.mon("b#x", 5), mp.UsageError, ["5", "function or a port"]),
    "mon other": (lambda n: n.mon("b#x", "no port"), mp.PortError, ["'no port'"]),
    "mon message": (
        lambda n: n.mon("b#x", n.port(), object()), mp.UnsendableError, ["object"],
    ),
    "mon callback message": (
        lambda n: n.mon("b#x", nothing, "tag"), mp.UsageError, ["message", "port ID"],
    ),
    "mon no port": (lambda n: n.mon("b#x"), mp.NoCurrentPort, ["current port", "psub"]),
    "mon None": (lambda n: n.mon("b#x", None), mp.UsageError, ["None"]),
    "mon_guard": (lambda n: n.mon_guard("b#x", 5), mp.UsageError, ["5", "close()"]),
    "mon_guard form": (lambda n: n.mon_guard("a b", nothing), mp.PortError, ["'a b'"]),
    "mon_nodes": (lambda n: n.mon_nodes(5), mp.UsageError, ["5"]),
    "psub": (lambda n: n.psub(nothing), mp.NoCurrentPort, ["psub", "current port"]),
    "peval remote": (lambda n: n.peval("b#x", nothing), mp.PortError, ["'b#x'"]),
    "peval dead": (lambda n: n.peval("a#gone", nothing), mp.PortError, ["'a#gone'"]),
    "spawn node": (lambda n: n.spawn("no node", "x:y"), mp.UsageError, ["'no node'", "node ID"]),
    "spawn function": (lambda n: n.spawn("b", 5), mp.UsageError, ["5", "function"]),
    "spawn unexposed": (lambda n: n.spawn("b", unexposed), mp.NotExposed, ["unexposed", "exposed"]),
    "spawn lambda": (lambda n: n.spawn("b", lambda: 0), mp.NotExposed, ["lambda", "exposed"]),
    "spawn value": (lambda n: n.spawn("b", "x:y", object()), mp.UnsendableError, ["object"]),
    "spawn local value": (lambda n: n.spawn("a", "x:y", object()), mp.UnsendableError, ["object"]),
    "exposed": (lambda n: mp.exposed(5), mp.UsageError, ["5"]),
    "after time": (lambda n: n.after("5", nothing), mp.UsageError, ["'5'", "seconds"]),
    "after negative": (lambda n: n.after(-1, nothing), mp.UsageError, ["-1", "0 or more"]),
    "after nan": (lambda n: n.after(float("nan"), nothing), mp.UsageError, ["nan", "seconds"]),
    "after target": (lambda n: n.after(1, 5), mp.UsageError, ["5", "function"]),
    "after port": (lambda n: n.after(1, "no port"), mp.PortError, ["'no port'"]),
    "after message": (lambda n: n.after(1, n.port(), object()), mp.UnsendableError, ["object"]),
    "every zero": (lambda n: n.every(0, nothing), mp.UsageError, ["0", "more than 0"]),
    "task function": (lambda n: n.task(coroutine_function), mp.UsageError, ["coroutine"]),
    "task value": (lambda n: n.task(5), mp.UsageError, ["5", "coroutine"]),
    "port_async": (lambda n: n.port_async(5), mp.UsageError, ["5", "async function"]),
    "rcv_async remote": (
        lambda n: n.rcv_async("b#x", coroutine_function), mp.PortError, ["'b#x'"],
    ),
    "messages": (lambda n: n.messages(), mp.UsageError, ["messages", "psub"]),
    "snd_to_func": (lambda n: n.snd_to_func("b", unexposed), mp.NotExposed, ["unexposed"]),
    "snd_to_func request": (lambda n: n.snd_to_func("b", "kil", "x"), mp.UsageError, ["'kil'"]),
    "snd_to_func node": (lambda n: n.snd_to_func("a b", "x:y"), mp.UsageError, ["'a b'"]),
    "snd_on node": (lambda n: n.snd_on("a b", "b#x"), mp.UsageError, ["'a b'"]),
    "snd_on port": (lambda n: n.snd_on("b", "b#x#y"), mp.PortError, ["'b#x#y'"]),
    "learn node": (lambda n: n.learn("a b", "memory://x"), mp.UsageError, ["'a b'"]),
    "learn scheme": (lambda n: n.learn("b", "odd://x"), mp.AddressError, ["odd://", "memory://"]),
    "threadsafe": (lambda n: n.snd_threadsafe("x y"), mp.PortError, ["'x y'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use(case):
    call, error, texts = WRONG[case]

    @virtual_clock
    async def wrong():
        async with nodes("a") as (a,):
            ports, peers = len(a.ports), dict(a.peers)
            with pytest.raises(error) as caught:
                call(a)
            for text in texts:
                assert text in str(caught.value)
            assert len(a.ports) <= ports + 1, "nothing was done"
            assert a.peers == peers, "nothing was done"
            await settle()

    wrong()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("inf"), "inf"), ([1, float("nan")], "nan"), ({1, 2}, "set"), (object(), "object"),
        ({1: 2}, "key 1"), (2**64, "65 bits"), ("\ud800", "surrogate"),
        (b"x" * 2**24, "frame_limit"),
    ],
    ids=["inf", "nan", "set", "object", "key", "int", "text", "length"],
)  # fmt: skip
@virtual_clock
async def test_what_cannot_be_sent_raises_however_often_the_port_was_sent_to(value, text):
    """The link stays up, and what can be sent arrives."""
    async with nodes("a", "b") as (a, b):
        probe, events = Probe(b), []
        a.mon_nodes(lambda *event: events.append(event))
        for number in range(4):
            a.snd(probe.port, number)
            with pytest.raises(mp.UnsendableError, match=text):
                a.snd(probe.port, value)
        await settle()
        assert probe.firsts == list(range(4))
        assert events == []


#: coroutine verb with its wrong arguments -> the error, and what its text must say.
WRONG_AWAITED = {
    "cal form": (lambda n: n.cal("a b"), mp.PortError, ["'a b'"]),
    "cal timeout": (lambda n: n.cal("b#x", timeout=-1), mp.UsageError, ["-1", "seconds"]),
    "cal timeout type": (lambda n: n.cal("b#x", timeout="1"), mp.UsageError, ["'1'", "seconds"]),
    "cal value": (lambda n: n.cal("b#x", object()), mp.UnsendableError, ["object"]),
    "killed form": (lambda n: n.killed("a b"), mp.PortError, ["'a b'"]),
    "flush form": (lambda n: n.flush("a b"), mp.PortError, ["'a b'"]),
    "up form": (lambda n: n.up("a b"), mp.UsageError, ["'a b'"]),
    "up port": (lambda n: n.up("b#x"), mp.UsageError, ["'b#x'"]),
    "up timeout": (lambda n: n.up("b", timeout=-1), mp.UsageError, ["-1"]),
    "eval_on": (lambda n: n.eval_on("a b", "1"), mp.UsageError, ["'a b'"]),
    "get": (lambda n: n.get("tag"), mp.UsageError, ["get", "psub"]),
    "get_cond": (lambda n: n.get_cond(), mp.UsageError, ["get_cond", "psub"]),
}


@pytest.mark.parametrize("case", WRONG_AWAITED)
def test_wrong_use_awaited(case):
    call, error, texts = WRONG_AWAITED[case]

    @virtual_clock
    async def wrong():
        async with nodes("a") as (a,):
            with pytest.raises(error) as caught:
                await call(a)
            for text in texts:
                assert text in str(caught.value)
            assert a.peers == {} and a.ports == {}

    wrong()


@virtual_clock
async def test_receiving_in_a_port_that_is_not_async():
    async with nodes("a") as (a,):
        errors = []

        async def handler(*_):
            for receive in (lambda: mp.get("tag"), mp.get_cond):
                try:
                    await receive()
                except mp.UsageError as error:
                    errors.append(str(error))
            try:
                mp.messages()
            except mp.UsageError as error:
                errors.append(str(error))

        a.snd(a.port(handler))
        await settle()
        assert len(errors) == 3
        assert all("port_async" in text for text in errors)


@virtual_clock
async def test_receiving_with_wrong_arguments():
    async with nodes("a") as (a,):
        errors = []

        async def life():
            for receive in (
                lambda: mp.get(5),
                lambda: mp.get("tag", timeout=-1),
                lambda: mp.get_cond(5),
                lambda: mp.get_cond(timeout="x"),
            ):
                try:
                    await receive()
                except mp.UsageError as error:
                    errors.append(str(error))

        reasons = []
        a.mon(a.port_async(life), reasons.append)
        await settle()
        assert reasons == [()]
        assert len(errors) == 4
        for text, value in zip(errors, ("5", "-1", "5", "'x'"), strict=True):
            assert value in text


@virtual_clock
async def test_two_async_functions_in_one_port():
    async with nodes("a") as (a,):
        port = a.port_async(asyncio.sleep, 10)
        with pytest.raises(mp.UsageError, match="already"):
            a.rcv_async(port, coroutine_function)


@virtual_clock
async def test_a_port_function_that_is_not_async():
    async with nodes("a") as (a,):
        reasons = []
        a.mon(a.port_async(nothing), reasons.append)
        await settle()
        assert reasons[0][0] == "die" and "no async function" in reasons[0][1]


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ({"hartbeat": 5}, ["'hartbeat'", "'heartbeat'"]),
        ({"heartbeat": 0}, ["heartbeat = 0", "1 to 3600"]),
        ({"heartbeat": "10"}, ["heartbeat = '10'", "seconds"]),
        ({"monitor_timeout": 5}, ["monitor_timeout = 5", "10"]),
        ({"secret": b"short"}, ["secret", "5 bytes", "16"]),
        ({"binds": ["localhost"]}, ["'localhost'", "HOST:PORT"]),
        ({"binds": "memory://x", "seeds": 5}, ["seeds = 5", "list"]),
        ({"frame_limit": 5}, ["frame_limit = 5", "65536"]),
        ({"rules": [{"node": "*", "alow": []}]}, ["'alow'", "'allow'"]),
        ({"rules": [{"node": "*", "allow": ["exec"]}]}, ["'exec'", "eval"]),
        ({"strict": 1}, ["strict = 1", "true or false"]),
        ({"services": ["1x"]}, ["'1x'", "package.module"]),
    ],
)
def test_wrong_settings(settings, texts):
    with pytest.raises(mp.ConfigError) as caught:
        mp.Node("a", **settings)
    for text in texts:
        assert text in str(caught.value)
    if "secret" in settings:
        assert "short" not in str(caught.value).replace("too short", "")


@pytest.mark.parametrize("nodeid", ["a b", "a#b", "x" * 256, "ä", 5])
def test_wrong_node_ids(nodeid):
    with pytest.raises(mp.UsageError) as caught:
        mp.Node(nodeid)
    assert repr(nodeid)[:20] in str(caught.value)


@virtual_clock
async def test_wrong_addresses():
    with pytest.raises(mp.AddressError, match=r"odd://x.*memory://"):
        await mp.Node("a", binds=["odd://x"], secret=SECRET).start()
    with pytest.raises(mp.AddressError, match=r"odd://x"):
        await mp.Node("a", seeds=["odd://x"], secret=SECRET).start()
    with pytest.raises(mp.AddressError, match=r"memory://a b.*NAME"):
        await mp.Node("a", binds=["memory://a b"], secret=SECRET).start()


@virtual_clock
async def test_a_node_that_was_not_started():
    node = mp.Node("a", secret=SECRET)
    for verb in (node.port, lambda: node.mon("b#x", nothing), lambda: node.snd("b#x", 1)):
        with pytest.raises(mp.NodeClosed, match="not started"):
            verb()
    await node.close()
    async with node:
        with pytest.raises(mp.UsageError, match="started already"):
            await node.start()
    with pytest.raises(mp.UsageError, match="new Node"):
        await node.start()
