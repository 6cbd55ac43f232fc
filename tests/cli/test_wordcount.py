"""Counting words: the two ways agree with the obvious one, whatever the bytes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aemp_core.cli.demo import wordcount
from aemp_core.cli.demo.wordcount import Skipped, count_directly, count_words

GO_ON = threading.Event()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.text(st.sampled_from("ab \n\r\t\u00a0\u2028\u0085\x1cé漢😀"), max_size=40),
    st.integers(1, 7),
)
def test_words_are_those_of_split_wherever_the_pieces_end(
    tmp_path: Path, text: str, piece: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wordcount, "PIECE_BYTES", piece + 1)
        count = count_words(os.fsencode(path))
    assert count.words == len(text.split())
    assert count.size == len(text.encode())
    assert count == count_directly(os.fsencode(path), GO_ON)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=30))
def test_both_ways_agree_on_what_is_binary(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    answers = []
    for count in (count_words, lambda path: count_directly(path, GO_ON)):
        try:
            answers.append(count(os.fsencode(path)))
        except Skipped as skipped:
            answers.append(skipped.kind)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\0b", "it has NUL bytes"),
        (b"a\xff", "it is not UTF-8"),
        ("é".encode()[:1], "it ends inside a UTF-8 character"),
    ],
)
def test_binary_is_said_to_be_so(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(Skipped) as caught:
        count_words(os.fsencode(tmp_path / "file"))
    assert (caught.value.kind, caught.value.text) == ("binary", text)


def test_files_that_cannot_be_counted_say_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    kinds = {}
    for name in ("gone", "pipe", "loop"):
        for count in (count_words, lambda path: count_directly(path, GO_ON)):
            with pytest.raises(Skipped) as caught:
                count(os.fsencode(tmp_path / name))
            kinds[name] = caught.value.kind
    assert kinds == {"gone": "vanished", "pipe": "special", "loop": "unreadable"}
