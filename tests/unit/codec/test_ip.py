"""Reading inner packets: version, length, addresses."""

import pytest

from meshnode.codec import ip
from meshnode.errors import BadPacket, DropReason

V4 = bytes.fromhex("4500001c00010000401100000a0000010a000002") + bytes(8)
V6 = (
    bytes.fromhex("6000000000081140")
    + bytes.fromhex("fd" + "00" * 14 + "01")
    + bytes.fromhex("fd" + "00" * 14 + "02")
    + bytes(8)
)


@pytest.mark.parametrize(("packet", "size"), [(V4, 28), (V6, 48)])
def test_padding_is_not_counted(packet: bytes, size: int) -> None:
    """The true length is what the header says, whatever follows."""
    assert ip.true_length(packet) == size
    assert ip.true_length(packet + bytes(15)) == size


def test_addresses() -> None:
    """Both versions give 4 or 16 bytes in network order."""
    assert ip.source(V4) == bytes((10, 0, 0, 1))
    assert ip.destination(V4) == bytes((10, 0, 0, 2))
    assert ip.source(V6) == b"\xfd" + bytes(14) + b"\x01"
    assert ip.destination(V6) == b"\xfd" + bytes(14) + b"\x02"


def with_length(packet: bytes, length: int) -> bytes:
    """Write the length field of either version."""
    at = 2 if packet[0] >> 4 == 4 else 4
    return packet[:at] + length.to_bytes(2, "big") + packet[at + 2 :]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        V4[:19],
        V4[:-1],
        V6[:39],
        V6[:-1],
        with_length(V4, 19),
        with_length(V4, 0),
        with_length(V4, 29),
        with_length(V6, 9),
        with_length(V6, 0xFFFF),
        b"\x05" + V4[1:],
        b"\x75" + V6[1:],
        b"\xff" * 64,
    ],
)
def test_contradictions_are_refused(packet: bytes) -> None:
    """Cut-off headers, impossible lengths and other versions are BAD_INNER."""
    with pytest.raises(BadPacket) as refusal:
        ip.true_length(packet)
    assert refusal.value.reason is DropReason.BAD_INNER


def test_header_only_packets_are_taken() -> None:
    """The smallest lengths are valid."""
    assert ip.true_length(with_length(V4, 20)) == 20
    assert ip.true_length(with_length(V6, 0)) == 40
