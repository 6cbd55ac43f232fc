"""The protocol machine: two sides wired together, and every way a peer can break the rules."""

from __future__ import annotations

import base64
import gc
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_kit import (
    FRAMINGS,
    SECRET,
    as_read,
    cut,
    make_connection,
    messages,
    nonce_line_of,
    nonce_of,
    quick,
    sizes,
)

from aemp_core.errors import LocalProtocolError, RemoteProtocolError
from aemp_core.link import PeerInfo
from aemp_core.wire import (
    HEARTBEAT,
    MAX_LINE,
    AuthMethod,
    Cleartext,
    Connection,
    Greeted,
    Greeting,
    HmacSha3,
    HmacSha3Role,
    JsonFraming,
    MsgpackFraming,
    Proved,
    Role,
    Transcript,
    pack,
)
from aemp_core.wire.connection import _NEXT_LINE, MAX_EARLY, TRANSITIONS, State, Step

BOB = b"aemp;1;bob;hmac_sha3_512_role;msgpack,json\n"


def alice(**options: Any) -> Connection:
    return make_connection("accept", "alice", **options)


def greeted(**options: Any) -> Connection:
    """Alice, who has heard the greeting and nonce of Bob."""
    connection = alice(**options)
    connection.outgoing()
    connection.receive(BOB + nonce_line_of("bob"))
    return connection


def bobs_proof(
    method: AuthMethod | None = None, role: Role = "dial", framing: str = "msgpack"
) -> bytes:
    """The auth line of Bob for `alice()`."""
    method = method or HmacSha3Role()
    theirs, nonce = alice().outgoing().splitlines()
    transcript = Transcript(
        role=role,
        greeting=BOB[:-1],
        nonce=nonce_line_of("bob")[:-1],
        peer_greeting=theirs,
        peer_nonce=nonce,
        method=method.name,
        framing=framing,
        loopback=True,
    )
    token = SECRET.hex() if isinstance(method, Cleartext) else method.token(transcript, SECRET)
    return f"{method.name};{token};{framing}\n".encode()


def shake_hands(dialler: Connection, acceptor: Connection) -> None:
    to_acceptor, to_dialler = dialler.outgoing(), acceptor.outgoing()
    acceptor.receive(to_acceptor)
    dialler.receive(to_dialler)
    to_acceptor, to_dialler = dialler.prove(), acceptor.prove()
    acceptor.receive(to_acceptor)
    dialler.receive(to_dialler)


# How it goes well.


def test_two_sides_greet_prove_and_talk() -> None:
    bob = make_connection("dial", "bob", attributes={"heartbeat": "7"})
    connection = alice()
    assert connection.peer is None
    (event,) = connection.receive(bob.outgoing())
    assert isinstance(event, Greeted)
    assert event.peer is connection.peer
    assert (event.peer.id, event.peer.heartbeat) == ("bob", 7.0)
    assert event.peer.origin == "test://alice"
    bob.receive(connection.outgoing())
    proof = bob.prove()
    assert proof.startswith(b"hmac_sha3_512_role;")
    assert proof.endswith(b";msgpack\n")
    assert connection.receive(proof) == [Proved("hmac_sha3_512_role", "msgpack")]
    assert connection.decode(bob.encode(pack(("port", 1)))) == [["port", 1]]
    assert connection.error is None


def test_everything_may_come_in_one_packet_and_what_follows_the_proof_is_kept() -> None:
    connection = alice()
    data = BOB + nonce_line_of("bob") + bobs_proof() + pack(("a", 1)) + HEARTBEAT + pack(("b",))
    assert [type(event) for event in connection.receive(data)] == [Greeted, Proved]
    assert connection.receive(pack(("c",))[:2]) == []
    assert connection.decode(b"") == [["a", 1], ["b"]]
    assert connection.decode(pack(("c",))[2:]) == [["c"]]


def test_either_side_may_prove_itself_first() -> None:
    bob, connection = make_connection("dial", "bob"), alice()
    connection.receive(bob.outgoing())
    bob.receive(connection.outgoing())
    assert bob.receive(connection.prove()) == [Proved("hmac_sha3_512_role", "msgpack")]
    assert bob.decode(connection.encode(pack(("x",)))) == [["x"]]
    assert connection.receive(bob.prove()) == [Proved("hmac_sha3_512_role", "msgpack")]


def test_each_direction_has_the_framing_its_reader_prefers() -> None:
    bob = make_connection("dial", "bob", framings=(JsonFraming(), MsgpackFraming()))
    connection = make_connection("accept", "alice", framings=(MsgpackFraming(), JsonFraming()))
    shake_hands(bob, connection)
    assert bob.encode(pack(("x",))) == b"\x91\xa1x"
    assert connection.encode(pack(("x",))) == b'["x"]'
    assert connection.decode(bob.encode(pack(("x",)))) == [["x"]]
    assert bob.decode(connection.encode(pack(("x", b"\xff")))) == [["x", "ÿ"]]


def test_each_direction_has_the_method_its_reader_prefers() -> None:
    both: tuple[AuthMethod, ...] = (HmacSha3(), HmacSha3Role())
    bob = make_connection("dial", "bob", offer=both, accept=both)
    connection = alice(offer=both)
    shake_hands(bob, connection)
    assert bob._transcript.method == "hmac_sha3_512_role"
    assert connection._transcript.method == "hmac_sha3_512"


def test_lines_may_end_in_cr_lf() -> None:
    connection = alice()
    data = BOB + nonce_line_of("bob") + bobs_proof()
    events = connection.receive(data.replace(b"\n", b"\r\n"))
    assert [type(event) for event in events] == [Greeted, Proved]


def test_a_line_may_be_as_long_as_four_kilobytes() -> None:
    padding = b"x" * (MAX_LINE - len(BOB) - len(b";k="))
    line = BOB[:-1] + b";k=" + padding + b"\n"
    assert len(line) == MAX_LINE
    assert len(alice().receive(line + nonce_line_of("bob"))) == 1


@quick
@given(
    st.lists(messages, max_size=5),
    st.lists(messages, max_size=5),
    st.lists(st.tuples(st.booleans(), st.integers(1, 150)), max_size=100),
    st.permutations(FRAMINGS),
    st.permutations(FRAMINGS),
)
def test_two_sides_understand_each_other_at_any_cut(
    to_accept: list[tuple[Any, ...]],
    to_dial: list[tuple[Any, ...]],
    cuts: list[tuple[bool, int]],
    framings_of_dial: list[Any],
    framings_of_accept: list[Any],
) -> None:
    sides = (
        make_connection("dial", "bob", framings=framings_of_dial),
        make_connection("accept", "alice", framings=framings_of_accept),
    )
    for_side = (deque(to_dial), deque(to_accept))
    wires = (bytearray(), bytearray())  # towards each side
    events: tuple[list[Any], list[Any]] = ([], [])
    arrived: tuple[list[Any], list[Any]] = ([], [])
    for side in (0, 1):
        wires[1 - side].extend(sides[side].outgoing())
    steps = deque(cuts)
    while wires[0] or wires[1]:
        side, size = steps.popleft() if steps else (len(wires[1]) > 0, 10_000)
        data = bytes(wires[side][:size])
        del wires[side][:size]
        if len(events[side]) == 2:
            arrived[side].extend(sides[side].decode(data))
            assert sides[side].error is None
        else:
            for event in sides[side].receive(data):
                events[side].append(event)
                if isinstance(event, Greeted):
                    wires[1 - side].extend(sides[side].prove())
                    for message in for_side[1 - side]:
                        wires[1 - side].extend(sides[side].encode(pack(message)))
    for side in (0, 1):
        arrived[side].extend(sides[side].decode(b""))
        assert [type(event) for event in events[side]] == [Greeted, Proved]
        text = sides[1 - side].encode(pack(())) == b"[]"
        assert arrived[side] == [as_read(message, json=text) for message in for_side[side]]


# Whose fault it is: the peer's.

BAD_LINES = {
    "garbage": (b"\x00\xff\x00\n", "not UTF-8"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\n", "no AEMP greeting, but b'SSH-2.0-OpenSSH_9.2'"),
    "wrong version": (b"aemp;2;bob;a;f\n", "protocol version '2'"),
    "no node ID": (b"aemp;1;b b;a;f\n", "no node ID"),
    "our own ID": (
        b"aemp;1;alice;hmac_sha3_512_role;msgpack,json;k=v\n",
        "goes by our own node ID 'alice'",
    ),
    "echo of our greeting": (alice().outgoing().splitlines()[0] + b"\n", "echoes our own greeting"),
    "no common method": (
        BOB.replace(b"hmac_sha3_512_role", b"hmac_md6_64_256,new"),
        "no common authentication method: the peer accepts 'hmac_md6_64_256,new', "
        "we are willing to send hmac_sha3_512_role",
    ),
    "no method at all": (b"aemp;1;bob;;json\n", "no common authentication method"),
    "no common framing": (
        BOB.replace(b"msgpack,json", b"storable"),
        "no common framing: the peer accepts 'storable', we write msgpack, json",
    ),
    "malformed incarnation": (BOB[:-1] + b";incarnation=?\n", "incarnation='\\?'"),
    "malformed heartbeat": (BOB[:-1] + b";heartbeat=soon\n", "heartbeat='soon'"),
    "endless line": (b"x" * MAX_LINE, "longer than 4096 bytes"),
    "endless line that began well": (BOB[:-1] + b";" * MAX_LINE, "longer than 4096 bytes"),
    "oversized line": (BOB[:-1] + b";k=" + b"x" * MAX_LINE + b"\n", "longer than 4096 bytes"),
    "empty nonce": (BOB + b"\n", "nonce has 0 bytes"),
    "short nonce": (BOB + base64.b64encode(bytes(31)) + b"\n", "nonce has 31 bytes"),
    "nonce not base64": (BOB + b"some-nonce\n", "nonce is not base64: b'some-nonce'"),
    "our own nonce": (BOB + nonce_line_of("alice"), "echoes our own nonce"),
    "endless nonce": (BOB + b"A" * MAX_LINE, "longer than 4096 bytes"),
}
HELLO = BOB + nonce_line_of("bob")
PROVEN = HELLO + bobs_proof()
BAD_PROOFS = {
    "no auth line": (b"hello\n", "no auth line METHOD;TOKEN;FRAMING: b'hello'"),
    "too many fields": (b"a;b;c;d\n", "no auth line"),
    "not ascii": ("a;ü;c\n".encode(), "no auth line"),
    "messages without proof": (pack(("", "eval", "1")) + b"\n", "no auth line"),
    "method never offered": (
        bobs_proof(HmacSha3()),
        "proves itself by 'hmac_sha3_512'; we accept hmac_sha3_512_role",
    ),
    "cleartext never offered": (bobs_proof(Cleartext()), "proves itself by 'cleartext'"),
    "framing never offered": (
        bobs_proof(framing="storable"),
        "chose framing 'storable'; we read msgpack, json",
    ),
    "wrong token": (b"hmac_sha3_512_role;" + b"0" * 128 + b";msgpack\n", "token of the peer is wr"),
    "empty token": (b"hmac_sha3_512_role;;msgpack\n", "token of the peer is wrong"),
    "token for another framing": (
        bobs_proof(framing="json").replace(b"json", b"msgpack"),
        "token of the peer is wrong",
    ),
    "token for the same role": (bobs_proof(role="accept"), "token of the peer is wrong"),
    "endless auth line": (b"x" * MAX_LINE, "longer than 4096 bytes"),
}
BAD_INPUTS = BAD_LINES | {
    name: (HELLO + line, problem) for name, (line, problem) in BAD_PROOFS.items()
}


@pytest.mark.parametrize("piece", [1, 13, 1_000_000])
@pytest.mark.parametrize(("data", "problem"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_a_peer_that_breaks_the_rules_is_told_from_us(
    data: bytes, problem: str, piece: int
) -> None:
    connection = alice()
    connection.outgoing()
    with pytest.raises(RemoteProtocolError, match=problem) as caught:
        for part in cut(data, [piece] * len(data)):
            connection.receive(part)
    assert len(str(caught.value)) < 250
    # Nothing more is read, nothing is kept, and our proof does not go out any more.
    with pytest.raises(RemoteProtocolError, match="broke the protocol"):
        connection.receive(HELLO + bobs_proof())
    with pytest.raises(LocalProtocolError, match="the peer broke the protocol"):
        connection.prove()
    with pytest.raises(LocalProtocolError):
        connection.decode(b"")
    assert not connection._buffer


def test_a_wrong_secret_is_refused_by_both_sides() -> None:
    bob, connection = make_connection("dial", "bob", secret=b"another secret"), alice()
    connection.receive(bob.outgoing())
    bob.receive(connection.outgoing())
    proofs = bob.prove(), connection.prove()
    for reader, proof in zip((connection, bob), proofs, strict=True):
        with pytest.raises(RemoteProtocolError, match="it has another secret"):
            reader.receive(proof)


def test_reflection_two_listeners_piped_together_refuse_each_other() -> None:
    """Whoever stands between two listeners passes on what each says, the proofs included."""
    one, other = make_connection("accept", "alice"), make_connection("accept", "carol")
    one.receive(other.outgoing())
    other.receive(one.outgoing())
    proofs = one.prove(), other.prove()
    for reader, proof in zip((other, one), proofs, strict=True):
        with pytest.raises(RemoteProtocolError, match="token of the peer is wrong"):
            reader.receive(proof)


def test_our_own_proof_is_none_of_the_peer() -> None:
    connection = greeted()
    with pytest.raises(RemoteProtocolError, match="token of the peer is wrong"):
        connection.receive(connection.prove())


def test_cleartext_is_taken_on_loopback_only_and_only_if_configured() -> None:
    accept = (HmacSha3Role(), Cleartext())
    for loopback in (True, False):
        connection = alice(accept=accept, loopback=loopback)
        connection.outgoing()
        connection.receive(HELLO)
        if loopback:
            assert connection.receive(bobs_proof(Cleartext())) == [Proved("cleartext", "msgpack")]
        else:
            with pytest.raises(RemoteProtocolError, match="on loopback only"):
                connection.receive(bobs_proof(Cleartext()))


def test_a_fault_in_a_message_ends_reading_after_the_good_ones() -> None:
    connection = greeted()
    connection.receive(bobs_proof())
    assert connection.decode(pack(("a",)) + b"\x91\x01" + pack(("b",))) == [["a"]]
    assert "begins with a str" in str(connection.error)
    assert connection.decode(pack(("c",))) == []
    with pytest.raises(RemoteProtocolError):
        connection.receive(b"")


def test_frames_are_limited() -> None:
    connection = greeted(frame_limit=100)
    connection.receive(bobs_proof())
    assert connection.decode(pack(("a", "x" * 100))) == []
    assert "longer than 100 bytes" in str(connection.error)


def test_frames_that_come_before_they_may_be_read_are_limited() -> None:
    connection = greeted()
    connection.receive(bobs_proof())
    connection.receive(bytes(MAX_EARLY - 1))
    connection.receive(b"xx")
    with pytest.raises(RemoteProtocolError, match=f"over {MAX_EARLY} bytes came before"):
        connection.receive(b"x")
    assert not connection._buffer


def test_nothing_is_kept_of_a_flood_in_the_handshake() -> None:
    connection = alice()
    with pytest.raises(RemoteProtocolError):
        connection.receive(bytes(10 * MAX_EARLY))
    assert not connection._buffer


@quick
@given(
    st.sampled_from([b"", BOB, HELLO, PROVEN]),
    st.binary(max_size=200) | st.text("aemp;1\n=,bob", max_size=60).map(str.encode),
    sizes,
)
def test_any_bytes_at_any_stage_are_at_worst_the_peers_fault(
    beginning: bytes, data: bytes, sizes: list[int]
) -> None:
    def feed(pieces: Iterable[bytes]) -> tuple[list[Any], bool]:
        connection = alice()
        events: list[Any] = []
        try:
            for piece in pieces:
                events += connection.receive(piece)
        except RemoteProtocolError as error:
            assert len(str(error)) < 250
            return events, False
        if Proved("hmac_sha3_512_role", "msgpack") in events:
            events += connection.decode(b"")
        return events, connection.error is None

    events, well = feed([beginning, data])
    assert (Proved("hmac_sha3_512_role", "msgpack") in events) == (beginning == PROVEN)
    assert feed(cut(beginning + data, sizes))[1] == well


# Whose fault it is: ours.


def test_every_step_of_ours_out_of_turn_is_our_fault() -> None:
    connection = alice()
    with pytest.raises(LocalProtocolError, match="cannot send messages: our side has said nothing"):
        connection.encode(HEARTBEAT)
    with pytest.raises(LocalProtocolError, match="prove ourselves: the peer has said nothing yet"):
        connection.prove()
    with pytest.raises(LocalProtocolError, match="cannot read messages: the peer has said nothing"):
        connection.decode(b"")
    connection.receive(HELLO)
    with pytest.raises(LocalProtocolError, match="cannot prove itself: our side has said nothing"):
        connection.prove()
    connection.outgoing()
    with pytest.raises(LocalProtocolError, match="cannot greet: our side has sent greeting and"):
        connection.outgoing()
    with pytest.raises(LocalProtocolError, match="cannot send messages: our side has sent greet"):
        connection.encode(HEARTBEAT)
    with pytest.raises(LocalProtocolError, match="cannot read messages: the peer has sent greet"):
        connection.decode(b"")
    connection.prove()
    with pytest.raises(LocalProtocolError, match="cannot prove itself: our side has proved itself"):
        connection.prove()
    assert connection.encode(HEARTBEAT) == HEARTBEAT


def test_arguments_that_contradict_each_other_are_our_fault() -> None:
    with pytest.raises(LocalProtocolError, match="names \\['cleartext', 'storable'\\], which we"):
        Connection(
            "dial",
            Greeting("n", ("cleartext",), ("json", "storable")),
            nonce_of("n"),
            secret=SECRET,
            auth_offer=[],
            auth_accept=[HmacSha3Role()],
            framings=FRAMINGS,
            frame_limit=1,
        )
    with pytest.raises(LocalProtocolError, match="nonce of 31 bytes"):
        alice(nonce=bytes(31))
    with pytest.raises(LocalProtocolError, match="no node ID"):
        make_connection("dial", "b b")


def test_cleartext_is_not_sent_even_if_offered() -> None:
    connection = alice(offer=[Cleartext()])
    connection.outgoing()
    connection.receive(BOB.replace(b"hmac_sha3_512_role", b"cleartext") + nonce_line_of("bob"))
    with pytest.raises(LocalProtocolError, match="never sent"):
        connection.prove()


@pytest.mark.parametrize("token", ["a;b", "a\nb", "ü", "x" * MAX_LINE])
def test_a_method_whose_token_cannot_be_sent_is_our_fault(token: str) -> None:
    class Odd(HmacSha3Role):
        def token(self, transcript: Transcript, secret: bytes) -> str:
            return token

    connection = greeted(offer=[Odd()])
    with pytest.raises(LocalProtocolError, match="cannot be a token"):
        connection.prove()


# The table.


def test_the_table_is_whole() -> None:
    assert TRANSITIONS.keys() == set(State)
    for state, steps in TRANSITIONS.items():
        assert steps[Step.FAULT] is State.BROKEN
        forward = [step for step in steps if step is not Step.FAULT]
        assert forward == [_NEXT_LINE.get(state, Step.MESSAGE)] or state is State.BROKEN
    seen, state = set(), State.SILENT
    while state not in seen:
        seen.add(state)
        state = next(iter(TRANSITIONS[state].values()))
    assert seen == set(State) - {State.BROKEN}


def test_a_connection_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        bob, connection = make_connection("dial", "bob"), alice()
        shake_hands(bob, connection)
        freed = weakref.ref(connection)
        del connection
        assert freed() is None
    finally:
        gc.enable()


# -- who is admitted -----------------------------------------------------------------------------


def test_what_is_told_of_a_peer_is_what_admitted_it() -> None:
    alice = make_connection("dial", "alice")
    bob = make_connection("accept", "bob", admit=lambda peer: replace(peer, identity="known"))
    (greeted,) = bob.receive(alice.outgoing())
    assert greeted == Greeted(bob.peer)  # type: ignore[arg-type]
    assert bob.peer is not None
    assert (bob.peer.id, bob.peer.identity) == ("alice", "known")


def test_a_peer_that_is_not_admitted_gets_no_proof() -> None:
    def admit(peer: PeerInfo) -> PeerInfo:
        raise RemoteProtocolError(f"{peer.id} may not enter")

    alice = make_connection("dial", "alice")
    bob = make_connection("accept", "bob", admit=admit)
    bob.outgoing()
    with pytest.raises(RemoteProtocolError, match="alice may not enter"):
        bob.receive(alice.outgoing())
    with pytest.raises(LocalProtocolError):
        bob.prove()
