"""Who a TLS server is: proven by its WireGuard key, inside the connection.

    client → server   sealed: 3 | secret 32      to the server's WireGuard key
    server → client   proof 16: mac of the certificate's hash under the secret

Only who has the private key opens the seal, so only it can say anything about the
secret; and what it says is good for one certificate, so for one end of the TLS
connection: TLS 1.3 has shown that this end has the certificate's private key. Somebody
in the middle has another certificate, and the proof that it may fetch from the server
does not fit it. Before the proof the client says nothing but the seal.

A WireGuard key is all that is known of a contact or of the issuer in a token, and what
certificates of members are about; so nothing else needs to be trusted. The key is used
as for introductions (`mesh.introduction`), which begin with another byte: neither is
ever taken for the other. A stranger who does not know the key cannot make a seal, and
learns nothing from the server.
"""

from typing import Final

from meshnode.crypto.kdf import kdf1
from meshnode.crypto.keys import KEY_BYTES, PrivateKey
from meshnode.crypto.primitives import blake2s, constant_time_equal, mac
from meshnode.crypto.sealed import SEALED_OVERHEAD, open_sealed, seal_to
from meshnode.errors import AuthenticationError
from meshnode.ports import Entropy

CHALLENGE_BYTES: Final = SEALED_OVERHEAD + 1 + KEY_BYTES
PROOF_BYTES: Final = 16

_KIND: Final = b"\x03"  # introductions have 1 and 2
_LABEL: Final = blake2s(b"meshnode/1 tls proof")


def hash_of(certificate: bytes) -> bytes:
    """Return the hash by which a certificate (DER) is proven, 32 bytes."""
    return blake2s(certificate)


class Challenge:
    """The client's side: what to send to the server with the WireGuard key *key*.

    Raises:
        AuthenticationError: if *key* has low order.
    """

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._secret = entropy(KEY_BYTES)
        self.sealed = seal_to(key, _KIND + self._secret, ephemeral=entropy(KEY_BYTES))

    def check(self, certificate_hash: bytes, proof: bytes) -> None:
        """Check that the server with that certificate is the one that is meant.

        Raises:
            AuthenticationError: if it is not.
        """
        if not constant_time_equal(_proof(self._secret, certificate_hash), proof):
            raise AuthenticationError("the server is not who it should be")


def prove(private_key: PrivateKey, sealed: bytes, certificate_hash: bytes) -> bytes:
    """Return the server's answer to a challenge, for its own certificate.

    Raises:
        AuthenticationError: if the challenge was not made for us.
    """
    plain = open_sealed(private_key, sealed)
    if len(plain) != 1 + KEY_BYTES or plain[:1] != _KIND:
        raise AuthenticationError("no challenge")
    return _proof(plain[1:], certificate_hash)


def _proof(secret: bytes, certificate_hash: bytes) -> bytes:
    return mac(kdf1(_LABEL, secret), certificate_hash)
