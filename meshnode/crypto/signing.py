"""Ed25519 (RFC 8032), as strict as libsodium verifies it.

libsodium refuses public keys and commitments of small order, keys that are not in
canonical form, and signatures whose scalar is not reduced: nobody but the owner of
the key can make a second signature out of one.
"""

from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError as NaclError

from meshnode.errors import AuthenticationError

SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64


class SigningKey:
    """A secret Ed25519 key, made of its *seed* of 32 bytes; never prints it.

    `public` is the key that verifies, 32 bytes.
    """

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE:
            raise ValueError("the seed of a signing key has 32 bytes")
        self.public: bytes
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of *data*, 64 bytes; always the same for the same."""
        return bindings.crypto_sign(data, self._secret)[:SIGNATURE_SIZE]

    def __repr__(self) -> str:
        return "SigningKey(hidden)"

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled")


def verify(public: bytes, data: bytes, signature: bytes) -> None:
    """Check that the owner of *public* (32 bytes) signed *data*.

    Raises:
        AuthenticationError: if *signature* is not the owner's, or not 64 bytes, or
            *public* is no sound key of 32 bytes.
    """
    # The binding reads as many bytes as it expects, whatever it is given.
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise AuthenticationError("a key or signature of the wrong length")
    try:
        bindings.crypto_sign_open(signature + data, public)
    except NaclError:
        raise AuthenticationError("signature does not verify") from None
