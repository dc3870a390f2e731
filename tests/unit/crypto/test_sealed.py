"""Sealed bytes open for their recipient, whole and unchanged, or not at all."""

import hashlib
import hmac
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.sealed import SEALED_OVERHEAD, open_sealed, seal_to
from meshnode.errors import AuthenticationError

PRIVATE = PrivateKey(bytes(range(32)))
RECIPIENT = PRIVATE.public_key().raw
EPHEMERAL = bytes(range(100, 132))
TEXT = b"here is who I am"


@pytest.mark.parametrize("size", [0, 1, 16, 1200])
def test_what_is_sealed_opens(rng: Random, size: int) -> None:
    """The recipient gets the plaintext back; 48 bytes were added."""
    plaintext = rng.randbytes(size)
    sealed = seal_to(RECIPIENT, plaintext, ephemeral=rng.randbytes(32))
    assert len(sealed) == size + SEALED_OVERHEAD == size + 48
    assert open_sealed(PRIVATE, sealed) == plaintext


def test_sealed_bytes_are_what_the_docstring_says() -> None:
    """Another library, put together as described, opens them."""
    sealed = seal_to(RECIPIENT, TEXT, ephemeral=EPHEMERAL)
    private = X25519PrivateKey.from_private_bytes(PRIVATE.reveal())
    secret = private.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
    label = hashlib.blake2s(b"meshnode/1 sealed").digest()
    data = secret + sealed[:32] + RECIPIENT
    first = hmac.new(label, data, hashlib.blake2s).digest()
    key = hmac.new(first, b"\x01", hashlib.blake2s).digest()
    assert ChaCha20Poly1305(key).decrypt(bytes(12), sealed[32:], None) == TEXT


def test_every_changed_bit_is_noticed() -> None:
    """No bit can be flipped but the one that Curve25519 ignores in a public key.

    That one is covered by the key derivation.
    """
    sealed = seal_to(RECIPIENT, TEXT, ephemeral=EPHEMERAL)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            open_sealed(PRIVATE, bytes(changed))


def test_every_truncation_is_noticed() -> None:
    """Neither a cut nor an added byte opens."""
    sealed = seal_to(RECIPIENT, TEXT, ephemeral=EPHEMERAL)
    for cut in [*(sealed[:size] for size in range(len(sealed))), sealed + b"\0"]:
        with pytest.raises(AuthenticationError):
            open_sealed(PRIVATE, cut)


def test_only_the_recipient_opens() -> None:
    """Another private key gets nothing."""
    sealed = seal_to(RECIPIENT, TEXT, ephemeral=EPHEMERAL)
    with pytest.raises(AuthenticationError):
        open_sealed(PrivateKey(bytes(32)), sealed)


def test_keys_of_low_order_are_refused_on_both_sides() -> None:
    """Zero as recipient or as ephemeral key gives a secret that everybody knows."""
    with pytest.raises(AuthenticationError):
        seal_to(bytes(32), TEXT, ephemeral=EPHEMERAL)
    with pytest.raises(AuthenticationError):
        open_sealed(PRIVATE, bytes(32 + 16 + len(TEXT)))


@pytest.mark.parametrize(("recipient", "ephemeral"), [(31, 32), (32, 31), (33, 32)])
def test_keys_of_another_length_are_our_mistake(recipient: int, ephemeral: int) -> None:
    """They never reach the library, which reads 32 bytes."""
    with pytest.raises(ValueError, match="32 bytes"):
        seal_to(b"a" * recipient, TEXT, ephemeral=b"b" * ephemeral)
