"""Handshake datagrams on their way from ingress to control."""

import random

import pytest

from meshnode.codec.datagram import decode_datagram, encode_datagram
from meshnode.types import Datagram, Endpoint, Path, Source

PATHS = [
    Path(Endpoint("192.0.2.1", 51820)),
    Path(Endpoint("192.0.2.1", 1), Source("198.51.100.7", 3, 40_000)),
    Path(Endpoint("fe80::1", 65535, 4), Source("fe80::2", 4)),
    Path(Endpoint("2001:db8::1", 0), Source("2001:db8::2")),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("data", [b"", b"\x01", bytes(range(148))])
def test_round_trip(path: Path, data: bytes) -> None:
    """What goes in comes out, for every kind of path."""
    datagram = Datagram(data, path)
    assert decode_datagram(encode_datagram(datagram)) == datagram


def test_bytes_on_the_link() -> None:
    """The form is fixed: lengths, port, zone, where it came to, addresses, data."""
    message = encode_datagram(Datagram(b"\xaa", PATHS[1]))
    assert message.hex() == "0404000100000000000000039c40c0000201c6336407aa"


def test_anything_else_is_refused() -> None:
    """Cut-off and random messages raise ValueError and nothing else."""
    message = encode_datagram(Datagram(b"", PATHS[2]))
    for size in range(len(message)):
        with pytest.raises(ValueError, match="message"):
            decode_datagram(message[:size])
    generator = random.Random(7)
    for _ in range(2000):
        noise = generator.randbytes(generator.randrange(60))
        try:
            datagram = decode_datagram(noise)
        except ValueError:
            continue
        assert decode_datagram(encode_datagram(datagram)).data == datagram.data
