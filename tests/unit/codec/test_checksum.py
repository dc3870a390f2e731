"""The fast Internet checksum against the plain one."""

import random

import pytest

from meshnode.codec.checksum import MODULUS, residue, transport_checksum

EDGES = (0, 1, 2, 352, 353, 703, 704, 705, 1408, 1409, 2816, 2817, 5633, 61560, 65535)


def plain_sum(data: bytes) -> int:
    """Add 16-bit words with end-around carry, as RFC 1071 words it."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("fill", ["random", "ones", "zeros"])
def test_residue_equals_the_plain_sum(size: int, fill: str) -> None:
    """Every length class, odd and even, gives the ones' complement sum."""
    filled = {
        "random": random.Random(size).randbytes(size),
        "ones": b"\xff" * size,
        "zeros": bytes(size),
    }
    assert residue(filled[fill]) == plain_sum(filled[fill]) % MODULUS


def test_rfc_1071_example() -> None:
    """The numerical example of RFC 1071, section 3."""
    assert residue(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_transport_checksum_is_never_zero() -> None:
    """A sum whose complement is 0 is written as 65535, which UDP demands."""
    assert transport_checksum(0) == 0xFFFF
    assert transport_checksum(0xFFFF) == 0xFFFF
    assert transport_checksum(0xDDF2) == 0x220D
