"""Seal a file with a passphrase: argon2id, then XChaCha20-Poly1305.

The sealed blob is `ops u32 | memory in bytes u64 | salt 16 | nonce 24 | ciphertext`,
integers little-endian. All of it but the ciphertext is authenticated together with
the caller's header, so nothing about the file can be exchanged unseen. The cost is
stored, so that it can be raised later; it is bounded when read, so that a file from
elsewhere cannot make us use more than `MAX_MEMORY` bytes.
"""

import struct

from nacl import bindings

from meshnode.crypto.primitives import (
    KEY_SIZE,
    TAG_SIZE,
    XNONCE_SIZE,
    xaead_open,
    xaead_seal,
)
from meshnode.errors import AuthenticationError, CryptoError

SALT_SIZE = 16
# libsodium's "moderate" cost: about a second and 256 MiB.
OPERATIONS = 3
MEMORY = 256 * 2**20
# The most we spend on a file that asks for more; room for one raise of the above.
MAX_OPERATIONS = 8
MAX_MEMORY = 512 * 2**20

_PREAMBLE = struct.Struct(f"<IQ{SALT_SIZE}s{XNONCE_SIZE}s")
_MIN_MEMORY = 8192  # argon2's own least


def seal_with_passphrase(
    passphrase: bytes, plaintext: bytes, *, salt: bytes, nonce: bytes, header: bytes
) -> bytes:
    """Return *plaintext* sealed under *passphrase*, bound to *header*.

    *salt* (16 bytes) and *nonce* (24 bytes) must be fresh and random. *header* is
    authenticated, not stored.

    Raises:
        ValueError: if salt or nonce have another length.
        CryptoError: if there is not enough memory.
    """
    if len(salt) != SALT_SIZE or len(nonce) != XNONCE_SIZE:
        raise ValueError("the salt has 16 bytes and the nonce 24")
    preamble = _PREAMBLE.pack(OPERATIONS, MEMORY, salt, nonce)
    key = _stretch(passphrase, salt, OPERATIONS, MEMORY)
    return preamble + xaead_seal(key, nonce, plaintext, header + preamble)


def open_with_passphrase(passphrase: bytes, blob: bytes, *, header: bytes) -> bytes:
    """Undo `seal_with_passphrase`.

    Raises:
        CryptoError: if the passphrase is wrong or the blob damaged, truncated or
            too costly.
    """
    if len(blob) < _PREAMBLE.size + TAG_SIZE:
        raise CryptoError("the sealed data is cut short; restore it from a copy")
    operations, memory, salt, nonce = _PREAMBLE.unpack_from(blob)
    if not (1 <= operations <= MAX_OPERATIONS and _MIN_MEMORY <= memory <= MAX_MEMORY):
        raise CryptoError("the sealed data is damaged; restore it from a copy")
    key = _stretch(passphrase, salt, operations, memory)
    preamble, ciphertext = blob[: _PREAMBLE.size], blob[_PREAMBLE.size :]
    try:
        return xaead_open(key, nonce, ciphertext, header + preamble)
    except AuthenticationError:
        raise CryptoError(
            "wrong passphrase, or the sealed data is damaged; type it again"
        ) from None


def _stretch(passphrase: bytes, salt: bytes, operations: int, memory: int) -> bytes:
    try:
        return bindings.crypto_pwhash_alg(
            KEY_SIZE,
            passphrase,
            salt,
            operations,
            memory,
            bindings.crypto_pwhash_ALG_ARGON2ID13,
        )
    except RuntimeError:
        raise CryptoError(
            f"the passphrase needs {memory // 2**20} MiB of memory; free some"
        ) from None
