"""Addresses and datagrams of SOCKS5, byte by byte, and what is refused."""

import pytest

from meshnode.codec.socks import (
    checked_host,
    decode_datagram,
    encode_address,
    encode_datagram,
    take_address,
)
from meshnode.errors import CodecError
from meshnode.types import Target

ADDRESSES = [
    (Target("192.0.2.7", 443), "01c000020701bb"),
    (Target("2001:db8::7", 1), "0420010db8" + "0" * 22 + "070001"),
    (Target("a.example", 65535), "0309612e6578616d706c65ffff"),
]


@pytest.mark.parametrize(("target", "hexed"), ADDRESSES)
def test_addresses(target: Target, hexed: str) -> None:
    """RFC 1928, 5: whole they are found, cut they are waited for."""
    data = bytes.fromhex(hexed)
    assert encode_address(target) == data
    assert take_address(b"xy" + data + b"z", 2) == (target, 2 + len(data))
    for size in range(len(data)):
        assert take_address(data[:size], 0) is None


@pytest.mark.parametrize(
    "host", ["", "a b", "a\0", "a\r\nb", "ä", "x" * 256, "fe80::1%eth0", "a/b", "[::1]"]
)
def test_what_is_no_host(host: str) -> None:
    """Nothing that could mean more than a name to whoever reads it later."""
    with pytest.raises(CodecError, match="no name"):
        checked_host(host)
    with pytest.raises(CodecError):
        encode_address(Target(host, 1))


def test_numeric_hosts_are_canonical() -> None:
    """Also those that are sent as names."""
    assert checked_host("2001:DB8:0::7") == "2001:db8::7"
    assert checked_host("xn--bcher-kva.example") == "xn--bcher-kva.example"
    assert checked_host("_srv.example.") == "_srv.example."
    assert take_address(b"\x03\x03::1\0\1", 0) == (Target("::1", 1), 7)


@pytest.mark.parametrize("data", [b"\x02\0", b"\x05aaaaaaaaa", b"\x03\x00\0\1"])
def test_what_is_no_address(data: bytes) -> None:
    """A kind that nobody knows, and a name of nothing."""
    with pytest.raises(CodecError):
        take_address(data, 0)


def test_ports_have_16_bits() -> None:
    """And no sign."""
    for port in (-1, 65536):
        with pytest.raises(CodecError, match="no port"):
            encode_address(Target("192.0.2.7", port))


def test_datagrams() -> None:
    """RFC 1928, 7."""
    target = Target("192.0.2.7", 53)
    datagram = bytes.fromhex("00000001c00002070035") + b"query"
    assert encode_datagram(b"query", target) == datagram
    assert decode_datagram(datagram) == (b"query", target)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "without a header"),
        (b"\0\1\0\1", "without a header"),
        (bytes.fromhex("00000101c00002070035"), "fragment"),
        (bytes.fromhex("00000001c000020700"), "half"),
    ],
)
def test_what_is_no_datagram(data: bytes, why: str) -> None:
    """Fragments, too: nobody sends them, and nobody is to be made to keep them."""
    with pytest.raises(CodecError, match=why):
        decode_datagram(data)
