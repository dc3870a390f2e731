"""NAT-PMP's bytes, against RFC 6886's diagrams written out by hand."""

import pytest

from meshnode.codec.natpmp import (
    ExternalAddress,
    Mapped,
    Refused,
    address_request,
    map_request,
    parse_answer,
)
from meshnode.errors import CodecError
from tests import routers


def test_requests_are_those_of_the_rfc() -> None:
    """Sections 3.2 and 3.3."""
    assert address_request() == bytes([0, 0])
    assert map_request(0x1234, 0x5678, 7200) == bytes.fromhex(
        "000100001234567800001c20"
    )


def test_answers_are_read() -> None:
    """Outside address, mapping, and refusals of any length."""
    address = bytes.fromhex("00800000000000ffcb007101")
    assert parse_answer(address) == ExternalAddress(255, "203.0.113.1")
    mapping = bytes.fromhex("008100000000000112345678 00001c20".replace(" ", ""))
    assert parse_answer(mapping) == Mapped(1, 0x1234, 0x5678, 7200)
    assert parse_answer(bytes.fromhex("0081000200000005")) == Refused(5, 2)
    refused = routers.natpmp_mapping(5, 1, 0, 0, result=99)
    assert parse_answer(refused) == Refused(5, 99)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\x80\0\0\0\0\0",
        bytes.fromhex("00800000000000ffcb0071"),
        bytes.fromhex("00800000000000ffcb00710100"),
        bytes.fromhex("00820000000000ff1234567800001c20"),  # TCP
        bytes.fromhex("000000000000 00ffcb007101".replace(" ", "")),  # a request
        bytes.fromhex("01800000000000ffcb007101"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Cut short, too long, of TCP, a request, or of another version."""
    with pytest.raises(CodecError):
        parse_answer(data)
