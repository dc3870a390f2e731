"""One msgpack array within its bounds, and no other bytes."""

import struct
from typing import Any

import msgpack
import pytest

from meshnode.codec.arrays import (
    MAX_DEPTH,
    MAX_ITEMS,
    pack_array,
    require_canonical,
    unpack_array,
)
from meshnode.errors import CodecError


def nested(depth: int) -> list[Any]:
    """Return a list within *depth* - 1 others."""
    plain: list[Any] = []
    for _ in range(depth - 1):
        plain = [plain]
    return plain


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [0, 2**64 - 1, -1, True, None, "text", b"bytes"],
        [[1, [2, [3]]], []],
        list(range(MAX_ITEMS)),
        nested(MAX_DEPTH),
    ],
)
def test_arrays_survive(plain: list[Any]) -> None:
    """What was packed is unpacked, and was canonical."""
    data = pack_array(plain)
    assert unpack_array(data, max_bytes=len(data)) == plain
    require_canonical(plain, data)


# Fault F36 of the catalogue: msgpack that claims, nests or means too much.
BOMBS = {
    "array of 2^32-1 items": b"\xdd\xff\xff\xff\xff",
    "array of 65535 items": b"\xdc\xff\xff",
    "one item too many": msgpack.packb([0] * (MAX_ITEMS + 1)),
    "map of 2^32-1 items": b"\x91\xdf\xff\xff\xff\xff",
    "byte string of 2^32-1": b"\x91\xc6\xff\xff\xff\xff",
    "text of 2^32-1": b"\x91\xdb\xff\xff\xff\xff",
    "extension of 2^32-1": b"\x91\xc9\xff\xff\xff\xff\x01",
    "1024 arrays deep": b"\x91" * 1024 + b"\x00",
    "60000 arrays deep": b"\x91" * 60_000 + b"\x00",
    "60000 maps deep": b"\x91" + b"\x81\xa1a" * 20_000 + b"\x00",
    "one array too deep": pack_array(nested(MAX_DEPTH + 1)),
    "arrays of arrays, all wide": b"\xdc\x00\x40" * 300,
    "map": msgpack.packb([{"a": 1}]),
    "empty map": b"\x91\x80",
    "map with one key twice": b"\x91\x82\xa1a\x01\xa1a\x02",
    "map with a number as key": b"\x91\x81\x01\x02",
    "map with an array as key": b"\x91\x81\x91\x01\x02",
    "float": msgpack.packb([1.0]),
    "not a number": msgpack.packb([float("nan")]),
    "infinity within": msgpack.packb([[float("inf")]]),
    "single-precision float": b"\x91\xca" + struct.pack(">f", 1.0),
    "timestamp": b"\x91\xd6\xff\x00\x00\x00\x00",
    "timestamp of 96 bits": b"\x91\xc7\x0c\xff" + bytes(12),
    "extension": b"\x91\xd4\x05\x00",
    "text that is no UTF-8": b"\x91\xa1\xff",
    "never used type": b"\x91\xc1",
    "trailing byte": b"\x90\x00",
    "second array": b"\x90\x90",
    "nothing": b"",
    "no array": b"\x01",
    "byte string": b"\xc4\x01\x00",
    "cut short": b"\x92\x01",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused(data: bytes) -> None:
    """Every one is a CodecError, before anything large is made of it."""
    with pytest.raises(CodecError):
        unpack_array(data, max_bytes=70_000)


def test_long_data_is_not_even_parsed() -> None:
    """More bytes than allowed are refused for that alone."""
    with pytest.raises(CodecError, match="too long"):
        unpack_array(bytes(11), max_bytes=10)


@pytest.mark.parametrize(
    ("plain", "data"),
    [
        ([1], b"\x91\xcc\x01"),
        ([1], b"\x91\xd3" + bytes(7) + b"\x01"),
        ([-1], b"\x91\xd0\xff"),
        ([1], b"\xdc\x00\x01\x01"),
        (["a"], b"\x91\xd9\x01a"),
        ([b"a"], b"\x91\xc5\x00\x01a"),
    ],
)
def test_longer_spellings_are_not_canonical(plain: list[Any], data: bytes) -> None:
    """They mean the same and are still refused."""
    assert unpack_array(data, max_bytes=100) == plain
    with pytest.raises(CodecError, match="canonical"):
        require_canonical(plain, data)


@pytest.mark.parametrize("plain", [[2**64], [-(2**63) - 1], [object()]])
def test_what_msgpack_cannot_say_is_refused(plain: list[Any]) -> None:
    """Integers of more than 64 bits and objects are a CodecError, too."""
    with pytest.raises(CodecError):
        pack_array(plain)
