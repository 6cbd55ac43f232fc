"""What the tests of the wire protocol share: connections to wire together, cuts, plain values."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aemp_core.wire import (
    AuthMethod,
    Connection,
    Decoder,
    Framing,
    Greeting,
    HmacSha3Role,
    JsonFraming,
    MsgpackFraming,
    Role,
)

SECRET = b"sixteen bytes or more"
LIMIT = 65_536
FRAMINGS: tuple[Framing, ...] = (MsgpackFraming(), JsonFraming())


def nonce_of(name: str) -> bytes:
    """66 bytes that look random and are the same in every run."""
    return (hashlib.sha512(name.encode()).digest() * 2)[:66]


def nonce_line_of(name: str) -> bytes:
    return base64.b64encode(nonce_of(name)) + b"\n"


def make_connection(
    role: Role,
    name: str,
    *,
    secret: bytes = SECRET,
    nonce: bytes | None = None,
    offer: Sequence[AuthMethod] = (HmacSha3Role(),),
    accept: Sequence[AuthMethod] = (HmacSha3Role(),),
    framings: Sequence[Framing] = FRAMINGS,
    attributes: dict[str, str] | None = None,
    frame_limit: int = LIMIT,
    loopback: bool = False,
    **more: Any,
) -> Connection:
    greeting = Greeting(
        name,
        tuple(method.name for method in accept),
        tuple(framing.name for framing in framings),
        attributes or {},
    )
    return Connection(
        role,
        greeting,
        nonce_of(name) if nonce is None else nonce,
        secret=secret,
        auth_offer=offer,
        auth_accept=accept,
        framings=framings,
        frame_limit=frame_limit,
        origin=f"test://{name}",
        loopback=loopback,
        **more,
    )


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of `sizes` bytes (each at least 1), the last piece being the rest."""
    at = 0
    for size in sizes:
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size
    if at < len(data):
        yield data[at:]


def decode_all(decoder: Decoder, pieces: Iterable[bytes]) -> list[list[Any]]:
    return [message for piece in pieces for message in decoder.decode(piece)]


#: For tests that hypothesis drives: few examples each, and a busy machine is no failure.
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

sizes = st.lists(st.integers(1, 40), max_size=60)
texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=10,
)
messages = st.tuples(texts, st.lists(values, max_size=6)).map(lambda pair: (pair[0], *pair[1]))


def as_read(value: Any, *, json: bool = False) -> Any:
    """What arrives of a plain `value`: tuples as lists, and over JSON bytes as text."""
    if isinstance(value, (list, tuple)):
        return [as_read(item, json=json) for item in value]
    if isinstance(value, dict):
        return {key: as_read(item, json=json) for key, item in value.items()}
    return value.decode("latin-1") if json and isinstance(value, bytes) else value
