"""PCP's bytes, against RFC 6887's diagrams written out by hand."""

import pytest

from meshnode.codec.pcp import (
    MAX_BYTES,
    Announced,
    Mapped,
    Refused,
    map_request,
    parse_answer,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint
from tests import routers

NONCE = bytes(range(12))
REQUEST4 = bytes.fromhex(
    "02010000 00001c20 00000000000000000000ffffc0a80705"
    "000102030405060708090a0b 11000000 ca6c ca6c 00000000000000000000ffff00000000"
)
REQUEST6 = bytes.fromhex(
    "02010000 00000000 20010db8000000000000000000000005"
    "000102030405060708090a0b 11000000 ca6c 0000 00000000000000000000000000000000"
)


def test_requests_are_those_of_the_rfc() -> None:
    """Sections 7.1 and 11.1; IPv4 as a mapped address, no outside address wished."""
    assert map_request("192.168.7.5", NONCE, 51820, 51820, 7200) == REQUEST4
    assert map_request("2001:db8::5", NONCE, 51820, 0, 0) == REQUEST6


def test_mapping_is_read() -> None:
    """Of both versions; options after it are skipped."""
    data = routers.pcp_answer(REQUEST4, epoch=9, lifetime=60)
    mapped = Mapped(9, 60, NONCE, 51820, Endpoint("203.0.113.1", 4000))
    assert parse_answer(data) == mapped
    assert parse_answer(data + bytes(4)) == mapped
    v6 = ("2001:db8::5", 51820)
    data = routers.pcp_answer(REQUEST6, epoch=9, lifetime=60, external=v6)
    assert parse_answer(data) == Mapped(9, 60, NONCE, 51820, Endpoint(*v6))


def test_refusals_and_announcements_are_read() -> None:
    """A refusal of our version is of another; one without a body has no nonce."""
    data = routers.pcp_answer(REQUEST4, epoch=9, lifetime=30, result=8)
    assert parse_answer(data) == Refused(9, 30, 8, NONCE)
    assert parse_answer(data[:24]) == Refused(9, 30, 8, b"")
    unsupported = bytes([1, 0x81, 0, 1]) + data[4:24]
    assert parse_answer(unsupported) == Refused(9, 30, 1, b"")
    assert parse_answer(routers.pcp_announcement(77)) == Announced(77)


@pytest.mark.parametrize("size", [0, 23, 25, 59, MAX_BYTES + 4])
def test_bad_length_is_refused(size: int) -> None:
    """Below a header, no multiple of four, or beyond the greatest."""
    data = routers.pcp_answer(REQUEST4, epoch=9, lifetime=60)
    with pytest.raises(CodecError):
        parse_answer((data + bytes(MAX_BYTES))[:size])


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 1), (0, 3), (1, 1), (1, 0x82), (36, 6)],
)
def test_other_answers_are_refused(at: int, value: int) -> None:
    """Another version, a request, another opcode, a mapping of TCP."""
    data = bytearray(routers.pcp_answer(REQUEST4, epoch=9, lifetime=60))
    data[at] = value
    with pytest.raises(CodecError):
        parse_answer(bytes(data))
    data[3] = 8
    data[1] = 0x81
    if at == 0:
        with pytest.raises(CodecError):
            parse_answer(bytes(data))
