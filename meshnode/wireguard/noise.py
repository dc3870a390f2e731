"""The running transcript of Noise_IKpsk2 as WireGuard instantiates it (paper 5.4).

A `Transcript` is a value: mixing something in gives a new one. A handshake so tries
a message on a copy and keeps the result only when everything has authenticated.
"""

from dataclasses import field
from typing import Final

from meshnode.crypto.kdf import kdf1, kdf2, kdf3
from meshnode.crypto.primitives import aead_open, aead_seal, blake2s
from meshnode.values import frozen

_CONSTRUCTION: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_INITIAL_CHAIN_KEY: Final = blake2s(_CONSTRUCTION)
_INITIAL_HASH: Final = blake2s(_INITIAL_CHAIN_KEY + _IDENTIFIER)


@frozen
class Transcript:
    """The paper's C and H, 32 bytes each: chaining key and hash of all so far."""

    chain_key: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    @classmethod
    def begin(cls, responder_public: bytes) -> "Transcript":
        """Return the transcript before the first message to that responder."""
        return cls(_INITIAL_CHAIN_KEY, blake2s(_INITIAL_HASH + responder_public))

    def mix_ephemeral(self, public: bytes) -> "Transcript":
        """Mix an ephemeral public key into both, as the psk variants require."""
        return Transcript(kdf1(self.chain_key, public), blake2s(self.hash + public))

    def mix_secret(self, secret: bytes) -> "Transcript":
        """Mix a shared secret into the chaining key."""
        return Transcript(kdf1(self.chain_key, secret), self.hash)

    def mix_secret_to_key(self, secret: bytes) -> tuple["Transcript", bytes]:
        """Mix a shared secret in and return the key for the next encryption too."""
        chain_key, key = kdf2(self.chain_key, secret)
        return Transcript(chain_key, self.hash), key

    def mix_preshared_key(self, preshared: bytes) -> tuple["Transcript", bytes]:
        """Mix the preshared key into both; return the key for the next encryption."""
        chain_key, mixed, key = kdf3(self.chain_key, preshared)
        return Transcript(chain_key, blake2s(self.hash + mixed)), key

    def seal(self, key: bytes, plaintext: bytes) -> tuple["Transcript", bytes]:
        """Encrypt bound to the transcript; the ciphertext becomes part of it."""
        ciphertext = aead_seal(key, 0, plaintext, self.hash)
        return self._mix_hash(ciphertext), ciphertext

    def open(self, key: bytes, ciphertext: bytes) -> tuple["Transcript", bytes]:
        """Undo `seal`.

        Raises:
            AuthenticationError: if ciphertext, key or transcript is another.
        """
        plaintext = aead_open(key, 0, ciphertext, self.hash)
        return self._mix_hash(ciphertext), plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Return the session keys: initiator to responder, then back (5.4.5)."""
        return kdf2(self.chain_key, b"")

    def _mix_hash(self, data: bytes) -> "Transcript":
        return Transcript(self.chain_key, blake2s(self.hash + data))
