"""What the tests of both halves share: addresses, sessions and traffic memory."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshnode.crypto.primitives import aead_open, aead_seal
from meshnode.crypto.transport import aes_key, can_use
from meshnode.dataplane.traffic import RECORD_BYTES, ControlView, TrafficTable
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    InstallSession,
    ProgramComplete,
    Reset,
    Session,
    SetEndpoint,
    SetLink,
    UseSession,
)
from meshnode.types import Cipher, Endpoint, Path, Prefix

PATH = Path(Endpoint("192.0.2.1", 51820))
OTHER_PATH = Path(Endpoint("192.0.2.2", 4000))
SLOT = 4
INDEX, REMOTE_INDEX = 0x11223344, 0x55667788
SEND_KEY, RECEIVE_KEY = bytes(range(32)), bytes(range(32, 64))
BORN_AT = 100.0
MTU = 1420

# The builders' packets go from .1 to .2, so the same prefixes serve both directions.
PREFIXES = (Prefix.parse("10.0.0.0/24"), Prefix.parse("fd00::/64"))


def session(*, is_initiator: bool = False, index: int = INDEX) -> Session:
    """Build the session the tests use."""
    return Session(index, REMOTE_INDEX, SEND_KEY, RECEIVE_KEY, BORN_AT, is_initiator)


def program(*, mtu: int = MTU, path: Path | None = PATH) -> tuple[Command, ...]:
    """Build the commands that set up one peer without a session."""
    return (
        Reset(1),
        SetLink(mtu, True),
        AddPeer(SLOT),
        SetEndpoint(SLOT, path),
        AddAllowedIps(SLOT, PREFIXES),
        ProgramComplete(),
    )


def start_session(made: Session) -> tuple[Command, ...]:
    """Build the commands that install a session and use it."""
    return InstallSession(SLOT, made), UseSession(SLOT, made.local_index)


def traffic_memory() -> tuple[TrafficTable, ControlView]:
    """Build traffic records and control's view of them."""
    table = TrafficTable(bytearray(8 * RECORD_BYTES))
    return table, ControlView(table)


def open_data(datagram: bytes) -> tuple[int, bytes]:
    """Return counter and plaintext of a datagram that was sealed for the peer."""
    assert datagram[1:8] == bytes(3) + REMOTE_INDEX.to_bytes(4, "little")
    counter = int.from_bytes(datagram[8:16], "little")
    if datagram[0] == 8:
        aes = AESGCM(aes_key(SEND_KEY))
        return counter, aes.decrypt(_nonce(counter), datagram[16:], None)
    assert datagram[0] == 4
    return counter, aead_open(SEND_KEY, counter, datagram[16:], b"")


def seal_data(
    plaintext: bytes,
    counter: int,
    *,
    index: int = INDEX,
    cipher: Cipher = Cipher.CHACHA20_POLY1305,
) -> bytes:
    """Return the datagram in which the peer sends *plaintext*."""
    header = bytes((cipher, 0, 0, 0)) + index.to_bytes(4, "little")
    if cipher is Cipher.AES_256_GCM:
        aes = AESGCM(aes_key(RECEIVE_KEY))
        ciphertext = aes.encrypt(_nonce(counter), plaintext, None)
    else:
        ciphertext = aead_seal(RECEIVE_KEY, counter, plaintext, b"")
    return header + counter.to_bytes(8, "little") + ciphertext


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


needs_aes = pytest.mark.skipif(
    not can_use(Cipher.AES_256_GCM), reason="this processor has no AES"
)
