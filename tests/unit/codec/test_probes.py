"""Bytes of probes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.probes import (
    KEY_SIZE,
    MAX_NUMBER,
    NONCE_SIZE,
    PLAIN_SIZE,
    PROBE_SIZE,
    TAG_SIZE,
    Probe,
    ProbeKind,
    SealedProbe,
    decode_plain,
    decode_sealed,
    encode_plain,
    encode_sealed,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint

SEEN = st.sampled_from(
    [None, Endpoint("192.0.2.1", 7), Endpoint("2001:db8:ffff:ffff:ffff::1", 65535)]
)
PROBES = st.builds(Probe, st.sampled_from(ProbeKind), st.integers(0, MAX_NUMBER), SEEN)


@given(PROBES)
def test_a_probe_comes_back_and_has_the_one_size(probe: Probe) -> None:
    """Whatever it says: an answer is never longer than its question."""
    plain = encode_plain(probe)
    assert len(plain) == PLAIN_SIZE
    assert decode_plain(plain) == probe


def test_golden_bytes() -> None:
    """The layout is no accident."""
    assert encode_plain(Probe(ProbeKind.PING, 3)).hex() == "0493" + "0103c0" + "00" * 35
    sealed = SealedProbe(bytes([1]) * 32, bytes([2]) * 24, bytes([3]) * 56)
    data = encode_sealed(sealed)
    assert data.hex() == "06000000" + "01" * 32 + "02" * 24 + "03" * 56
    assert len(data) == PROBE_SIZE == 4 + KEY_SIZE + NONCE_SIZE + PLAIN_SIZE + TAG_SIZE
    assert decode_sealed(data) == sealed


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(PLAIN_SIZE),
        bytes([PLAIN_SIZE]) * PLAIN_SIZE,
        encode_plain(Probe(ProbeKind.PONG, 1))[:-1] + b"\1",
        encode_plain(Probe(ProbeKind.PONG, 1)) + b"\0",
    ],
)
def test_other_plain_bytes_are_refused(plain: bytes) -> None:
    """Padding is zeros, and the length is right."""
    with pytest.raises(CodecError):
        decode_plain(plain)


@pytest.mark.parametrize("data", [b"", bytes(PROBE_SIZE), b"\6\0\0\0" + bytes(8)])
def test_other_datagrams_are_refused(data: bytes) -> None:
    """By type and length alone."""
    with pytest.raises(CodecError):
        decode_sealed(data)
