"""The paper's KDF1, KDF2 and KDF3: HKDF over HMAC-BLAKE2s (paper 5.4, RFC 5869)."""

from meshnode.crypto.primitives import hmac_blake2s


def kdf1(key: bytes, data: bytes) -> bytes:
    """Return one 32-byte key derived from *key* and the input *data*."""
    return hmac_blake2s(hmac_blake2s(key, data), b"\x01")


def kdf2(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Return two 32-byte keys; the first equals `kdf1`."""
    secret = hmac_blake2s(key, data)
    first = hmac_blake2s(secret, b"\x01")
    return first, hmac_blake2s(secret, first + b"\x02")


def kdf3(key: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return three 32-byte keys; the first two equal `kdf2`."""
    secret = hmac_blake2s(key, data)
    first = hmac_blake2s(secret, b"\x01")
    second = hmac_blake2s(secret, first + b"\x02")
    return first, second, hmac_blake2s(secret, second + b"\x03")
