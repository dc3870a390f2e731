"""The messages between control and who speaks TLS."""

import msgpack
import pytest

from meshnode.codec.tls_link import (
    MAX_ATTEMPTS,
    MAX_MESSAGE_BYTES,
    MAX_REASON_BYTES,
    Attempt,
    Connected,
    ControlMessage,
    Dial,
    HangUp,
    Lost,
    Proof,
    Prove,
    Setup,
    Started,
    TlsMessage,
    decode_from_control,
    decode_from_tls,
    encode,
)
from meshnode.errors import CodecError
from meshnode.types import Endpoint

KEY = bytes(range(32))
ATTEMPTS = tuple(
    Attempt(Endpoint("192.0.2.1", 3128), Endpoint("2001:db8::1", port))
    for port in range(1, MAX_ATTEMPTS + 1)
)


@pytest.mark.parametrize(
    "message",
    [
        Setup(51820),
        Dial(KEY, "socks5", "u" * 255, "p" * 255, ATTEMPTS),
        Dial(KEY, "", "", "", ATTEMPTS[:1]),
        HangUp(KEY),
        Proof(7, b""),
        Proof(2**32 - 1, bytes(16)),
    ],
)
def test_messages_of_control(message: ControlMessage) -> None:
    """They come out as they went in, and fit."""
    data = encode(message)
    assert decode_from_control(data) == message
    assert len(data) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "message",
    [
        Started(),
        Connected(KEY, 40000),
        Lost(KEY, "x" * MAX_REASON_BYTES, is_impostor=True),
        Prove(3, bytes(81), KEY),
    ],
)
def test_messages_of_the_other(message: TlsMessage) -> None:
    """They come out as they went in, and fit."""
    data = encode(message)
    assert decode_from_tls(data) == message
    assert len(data) <= MAX_MESSAGE_BYTES


def test_no_password_is_printed() -> None:
    """Wherever a message is logged."""
    assert "hidden" not in repr(Dial(KEY, "http", "carol", "hidden", ATTEMPTS[:1]))


@pytest.mark.parametrize(
    "plain",
    [
        [],
        [1],
        [1, [0]],
        [1, [51820], 0],
        [9, []],
        [True, [51820]],
        [3, [b"short"]],
        [2, [KEY, "", "", "", []]],
        [2, [KEY, "", "", "", [["192.0.2.1", "192.0.2.1:1"]]]],
        [2, [KEY, "", "", "", [["192.0.2.1:1", "[2001:DB8::1]:1"]]]],
        [4, [1, bytes(17)]],
    ],
)
def test_nonsense_is_refused(plain: object) -> None:
    """Neither process can be confused by the other."""
    with pytest.raises(CodecError):
        decode_from_control(msgpack.packb(plain))


def test_what_cannot_be_said() -> None:
    """Out of range, or no message."""
    with pytest.raises(CodecError, match="Setup"):
        encode(Setup(0))
    with pytest.raises(CodecError, match="no message"):
        encode(object())  # type: ignore[arg-type]
