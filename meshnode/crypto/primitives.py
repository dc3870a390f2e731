"""The primitives of WireGuard, on bytes, with one failure each (paper 5.4).

X25519 (RFC 7748), BLAKE2s (RFC 7693), ChaCha20-Poly1305 (RFC 8439) and
XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha). An argument of the wrong length or
range is our own mistake and raises `ValueError`; what an attacker can cause raises
`AuthenticationError`. No message of either holds any of the bytes.
"""

import hashlib
import hmac
import struct

from nacl import bindings
from nacl.exceptions import CryptoError as NaclError

from meshnode.errors import AuthenticationError

KEY_SIZE = 32
HASH_SIZE = 32
MAC_SIZE = 16
TAG_SIZE = 16
XNONCE_SIZE = 24
FINGERPRINT_SIZE = 8
MAX_COUNTER = 2**64 - 1

_BLOCK_SIZE = 64  # of BLAKE2s, for HMAC (RFC 2104)
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_COUNTER_NONCE = struct.Struct("<IQ")


def blake2s(data: bytes) -> bytes:
    """Return BLAKE2s-256 of *data*, the paper's HASH: 32 bytes."""
    return hashlib.blake2s(data).digest()


def short_hash(data: bytes, size: int) -> bytes:
    """Return the first *size* bytes (1–32) of BLAKE2s over *data*, to name it."""
    return hashlib.blake2s(data).digest()[:size]


def fingerprint(data: bytes) -> bytes:
    """Return the first 8 bytes of BLAKE2s over *data*, to compare sets by.

    Too short against somebody who looks for two data with the same fingerprint.
    """
    return hashlib.blake2s(data).digest()[:FINGERPRINT_SIZE]


def mac(key: bytes, data: bytes) -> bytes:
    """Return keyed BLAKE2s of *data*, the paper's MAC: 16 bytes.

    Raises:
        ValueError: if *key* has not 1 to 32 bytes; BLAKE2s takes an empty one for none.
    """
    if not 1 <= len(key) <= KEY_SIZE:
        raise ValueError("a MAC key has 1 to 32 bytes")
    return hashlib.blake2s(data, digest_size=MAC_SIZE, key=key).digest()


def hmac_blake2s(key: bytes, data: bytes) -> bytes:
    """Return HMAC-BLAKE2s of *data* (RFC 2104), the paper's Hmac: 32 bytes."""
    # By hand: a third faster than the hmac module, which has no short cut for it.
    if len(key) > _BLOCK_SIZE:
        key = hashlib.blake2s(key).digest()
    block = key.ljust(_BLOCK_SIZE, b"\0")
    inner = hashlib.blake2s(block.translate(_INNER_PAD) + data).digest()
    return hashlib.blake2s(block.translate(_OUTER_PAD) + inner).digest()


def x25519(private: bytes, public: bytes) -> bytes:
    """Return the shared secret of two Curve25519 keys of 32 bytes each.

    Raises:
        AuthenticationError: if the result is all zeros (*public* has low order).
    """
    # The binding reads 32 bytes whatever it is given.
    _require_size("Curve25519 key", private, KEY_SIZE)
    _require_size("Curve25519 key", public, KEY_SIZE)
    try:
        return bindings.crypto_scalarmult(private, public)
    except RuntimeError:
        raise AuthenticationError("key exchange gave zero") from None


def x25519_base(private: bytes) -> bytes:
    """Return the public key of a private key of 32 bytes, clamped or not."""
    _require_size("Curve25519 key", private, KEY_SIZE)
    return bindings.crypto_scalarmult_base(private)


def aead_seal(key: bytes, counter: int, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt with ChaCha20-Poly1305; the result is 16 bytes longer.

    The nonce is four zero bytes and *counter* (0 to 2^64-1) little-endian.

    Raises:
        ValueError: if the counter is out of range.
    """
    nonce = _counter_nonce(counter)
    _require_size("AEAD key", key, KEY_SIZE)
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        plaintext, aad, nonce, key
    )


def aead_open(key: bytes, counter: int, ciphertext: bytes, aad: bytes) -> bytes:
    """Undo `aead_seal`.

    Raises:
        AuthenticationError: if the tag does not verify or is not whole.
        ValueError: if the counter is out of range.
    """
    nonce = _counter_nonce(counter)
    _require_size("AEAD key", key, KEY_SIZE)
    if len(ciphertext) < TAG_SIZE:
        raise AuthenticationError("ciphertext is shorter than its tag")
    try:
        return bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
            ciphertext, aad, nonce, key
        )
    except NaclError:
        raise AuthenticationError("ciphertext does not authenticate") from None


def xaead_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt with XChaCha20-Poly1305 under a 24-byte nonce that may be random."""
    _require_size("AEAD key", key, KEY_SIZE)
    _require_size("nonce", nonce, XNONCE_SIZE)
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, aad, nonce, key
    )


def xaead_open(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """Undo `xaead_seal`.

    Raises:
        AuthenticationError: if the tag does not verify or is not whole.
    """
    _require_size("AEAD key", key, KEY_SIZE)
    _require_size("nonce", nonce, XNONCE_SIZE)
    if len(ciphertext) < TAG_SIZE:
        raise AuthenticationError("ciphertext is shorter than its tag")
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, aad, nonce, key
        )
    except NaclError:
        raise AuthenticationError("ciphertext does not authenticate") from None


def constant_time_equal(a: bytes, b: bytes) -> bool:
    """Compare without telling by the time taken where they differ."""
    return hmac.compare_digest(a, b)


def _require_size(what: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise ValueError(f"{what} has {size} bytes")


def _counter_nonce(counter: int) -> bytes:
    if not 0 <= counter <= MAX_COUNTER:
        raise ValueError("a counter is between 0 and 2^64-1")
    return _COUNTER_NONCE.pack(0, counter)
