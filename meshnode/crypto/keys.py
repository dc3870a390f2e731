"""Curve25519 keys and preshared keys as values that never print a secret."""

import base64
import binascii

from meshnode.crypto.primitives import constant_time_equal, x25519_base
from meshnode.errors import ConfigError

KEY_BYTES = 32


def _decode_base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    # A 44-character key has two spare bits; only the canonical form is taken.
    if len(raw) != KEY_BYTES or base64.b64encode(raw).decode() != text.strip():
        raise ConfigError(f"{what} is not 32 bytes in base64 (44 characters)")
    return raw


def _decode_hex(text: str, what: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES or len(text) != 2 * KEY_BYTES:
        raise ConfigError(f"{what} is not 32 bytes in hexadecimal (64 digits)")
    return raw


class PublicKey:
    """A peer's static Curve25519 public key, 32 bytes; hashable."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError("a public key has 32 bytes")
        self.raw = bytes(raw)

    @classmethod
    def from_base64(cls, text: str) -> "PublicKey":
        """Read the 44-character form; raises `ConfigError`."""
        return cls(_decode_base64(text, "public key"))

    @classmethod
    def from_hex(cls, text: str) -> "PublicKey":
        """Read the 64-digit form of the userspace API; raises `ConfigError`."""
        return cls(_decode_hex(text, "public key"))

    def __str__(self) -> str:
        return base64.b64encode(self.raw).decode()

    def __repr__(self) -> str:
        return f"PublicKey({str(self)[:8]}…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class _Secret:
    """32 secret bytes; equality in constant time, no text form by accident."""

    __slots__ = ("_raw",)
    _what = "secret"

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a {self._what} has 32 bytes")
        self._raw = bytes(raw)

    def reveal(self) -> bytes:
        """Return the secret bytes; the name makes every use stand out."""
        return self._raw

    def to_base64(self) -> str:
        """Return the 44-character form, as `wg` prints it."""
        return base64.b64encode(self._raw).decode()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return constant_time_equal(self._raw, other._raw)

    __hash__ = None  # type: ignore[assignment]  # secrets are no dictionary keys

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")


class PrivateKey(_Secret):
    """Our static Curve25519 private key, kept clamped as `wg show` reads it back."""

    __slots__ = ()
    _what = "private key"

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        clamped = bytearray(self._raw)
        clamped[0] &= 248
        clamped[31] = (clamped[31] & 127) | 64
        self._raw = bytes(clamped)

    @classmethod
    def from_base64(cls, text: str) -> "PrivateKey":
        """Read the 44-character form; raises `ConfigError`."""
        return cls(_decode_base64(text, "private key"))

    @classmethod
    def from_hex(cls, text: str) -> "PrivateKey":
        """Read the 64-digit form of the userspace API; raises `ConfigError`."""
        return cls(_decode_hex(text, "private key"))

    def public_key(self) -> PublicKey:
        """Return the matching public key."""
        return PublicKey(x25519_base(self._raw))


class PresharedKey(_Secret):
    """The optional symmetric key of a peer; all zeros means none."""

    __slots__ = ()
    _what = "preshared key"

    @classmethod
    def none(cls) -> "PresharedKey":
        """Return the key that stands for no preshared key."""
        return cls(bytes(KEY_BYTES))

    @classmethod
    def from_base64(cls, text: str) -> "PresharedKey":
        """Read the 44-character form; raises `ConfigError`."""
        return cls(_decode_base64(text, "preshared key"))

    @classmethod
    def from_hex(cls, text: str) -> "PresharedKey":
        """Read the 64-digit form of the userspace API; raises `ConfigError`."""
        return cls(_decode_hex(text, "preshared key"))
