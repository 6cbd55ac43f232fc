"""What ``aemp run`` prints of a node that is up."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..text import to_json

__all__ = ["tell_up"]


def tell_up(node_id: str, incarnation: str, addresses: Sequence[str], *, as_json: bool) -> None:
    """Print the node ID and the addresses, or one line of JSON."""
    if as_json:
        click.echo(
            to_json({"node": node_id, "incarnation": incarnation, "addresses": list(addresses)})
        )
        return
    click.echo(f"node {node_id}")
    for address in addresses:
        click.echo(f"address {address}")
