"""Plain values: what may be packed, what is refused and how that is told, and what is sifted."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import math
import re
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from wire_kit import as_read, messages, quick

from aemp_core.errors import UnsendableError
from aemp_core.wire import HEARTBEAT, LONG, MAX_DEPTH, pack, pack_apart, unpack
from aemp_core.wire.values import sift


class Colour(enum.IntEnum):
    RED = 3


class Point(NamedTuple):
    x: int
    y: float


class Name(str):
    pass


class Price(float):
    pass


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@quick
@given(messages)
def test_what_is_packed_unpacks(message: tuple[Any, ...]) -> None:
    assert unpack(pack(message)) == as_read(message)
    assert unpack(pack(list(message))) == as_read(message)


def test_packed_is_messagepack() -> None:
    assert pack(("tag", 1, b"x", None, {"k": 2.5})) == msgpack.packb(
        ["tag", 1, b"x", None, {"k": 2.5}]
    )
    assert pack(()) == HEARTBEAT == b"\x90"


def test_subclasses_of_plain_types_travel_as_what_they_extend() -> None:
    message = (
        Colour.RED,
        Name("x"),
        Price(1.5),
        Point(1, 2.0),
        collections.OrderedDict(a=[Point(3, 4)]),
    )
    assert unpack(pack(message)) == [3, "x", 1.5, [1, 2.0], {"a": [[3, 4]]}]
    assert unpack(pack((collections.Counter("aab"),))) == [{"a": 2, "b": 1}]
    assert all(type(value) in (int, str, float, list, dict) for value in unpack(pack(message)))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (2**64, "message[1]: an int of 65 bits is outside -2**63..2**64-1; send it as str"),
        (-(2**63) - 1, "message[1]: an int of 64 bits is outside"),
        (10**999, "message[1]: an int of 3319 bits is outside"),
        (math.nan, "message[1]: nan is not a finite float; send None instead"),
        (Price("inf"), "message[1]: inf is not a finite float"),
        ([1, {"a": [0.5, -math.inf]}], "message[1][1]['a'][1]: -inf is not a finite float"),
        ("a\ud800b", r"message[1]: a str with the lone surrogate '\ud800'; send bytes"),
        ({"\udc80": 1}, r"message[1], a key: a str with the lone surrogate '\udc80'"),
        ({"k": {1: 2}}, "message[1]['k']: the key 1 is no str; send str keys, or a list of pairs"),
        ({b"k": 2}, "message[1]: the key b'k' is no str"),
        ({None: 2}, "message[1]: the key None is no str"),
        ({1, 2}, "message[1]: set is not a plain value; send a list of its elements"),
        (range(3), "message[1]: range is not a plain value; send a list of its elements"),
        (bytearray(1), "message[1]: bytearray is not a plain value; send bytes(...) of it"),
        (memoryview(b"x"), "message[1]: memoryview is not a plain value; send bytes(...)"),
        (datetime.datetime(2020, 1, 1), "message[1]: datetime is not a plain value; send its iso"),
        (decimal.Decimal(1), "message[1]: Decimal is not a plain value; send str(...) of it"),
        (msgpack.ExtType(1, b"x"), "message[1]: ExtType is not a plain value"),
        (msgpack.Timestamp(1), "message[1]: Timestamp is not a plain value"),
        (object(), "message[1]: object is not a plain value; send None, bool, int, float, str"),
        (collections.deque(), "message[1]: deque is not a plain value"),
        (1j, "message[1]: complex is not a plain value"),
        (len, "message[1]: builtin_function_or_method is not a plain value"),
    ],
)
def test_what_is_not_plain_is_refused_at_its_sender(value: Any, problem: str) -> None:
    for message in (("tag", value), ["tag", value, object()]):
        with pytest.raises(UnsendableError) as caught:
            pack(message)
        assert str(caught.value).startswith(problem)
    assert unpack(pack(("after", 1))) == ["after", 1], "the packer is left clean"


def test_containers_nest_as_deep_as_said_and_no_deeper() -> None:
    deepest = ("tag", nested(MAX_DEPTH - 1))
    assert sift([unpack(pack(deepest))]) == ([as_read(deepest)], None)
    with pytest.raises(UnsendableError, match="nested more than 128 deep; flatten it"):
        pack(("tag", nested(MAX_DEPTH)))
    assert sift([["tag", nested(MAX_DEPTH)]])[1]


def test_values_that_contain_themselves_are_refused_at_once() -> None:
    one: list[Any] = []
    one.append(one)
    parent: dict[str, Any] = {"children": []}
    parent["children"] += [{"parent": parent} for _ in range(9)]
    for value in (one, [one] * 9, parent):
        with pytest.raises(UnsendableError, match="nested more than"):
            pack(("tag", value))


GOOD = [["a"], ["b", 1, None, True, b"x", "y"], ["", 2.5, [1, [2]], {"k": {"l": []}}]]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (1, "a message is a list, not int"),
        ("tag", "a message is a list, not str"),
        ({"a": 1}, "a message is a list, not dict"),
        ([1], "begins with a str, not int"),
        ([["a"]], "begins with a str, not list"),
        ([None, "a"], "begins with a str, not NoneType"),
        (["a", math.nan], r"message\[1\]: nan is not a finite float"),
        (["a", [{"k": math.inf}]], r"message\[1\]\[0\]\['k'\]: inf is not"),
        (["a", {b"k": 1}], "the key b'k' is no str"),
        (["a", msgpack.ExtType(1, b"")], "ExtType is not a plain value"),
        (["a", msgpack.Timestamp(1)], "Timestamp is not a plain value"),
        (["a", nested(MAX_DEPTH)], "nested more than 128 deep"),
    ],
)
def test_sifting_stops_at_the_first_that_is_no_message(bad: Any, problem: str) -> None:
    for before in ([], GOOD[:1], GOOD[:2], GOOD):
        for after in ([], GOOD):
            good, flaw = sift([*before, bad, *after])
            assert good == before
            assert flaw is not None
            assert re.search(problem, flaw)


def test_sifting_leaves_heartbeats_out() -> None:
    assert sift([]) == ([], None)
    assert sift([[]]) == ([], None)
    assert sift([[], GOOD[0], [], [], GOOD[1], []]) == (GOOD[:2], None)


@pytest.mark.parametrize(
    ("message", "count"),
    [
        ((b"x" * LONG,), 2),
        (("tag", b"x" * LONG, 1), 3),
        ((b"x" * LONG, b"y" * (LONG + 1)), 4),
        ((None, b"x" * LONG, b"short", [1, {"key": b"y" * LONG}]), 3),
        (("tag", b"x" * (LONG - 1)), 0),
        (("tag", "x" * LONG, [b"y" * LONG]), 0),
    ],
)
def test_parts_are_what_pack_returns(message: tuple[Any, ...], count: int) -> None:
    """Only long bytes among the elements are apart: they are the very objects."""
    parts = pack_apart(message, "name")
    if isinstance(parts, bytes):
        assert count == 0
        parts = [parts]
    else:
        assert len(parts) == count
        long = [value for value in message if isinstance(value, bytes) and len(value) >= LONG]
        assert all(any(part is value for part in parts) for value in long)
    assert b"".join(parts) == pack(message, "name")


@pytest.mark.parametrize("bad", [2**64, "\ud800", object(), math.nan, [set()]])
def test_what_is_wrong_beside_long_bytes_is_named(bad: Any) -> None:
    for message in ((b"x" * LONG, bad), (bad, b"x" * LONG)):
        with pytest.raises(UnsendableError, match=r"message\["):
            pack_apart(message, "name")
    assert unpack(pack(("after",))) == ["after"]


def test_sifting_looks_into_texts_if_told_to() -> None:
    assert sift([["a", ["\ud800"]]]) == ([["a", ["\ud800"]]], None)
    for bad in (["a", ["\ud800"]], ["\ud800"], ["a", {"\ud800": 1}], ["a", 2**64]):
        assert sift([["a"], bad], closely=True)[0] == [["a"]]
    assert sift(GOOD, closely=True) == (GOOD, None)


def test_a_flaw_in_a_text_is_named_with_its_path() -> None:
    """Texts are looked through in C first, which does not say where."""
    for bad, path in (
        (["a", [1, {"k": "\ud800"}]], r"message[1][1]['k']: "),
        (["a", {"k": {"\ud800": 1}}], r"message[1]['k'], a key: "),
        (["\ud800"], "message[0]: "),
    ):
        good, flaw = sift([["a"], bad, ["b"]], closely=True)
        assert good == [["a"]]
        assert flaw is not None and flaw.startswith(path)


def test_a_long_path_is_told_by_its_beginning_and_its_end() -> None:
    """A peer chooses the keys on it, and must not fill the log with them."""
    for value in ({"k" * 10**6: {"end": math.nan}}, {b"k" * 10**6: 1}, nested(MAX_DEPTH)):
        _, flaw = sift([["a", value]])
        assert flaw is not None and len(flaw) < 300
    _, flaw = sift([["a", {"k" * 10**6: {"end": math.nan}}]])
    assert flaw is not None
    assert flaw.startswith("message[1]['kkk") and "kkk']['end']: nan" in flaw


@quick
@given(messages, messages)
def test_sifting_takes_every_message_that_can_be_packed(
    one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    batch = [as_read(one), as_read(other)]
    assert sift(batch) == sift(batch, closely=True) == (batch, None)
