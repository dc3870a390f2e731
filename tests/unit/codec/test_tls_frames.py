"""Datagrams in a stream, in whatever pieces it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.tls_frames import MAX_FRAME, FrameReader, encode_frame
from meshnode.errors import CodecError


@given(st.lists(st.binary(min_size=1, max_size=200)), st.data())
def test_pieces_do_not_matter(datagrams: list[bytes], data: st.DataObject) -> None:
    """What was sent comes out, in order, and nothing is kept."""
    stream = b"".join(map(encode_frame, datagrams))
    reader = FrameReader()
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.receive(stream[:size])
        stream = stream[size:]
    assert found == datagrams


def test_largest_and_smallest() -> None:
    """What UDP can carry fits, and nothing else."""
    largest = bytes(MAX_FRAME)
    assert FrameReader().receive(encode_frame(largest)) == [largest]
    for wrong in (b"", bytes(MAX_FRAME + 1)):
        with pytest.raises(CodecError):
            encode_frame(wrong)


@pytest.mark.parametrize("head", ["0000", "ffff", "ffe4"])
def test_impossible_lengths_are_refused_at_once(head: str) -> None:
    """Before the bytes that they announce."""
    with pytest.raises(CodecError):
        FrameReader().receive(bytes.fromhex(head))
