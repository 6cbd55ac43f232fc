"""The kept corpus: one directory per target, small files.

valid-NAME      a valid session, or a known attack (`seeds`)
failed-NAME     an input that once broke something, called after what it broke
reached         one input per line in hexadecimal: those a long run was left with because
                each reached code no other did; a new run begins with them
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["CORPUS", "REACHED", "ROOT", "inputs"]

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz" / "corpus"
REACHED = "reached"


def inputs(target: str) -> Iterator[tuple[str, bytes]]:
    """Every kept input of a target, with a name for it."""
    for path in sorted((CORPUS / target).iterdir()):
        if path.name == REACHED:
            for number, line in enumerate(path.read_text("ascii").split(), start=1):
                yield f"{REACHED}-{number}", bytes.fromhex(line)
        else:
            yield path.name, path.read_bytes()
