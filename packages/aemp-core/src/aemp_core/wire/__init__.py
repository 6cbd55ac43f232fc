"""The AEMP stream protocol, version 1, without any I/O in it.

`Connection` is the whole protocol for one byte stream; the other names are what it is made of.
Any transport over a byte stream can use it: feed it what arrives, write what it returns.
"""

from .auth import AuthMethod, Cleartext, HmacSha3, HmacSha3Role, Role, Transcript
from .connection import Connection, Event, Greeted, Proved
from .framing import Decoder, Framing
from .greeting import MAX_LINE, MIN_NONCE_BYTES, NONCE_BYTES, PROVIDER, Greeting
from .json_framing import JsonFraming
from .msgpack_framing import MsgpackFraming
from .values import HEARTBEAT, LONG, MAX_DEPTH, SMALL, pack, pack_apart, pack_scalars, unpack

__all__ = [
    "AuthMethod",
    "Cleartext",
    "Connection",
    "Decoder",
    "Event",
    "Framing",
    "Greeted",
    "Greeting",
    "HEARTBEAT",
    "HmacSha3",
    "HmacSha3Role",
    "JsonFraming",
    "LONG",
    "MAX_DEPTH",
    "MAX_LINE",
    "MIN_NONCE_BYTES",
    "MsgpackFraming",
    "NONCE_BYTES",
    "PROVIDER",
    "Proved",
    "Role",
    "SMALL",
    "Transcript",
    "pack",
    "pack_apart",
    "pack_scalars",
    "unpack",
]
