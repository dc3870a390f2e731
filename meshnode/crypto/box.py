"""A box between two Curve25519 keys: who opens it knows who made it.

The key is KDF1 of a fixed label over the X25519 secret and both public keys, and is
the same for both directions. So who seals names the direction in the additional data,
or a datagram sent back to its maker would open there. XChaCha20-Poly1305 encrypts,
whose nonces may be random. There is no forward secrecy.
"""

from typing import Final

from meshnode.crypto.kdf import kdf1
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import TAG_SIZE, blake2s, x25519

BOX_OVERHEAD: Final = TAG_SIZE

_LABEL = blake2s(b"meshnode/1 box")


def box_key(private: PrivateKey, other: bytes) -> bytes:
    """Return the 32 bytes that the owner of *private* shares with that of *other*.

    It costs an exchange of keys: keep it for as long as you speak with *other*.

    Raises:
        AuthenticationError: if *other* has low order.
    """
    secret = x25519(private.reveal(), other)
    first, second = sorted((private.public_key().raw, other))
    return kdf1(_LABEL, secret + first + second)
