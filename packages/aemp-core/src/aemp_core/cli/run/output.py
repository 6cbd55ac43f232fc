"""What ``aemp run`` prints of a node that is up."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ..text import to_json

__all__ = ["tell_up"]


def tell_up(node_id: str, incarnation: str, addresses: Sequence[str], *, as_json: bool) -> None:
    """Print the node ID and the addresses, or one line of JSON."""
    if as_json:
        told = {"node": node_id, "incarnation": incarnation, "addresses": list(addresses)}
        lines = [to_json(told)]
    else:
        lines = [f"node {node_id}", *(f"address {address}" for address in addresses)]
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:
        # Whoever read our output has seen enough, but the node is to stay.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
