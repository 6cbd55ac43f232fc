"""Addresses: every form, and every slip told with the way to write it."""

from __future__ import annotations

import pytest

from aemp_core.errors import AddressError
from aemp_core.lobby import LOCAL_SOURCE
from aemp_tcp.address import is_loopback, join, parse_tcp, parse_unix, source_of


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("tcp://host.example:4040", ("host.example", 4040)),
        ("tcp://under_score-dash:1", ("under_score-dash", 1)),
        ("tcp://127.0.0.1:0", ("127.0.0.1", 0)),
        ("tcp://[::1]:4040", ("::1", 4040)),
        ("tcp://[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("tcp://*:4040", ("*", 4040)),
        ("tcp://:4040", ("*", 4040)),
        ("tcp://*:0", ("*", 0)),
    ],
)
def test_forms_to_listen_on(address: str, found: tuple[str, int]) -> None:
    assert parse_tcp(address, listening=True) == found


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("tcp://host.example.:4040", ("host.example.", 4040)),
        ("tcp://[2001:db8::1]:4040", ("2001:db8::1", 4040)),
        ("tcp://:4040", ("localhost", 4040)),
    ],
)
def test_forms_to_dial(address: str, found: tuple[str, int]) -> None:
    assert parse_tcp(address, listening=False) == found


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("tcp://", "host:port"),
        ("tcp://host", "host:port"),
        ("tcp://host:", "host:port"),
        ("tcp://host:http", "host:port"),
        ("tcp://host:65536", "host:port"),
        ("tcp://host:-1", "host:port"),
        ("tcp://host:\u0661", "host:port"),
        ("tcp://host:80/path", "host:port"),
        ("host:80", "host:port"),
        ("udp://host:80", "host:port"),
        ("tcp://::1:4040", "[::1]:4040"),
        ("tcp://2001:db8::1:4040", "[2001:db8::1]:4040"),
        ("tcp://[host]:80", "no IPv6 address"),
        ("tcp://[1.2.3.4]:80", "no IPv6 address"),
        ("tcp://user@host:80", "no host name"),
        ("tcp://ho st:80", "no host name"),
        ("tcp://-host:80", "no host name"),
        ("tcp://h\u00f6st:80", "no host name"),
        ("tcp://" + "x" * 300 + ":80", "no host name"),
    ],
)
@pytest.mark.parametrize("listening", [True, False])
def test_a_slip_is_told_with_the_address_and_the_remedy(
    address: str, remedy: str, listening: bool
) -> None:
    with pytest.raises(AddressError) as error:
        parse_tcp(address, listening=listening)
    assert repr(address) in str(error.value) and remedy in str(error.value)


@pytest.mark.parametrize("address", ["tcp://*:4040", "tcp://host:0", "tcp://:0"])
def test_what_only_a_listener_can_use_is_not_dialled(address: str) -> None:
    with pytest.raises(AddressError, match="only a listener"):
        parse_tcp(address, listening=False)


def test_paths() -> None:
    assert parse_unix("unix:///run/aemp/a b.socket") == "/run/aemp/a b.socket"
    for address in ("unix://", "unix:///", "unix://relative", "unix:///a/", "unix:///a\0b", "/a"):
        with pytest.raises(AddressError, match="unix:///path/to/socket"):
            parse_unix(address)


def test_ip_addresses_are_judged_by_what_they_are() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert is_loopback(host)
        assert source_of(host) == LOCAL_SOURCE
    for host in ("128.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:192.0.2.1", "2001:db8::1"):
        assert not is_loopback(host)
    assert source_of("192.0.2.1") == source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"


def test_joining_is_the_inverse_of_parsing() -> None:
    for host in ("host", "1.2.3.4", "::1"):
        assert parse_tcp("tcp://" + join(host, 1), listening=False) == (host, 1)
