"""Names: which node IDs a URI in a certificate grants, and to whom it is none at all."""

from __future__ import annotations

import pytest

from aemp_core.errors import ConfigError
from aemp_tls.names import Grant


@pytest.mark.parametrize(
    ("name", "node_id", "granted"),
    [
        ("alice", "alice", True),
        ("alice", "alice2", False),
        ("alice", "alic", False),
        ("alice", "Alice", False),
        ("anon/*", "anon/0VbijziV62Q9aX", True),
        ("anon/*", "anon/a/b", True),
        ("anon/*", "anon/", False),
        ("anon/*", "anon", False),
        ("anon/*", "anonymous", False),
        ("w*", "worker", True),
        ("w*", "w", False),
        ("*", "anything", True),
    ],
)
def test_what_a_grant_covers(name: str, node_id: str, granted: bool) -> None:
    grant = Grant.of("example", name)
    assert grant.covers(node_id) is granted
    assert Grant.parse(str(grant)) == grant


@pytest.mark.parametrize(
    "uri",
    [
        "aemp://example",
        "aemp://example/",
        "aemp:///alice",
        "aemp://exa mple/alice",
        "aemp://example/al ice",
        "aemp://example/a*b",
        "aemp://example/**",
        "aemp://example/*/x",
        "aemp://example/alice?x",
        "aemp://example/alic\u00e9",
        "https://example/alice",
        "AEMP://example/alice",
        f"aemp://{'n' * 65}/alice",
        f"aemp://example/{'n' * 256}",
        "aemp://example/alice\n",
    ],
)
def test_what_is_no_grant(uri: str) -> None:
    with pytest.raises(ConfigError):
        Grant.parse(uri)
