"""Messages of a link: numbers, records, and what is none of it."""

import msgpack
import pytest

from meshnode.codec.links import PLACE, decode_message, encode_message
from meshnode.codec.strict import record, whole
from meshnode.errors import CodecError
from meshnode.types import Endpoint
from meshnode.values import frozen


@frozen
class Open:
    """A message with a field."""

    port: int


@frozen
class Close:
    """A message without one."""


DOWN = {1: (Open, record(Open, whole(1, 99)))}
UP = {1: (Close, record(Close))}


def test_messages_come_out_as_they_went_in() -> None:
    """The same number means another thing in the other direction."""
    assert decode_message(encode_message(Open(7), DOWN, UP), DOWN, max_bytes=9) == (
        Open(7)
    )
    assert decode_message(encode_message(Close(), DOWN, UP), UP, max_bytes=9) == Close()


def test_what_no_catalogue_has_is_refused() -> None:
    """And a field out of its range, by the name of the message."""
    with pytest.raises(CodecError, match="Close is no message of this link"):
        encode_message(Close(), DOWN)
    with pytest.raises(CodecError, match="Open: "):
        encode_message(Open(100), DOWN)


@pytest.mark.parametrize("plain", [[], [1], [2, [7]], [True, [7]], [1, [7], 0], ["x"]])
def test_unknown_types_are_refused(plain: list[object]) -> None:
    """A number that is none, too."""
    with pytest.raises(CodecError, match="unknown type"):
        decode_message(msgpack.packb(plain), DOWN, max_bytes=99)


@pytest.mark.parametrize("plain", [[1, []], [1, [0]], [1, ["7"]], [1, [7, 7]]])
def test_fields_must_be_what_they_are(plain: list[object]) -> None:
    """Of their number, type and range."""
    with pytest.raises(CodecError):
        decode_message(msgpack.packb(plain), DOWN, max_bytes=99)


def test_too_much_is_not_read() -> None:
    """Whatever it says."""
    with pytest.raises(CodecError):
        decode_message(msgpack.packb([1, [7]]), DOWN, max_bytes=2)


def test_a_place_has_one_form() -> None:
    """Else equal ones could be different bytes."""
    place = Endpoint("2001:db8::1", 53)
    assert PLACE.unpack(PLACE.pack(place)) == place
    for plain, why in (("[2001:DB8::1]:53", "usual"), ("paris:53", "is"), (7, "text")):
        with pytest.raises(ValueError, match=why):
            PLACE.unpack(plain)
