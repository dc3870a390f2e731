"""The header of what goes over a relay: single datagrams, and bursts of them."""

import pytest

from meshnode.codec.channels import (
    Run,
    encode_header,
    may_have_channels,
    parse,
    relabel,
    runs,
    wrap,
)
from meshnode.errors import BadPacket, DropReason

DATA = bytes((4, 0, 0, 0)) + bytes(12)


def test_the_header_is_two_little_endian_words() -> None:
    """Type 5, and the number that the receiver gave."""
    assert encode_header(0x01020304) == bytes((5, 0, 0, 0, 4, 3, 2, 1))
    assert parse(encode_header(7) + b"content") == (7, b"content")
    assert parse(encode_header(7)) == (7, b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.BAD_LENGTH),
        (encode_header(7)[:7], DropReason.BAD_LENGTH),
        (bytes((5, 0, 0, 1, 7, 0, 0, 0)), DropReason.BAD_TYPE),
        (DATA, DropReason.BAD_TYPE),
    ],
)
def test_anything_else_is_refused(data: bytes, reason: DropReason) -> None:
    """With the reason."""
    with pytest.raises(BadPacket) as refusal:
        parse(data)
    assert refusal.value.reason is reason


def test_a_burst_is_split_by_channels() -> None:
    """Neighbours with the same number stay together; the last may be shorter."""
    pieces = [
        encode_header(1) + bytes(8),
        encode_header(1) + bytes(8),
        DATA,
        encode_header(2) + bytes(8),
        encode_header(1) + bytes(2),
    ]
    data = bytearray(b"".join(pieces))
    assert may_have_channels(data, len(data), 16)
    assert list(runs(data, len(data), 16)) == [
        Run(0, 32, 1),
        Run(32, 48, None),
        Run(48, 64, 2),
        Run(64, 74, 1),
    ]


def test_what_has_no_whole_header_is_no_channel() -> None:
    """Nor what has another type behind the same first byte."""
    for data in (encode_header(1)[:7], bytes((5, 0, 1, 0)) + bytes(12)):
        assert [run.channel for run in runs(bytearray(data), len(data), 16)] == [None]
    assert list(runs(bytearray(100), 0, 0)) == []
    assert not may_have_channels(bytearray(b"\5"), 0, 0)


def test_bytes_behind_the_burst_are_not_looked_at() -> None:
    """A buffer holds what was received before."""
    data = bytearray(DATA + encode_header(1) + bytes(8))
    assert not may_have_channels(data, 16, 16)
    assert list(runs(data, 16, 16)) == [Run(0, 16, None)]


def test_a_burst_is_wrapped_and_relabelled() -> None:
    """Each datagram gets the header, and a relay puts its own in place of it."""
    data = wrap(bytearray(b"aaaabbbbcc"), 4, 9)
    header = encode_header(9)
    assert data == header + b"aaaa" + header + b"bbbb" + header + b"cc"
    relabel(data, 12, 2**32 - 1)
    header = encode_header(2**32 - 1)
    assert data == header + b"aaaa" + header + b"bbbb" + header + b"cc"
