"""Seal bytes to whoever owns a Curve25519 key, without saying who sealed them.

The sealed bytes are `ephemeral public key 32 ‖ ChaCha20-Poly1305 ciphertext`: 48 more
than the plaintext. The key is KDF1 of a fixed label over the X25519 secret and both
public keys, so that sealed bytes fit one recipient and one ephemeral key only. It
encrypts once, hence with counter 0. There is no forward secrecy: who learns the
recipient's private key later can read what was recorded.
"""

from typing import Final

from meshnode.crypto.kdf import kdf1
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import (
    KEY_SIZE,
    TAG_SIZE,
    aead_open,
    aead_seal,
    blake2s,
    x25519,
    x25519_base,
)
from meshnode.errors import AuthenticationError

SEALED_OVERHEAD: Final = KEY_SIZE + TAG_SIZE

_LABEL = blake2s(b"meshnode/1 sealed")


def seal_to(recipient: bytes, plaintext: bytes, *, ephemeral: bytes) -> bytes:
    """Return *plaintext* sealed to the owner of *recipient*, 48 bytes longer.

    *recipient* is a Curve25519 public key; *ephemeral* 32 fresh random bytes, never
    used for anything else.

    Raises:
        AuthenticationError: if *recipient* has low order.
    """
    public = x25519_base(ephemeral)
    key = _sealing_key(x25519(ephemeral, recipient), public, recipient)
    return public + aead_seal(key, 0, plaintext, b"")


def open_sealed(private: PrivateKey, sealed: bytes) -> bytes:
    """Undo `seal_to` for the owner of *private*.

    Raises:
        AuthenticationError: if *sealed* was not sealed to this key, or was changed.
    """
    if len(sealed) < SEALED_OVERHEAD:
        raise AuthenticationError("sealed bytes are cut short")
    public = sealed[:KEY_SIZE]
    secret = x25519(private.reveal(), public)
    key = _sealing_key(secret, public, private.public_key().raw)
    return aead_open(key, 0, sealed[KEY_SIZE:], b"")


def _sealing_key(secret: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return kdf1(_LABEL, secret + ephemeral + recipient)
