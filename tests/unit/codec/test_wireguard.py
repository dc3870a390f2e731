"""The layouts of the WireGuard messages, and what the parser refuses."""

import pytest

from meshnode.codec import wireguard
from meshnode.codec.wireguard import (
    CookieReply,
    Initiation,
    Response,
    message_type,
    parse_handshake,
)
from meshnode.errors import BadPacket, DropReason


def ramp(first: int, size: int) -> bytes:
    """Return bytes that tell where in the message they stand."""
    return bytes((first + offset) % 256 for offset in range(size))


INITIATION = bytes([1, 0, 0, 0]) + ramp(4, 144)
RESPONSE = bytes([2, 0, 0, 0]) + ramp(4, 88)
COOKIE_REPLY = bytes([3, 0, 0, 0]) + ramp(4, 60)


def test_initiation_has_the_papers_layout() -> None:
    """Every field of an initiation stands at its offset, little-endian."""
    message = parse_handshake(INITIATION)
    assert message == Initiation(
        sender=0x07060504,
        ephemeral=ramp(8, 32),
        encrypted_static=ramp(40, 48),
        encrypted_timestamp=ramp(88, 28),
        mac1=ramp(116, 16),
        mac2=ramp(132, 16),
    )


def test_response_has_the_papers_layout() -> None:
    """Every field of a response stands at its offset, little-endian."""
    message = parse_handshake(RESPONSE)
    assert message == Response(
        sender=0x07060504,
        receiver=0x0B0A0908,
        ephemeral=ramp(12, 32),
        encrypted_nothing=ramp(44, 16),
        mac1=ramp(60, 16),
        mac2=ramp(76, 16),
    )


def test_cookie_reply_has_the_papers_layout() -> None:
    """Every field of a cookie reply stands at its offset, little-endian."""
    message = parse_handshake(COOKIE_REPLY)
    assert message == CookieReply(
        receiver=0x07060504, nonce=ramp(8, 24), encrypted_cookie=ramp(32, 32)
    )


@pytest.mark.parametrize("data", [INITIATION, RESPONSE, COOKIE_REPLY])
def test_serialising_undoes_parsing(data: bytes) -> None:
    """What was parsed is written as the same bytes."""
    assert parse_handshake(data).serialise() == data


def test_macs_are_zero_unless_given() -> None:
    """A message that was not stamped ends in 32 zero bytes."""
    initiation = Initiation(1, bytes(32), bytes(48), bytes(28)).serialise()
    response = Response(1, 2, bytes(32), bytes(16)).serialise()
    assert initiation[-32:] == response[-32:] == bytes(32)
    assert (len(initiation), len(response)) == (148, 92)


def test_sizes_and_types_are_the_papers() -> None:
    """The constants others build on are those of the wire."""
    assert wireguard.INITIATION_SIZE == 148
    assert wireguard.RESPONSE_SIZE == 92
    assert wireguard.COOKIE_REPLY_SIZE == 64
    assert wireguard.DATA_OVERHEAD == 32
    assert wireguard.DATA_HEADER.pack(wireguard.DATA_TYPE, 5, 6) == bytes.fromhex(
        "04000000 05000000 0600000000000000"
    )


@pytest.mark.parametrize("data", [INITIATION, RESPONSE, COOKIE_REPLY])
@pytest.mark.parametrize("reserved", [1, 2, 3])
def test_reserved_bytes_must_be_zero(data: bytes, reserved: int) -> None:
    """The type is 32 bits: a reserved byte that is not zero makes it unknown."""
    changed = bytearray(data)
    changed[reserved] = 1
    with pytest.raises(BadPacket) as caught:
        parse_handshake(bytes(changed))
    assert caught.value.reason is DropReason.BAD_TYPE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.BAD_LENGTH),
        (b"\x01", DropReason.BAD_LENGTH),
        (b"\x01\0\0", DropReason.BAD_LENGTH),
        (b"\x01\0\0\0", DropReason.BAD_LENGTH),
        (INITIATION[:-1], DropReason.BAD_LENGTH),
        (INITIATION + b"\0", DropReason.BAD_LENGTH),
        (b"\x01\0\0\0" + RESPONSE[4:], DropReason.BAD_LENGTH),
        (b"\0\0\0\0", DropReason.BAD_TYPE),
        (b"\x04" + bytes(31), DropReason.BAD_TYPE),
        (b"\x05" + bytes(147), DropReason.BAD_TYPE),
    ],
)
def test_other_lengths_and_types_are_refused(data: bytes, reason: DropReason) -> None:
    """The length must equal that of the type; data is no handshake message."""
    with pytest.raises(BadPacket) as caught:
        parse_handshake(data)
    assert caught.value.reason is reason


def test_message_type_reads_32_bits_and_is_zero_for_a_stump() -> None:
    """Dispatch sees the reserved bytes too, and never fails."""
    assert message_type(b"\x04\0\0\0rest") == 4
    assert message_type(b"\x04\0\0\x01") == 0x01000004
    assert message_type(b"\x04\0\0") == 0
    assert message_type(b"") == 0
