"""The ciphers of data packets, with no copy more than needed.

ChaCha20-Poly1305 (RFC 8439) is WireGuard's. AES-256-GCM is for processors that have it
in hardware; libsodium offers it on no other. Its key is derived from the session's, so
that no key serves two ciphers.

PyNaCl's wrapper costs 3 microseconds a packet beside the cipher itself; calling
libsodium through the module PyNaCl's wrapper is made of costs a tenth of that. The
module is private to PyNaCl, so if its names ever move, the wrapper takes over: the
same bytes, slower.

The nonce is four zeros and the little-endian counter (paper 5.4.6). Who sends must
never give a counter twice, and neither side one above 2^64-1 (`struct.error`).
"""

import struct
from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError as NaclError

from meshnode.crypto.kdf import kdf1
from meshnode.types import Cipher

try:
    from nacl import _sodium

    _ffi: Any = _sodium.ffi
    _NULL: Any = _ffi.NULL
    _library: Any = _sodium.lib
except (ImportError, AttributeError):
    _ffi = _NULL = _library = None

KEY_SIZE = 32
TAG_SIZE = 16

_AES_LABEL = b"meshnode/1 data AES-256-GCM"

_NAMES = {
    Cipher.CHACHA20_POLY1305: "crypto_aead_chacha20poly1305_ietf",
    Cipher.AES_256_GCM: "crypto_aead_aes256gcm",
}

_nonce = struct.Struct("<4xQ").pack


class Arena:
    """Memory of a fixed size that ciphertext is written to and read from.

    `data` holds the bytes and `size` says how many; `data` cannot be resized.
    """

    __slots__ = ("_view", "address", "data", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray(size)
        self._view = memoryview(self.data)  # pins the bytearray's memory
        self.address: Any = None
        if _ffi is not None:
            pointer = _ffi.from_buffer("unsigned char[]", self.data)
            self.address = pointer


def can_use(cipher: Cipher) -> bool:
    """Whether this processor, and libsodium on it, can seal and open under *cipher*."""
    if cipher is Cipher.CHACHA20_POLY1305:
        return True
    is_available = getattr(_library, f"{_NAMES[cipher]}_is_available", None)
    return is_available is not None and is_available() == 1


def aes_key(key: bytes) -> bytes:
    """Return the AES-256-GCM key, 32 bytes, of a session and direction.

    *key* is that of ChaCha20-Poly1305.
    """
    return kdf1(key, _AES_LABEL)


class _Keyed:
    __slots__ = ("_direct", "_key", "_portable")

    _verb: str

    def __init__(self, key: bytes, cipher: Cipher = Cipher.CHACHA20_POLY1305) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError("a data key has 32 bytes")
        if cipher is Cipher.AES_256_GCM:
            key = aes_key(key)
        name = f"{_NAMES[cipher]}_{self._verb}"
        self._portable: Any = getattr(bindings, name)
        self._direct: Any = getattr(_library, name, None)
        self._key: Any = (
            key if self._direct is None else _ffi.new("unsigned char[]", key)
        )


class Sealer(_Keyed):
    """Encrypts data packets under one key of 32 bytes, by one cipher."""

    __slots__ = ()

    _verb = "encrypt"

    def seal_into(
        self, arena: Arena, offset: int, plaintext: bytes, counter: int
    ) -> None:
        """Write ciphertext and tag, 16 bytes more than *plaintext*, at *offset*.

        Raises:
            ValueError: if they do not fit there.
        """
        size = len(plaintext)
        if offset < 0 or offset + size + TAG_SIZE > arena.size:
            raise ValueError("the ciphertext does not fit in the arena")
        if self._direct is None:
            arena.data[offset : offset + size + TAG_SIZE] = self._portable(
                plaintext, None, _nonce(counter), self._key
            )
            return
        self._direct(
            arena.address + offset,
            _NULL,
            plaintext,
            size,
            _NULL,
            0,
            _NULL,
            _nonce(counter),
            self._key,
        )


class Opener(_Keyed):
    """Decrypts data packets under one key of 32 bytes, by one cipher."""

    __slots__ = ()

    _verb = "decrypt"

    def open_from(
        self, arena: Arena, offset: int, size: int, counter: int
    ) -> bytes | None:
        """Return what the *size* bytes at *offset*, tag included, were made from.

        The plaintext is first written over them, so they cannot be opened twice, and
        after a failure they are not to be used at all.

        Returns:
            None if the tag is wrong.

        Raises:
            ValueError: if they do not lie in the arena or are too short for a tag.
        """
        if size < TAG_SIZE or offset < 0 or offset + size > arena.size:
            raise ValueError("the ciphertext does not lie in the arena")
        if self._direct is None:
            return self._open_portably(arena.data[offset : offset + size], counter)
        pointer = arena.address + offset
        if self._direct(
            pointer, _NULL, _NULL, pointer, size, _NULL, 0, _nonce(counter), self._key
        ):
            return None
        plaintext: bytes = _ffi.buffer(pointer, size - TAG_SIZE)[:]
        return plaintext

    def _open_portably(self, ciphertext: bytearray, counter: int) -> bytes | None:
        try:
            plaintext: bytes = self._portable(
                bytes(ciphertext), None, _nonce(counter), self._key
            )
        except NaclError:
            return None
        return plaintext
