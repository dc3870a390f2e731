"""Each kind of field: what it takes, what it refuses, and its bytes."""

import enum
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest

from meshnode.codec import strict
from meshnode.codec.strict import Kind, Layout
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Prefix


class Colour(enum.IntFlag):
    """Two bits."""

    RED = 1
    BLUE = 4


class Tool(enum.IntEnum):
    """Two numbers."""

    SAW = 1
    AXE = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of two fields."""

    first: int
    second: bytes


SMALL = strict.whole(0, 9)
PAIR = strict.record(Pair, SMALL, strict.octets(1, 2))

TAKEN: list[tuple[Kind, Any, Any]] = [
    (SMALL, 0, 0),
    (SMALL, 9, 9),
    (strict.octets(2), b"ab", b"ab"),
    (strict.octets(0, 2), b"", b""),
    (strict.BOOLEAN, True, True),
    (strict.text(4), "ä\n\t", "ä\n\t"),
    (strict.text(4), "a \xa0", "a \xa0"),
    (strict.label(3), "a-b", "a-b"),
    (strict.printable(3), "a b", "a b"),
    (strict.flags(Colour), Colour.RED | Colour.BLUE, 5),
    (strict.flags(Colour), Colour(0), 0),
    (strict.numbered(Tool), Tool.AXE, 2),
    (strict.optional(SMALL), None, None),
    (strict.optional(SMALL), 3, 3),
    (strict.many(SMALL, 0, 2), (), []),
    (strict.many(SMALL, 0, 2), (2, 1), [2, 1]),
    (PAIR, Pair(1, b"a"), [1, b"a"]),
    (strict.PREFIX, Prefix.parse("0.0.0.0/0"), b"\x00"),
    (strict.PREFIX, Prefix.parse("10.0.0.0/8"), b"\x08\x0a"),
    (strict.PREFIX, Prefix.parse("10.128.0.0/9"), b"\x09\x0a\x80"),
    (strict.PREFIX, Prefix.parse("10.0.0.1/32"), b"\x20\x0a\x00\x00\x01"),
    (strict.PREFIX, Prefix.parse("::/0"), b"\x40"),
    (strict.PREFIX, Prefix.parse("2001:db8::/32"), b"\x60\x20\x01\x0d\xb8"),
    (strict.PREFIX, Prefix.parse("::1/128"), b"\xc0" + bytes(15) + b"\x01"),
    (strict.ENDPOINT, Endpoint("192.0.2.1", 51820), b"\xc0\x00\x02\x01\xca\x6c"),
    (strict.ENDPOINT, Endpoint("127.0.0.1", 1), b"\x7f\x00\x00\x01\x00\x01"),
    (strict.ENDPOINT, Endpoint("::ffff:ffff", 1), bytes(12) + b"\xff" * 4 + b"\0\1"),
    (
        strict.ENDPOINT,
        Endpoint("2001:db8::1", 65535),
        bytes.fromhex("20010db8000000000000000000000001ffff"),
    ),
]


@pytest.mark.parametrize(("kind", "value", "plain"), TAKEN)
def test_values_become_plain_data_and_back(kind: Kind, value: Any, plain: Any) -> None:
    """Both ways, with the very types."""
    packed = kind.pack(value)
    assert packed == plain
    assert type(packed) is type(plain)
    unpacked = kind.unpack(plain)
    assert unpacked == value
    assert type(unpacked) is type(value)


REFUSED: list[tuple[Kind, list[Any]]] = [
    (SMALL, [-1, 10, True, 1.0, "1", None, b"1", [1]]),
    (strict.octets(2), [b"a", b"abc", "ab", None, 2, [1, 2]]),
    (strict.octets(1, 2), [b"", b"abc"]),
    (strict.BOOLEAN, [0, 1, None, "true"]),
    (strict.text(4), ["ääa", b"a", None, "\r", "\x1b", "\x00", "\x7f", "\x9f"]),
    (strict.label(3), ["", "A", "a-", "abcd", b"abc", None, 1]),
    (strict.printable(3), ["abcd", "\n", "ä", b"a", None]),
    (strict.flags(Colour), [2, 3, 8, -1, True, None, "1"]),
    (strict.numbered(Tool), [0, 3, True, 1.0, None, []]),
    (strict.optional(SMALL), [10, False, []]),
    (
        strict.many(SMALL, 1, 2),
        [[], [1, 2, 3], [1, 1], [10], b"\x01", None, {1: 2}, "ab"],
    ),
    (PAIR, [[], [1], [1, b"a", 0], [b"a", 1], {1: b"a"}, None, "ab"]),
    (
        strict.PREFIX,
        [
            b"",
            b"\x08",
            b"\x08\x0a\x00",
            b"\x21\x0a\x00\x00\x01",
            b"\x21\x0a\x00\x00\x01\x00",
            b"\x3f" + bytes(8),
            b"\x07\x0b",
            b"\xc1" + bytes(17),
            b"\xff" + bytes(24),
            b"\x41\xc0",
            "10.0.0.0/8",
            None,
        ],
    ),
    (
        strict.ENDPOINT,
        [
            b"",
            bytes([192, 0, 2, 1, 0, 0]),
            bytes([0, 0, 0, 0, 0, 1]),
            bytes([224, 0, 0, 1, 0, 1]),
            bytes([239, 255, 255, 255, 0, 1]),
            bytes([255, 255, 255, 255, 0, 1]),
            bytes([192, 0, 2, 1, 1]),
            bytes(16) + b"\x00\x01",
            b"\xff\x02" + bytes(13) + b"\x01\x00\x01",
            bytes(10) + b"\xff\xff\xc0\x00\x02\x01\x00\x01",
            bytes(15) + b"\x01\x00\x00",
            bytes(19),
            "192.0.2.1:1",
            [b"\xc0\x00\x02\x01", 1, 0],
            None,
        ],
    ),
]


@pytest.mark.parametrize(
    ("kind", "plain"), [(kind, plain) for kind, plains in REFUSED for plain in plains]
)
def test_other_plain_data_is_refused(kind: Kind, plain: Any) -> None:
    """A wrong type, range, length or count is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        kind.unpack(plain)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SMALL, 10),
        (SMALL, True),
        (strict.octets(2), bytearray(2)),
        (strict.flags(Colour), 2),
        (strict.numbered(Tool), 3),
        (strict.many(SMALL, 0, 1), (1, 2)),
        (strict.many(SMALL, 0, 2), (1, 1)),
        (strict.PREFIX, Prefix(4, 1, 31)),
        (strict.PREFIX, Prefix(4, 0, 33)),
        (strict.PREFIX, Prefix(6, 0, -1)),
        (strict.ENDPOINT, Endpoint("192.0.2.1", 0)),
        (strict.ENDPOINT, Endpoint("192.0.2.1", 65536)),
        (strict.ENDPOINT, Endpoint("fe80::1", 1, 3)),
        (strict.ENDPOINT, Endpoint("fe80::1%3", 1)),
        (strict.ENDPOINT, Endpoint("ff02::1", 1)),
        (strict.ENDPOINT, Endpoint("0.0.0.0", 1)),
        (strict.ENDPOINT, Endpoint("example.org", 1)),
    ],
)
def test_values_that_could_not_be_read_are_not_written(kind: Kind, value: Any) -> None:
    """Packing is as strict as unpacking."""
    with pytest.raises(ValueError, match=r"."):
        kind.pack(value)


LAYOUT = Layout(Pair, SMALL, strict.octets(0, 20), max_bytes=10)


def test_a_layout_is_one_array() -> None:
    """The bytes are those of the array of the fields."""
    assert LAYOUT.encode(Pair(1, b"a")) == msgpack.packb([1, b"a"])
    assert LAYOUT.decode(msgpack.packb([1, b"a"])) == Pair(1, b"a")


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\xcc\x01\xc4\x01a",
        b"\x92\x01\xc4\x01a\x00",
        b"\x92\x01\xc4\x01",
        msgpack.packb([1, bytes(7)]),
        msgpack.packb([1, "a"]),
        b"",
    ],
)
def test_a_layout_takes_nothing_else(data: bytes) -> None:
    """Longer spellings, trailing bytes, cuts, more than its length, wrong types."""
    with pytest.raises(CodecError, match="Pair"):
        LAYOUT.decode(data)


@pytest.mark.parametrize("value", [Pair(10, b"a"), Pair(1, bytes(7))])
def test_a_layout_writes_only_what_it_takes(value: Pair) -> None:
    """A field out of range or too many bytes are refused when encoding."""
    with pytest.raises(CodecError, match="Pair"):
        LAYOUT.encode(value)
