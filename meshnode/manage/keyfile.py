"""The text of a private key's file: as `wg` writes it, or sealed by a passphrase.

A sealed file says in clear that it is one and what its public key is, so that
nothing but using the key needs the passphrase. Both lines are authenticated with
the sealed bytes, so they cannot be exchanged unseen:

    meshnode sealed key 1
    public LS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0=
    AwAAAAAAABAAAAAA…
"""

import base64
import binascii
from dataclasses import field

from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.crypto.passphrase import (
    SALT_SIZE,
    open_with_passphrase,
    seal_with_passphrase,
)
from meshnode.crypto.primitives import XNONCE_SIZE
from meshnode.errors import ConfigError, CryptoError
from meshnode.ports import Entropy
from meshnode.values import frozen

_MAGIC = "meshnode sealed key 1"
_PUBLIC = "public "
_COLUMNS = 64


@frozen
class SealedKey:
    """A private key that only its passphrase opens.

    `public_key` is what the file claims; `open` proves it.
    """

    public_key: PublicKey
    sealed: bytes = field(repr=False)

    @classmethod
    def seal(
        cls, key: PrivateKey, passphrase: bytes, *, entropy: Entropy
    ) -> "SealedKey":
        """Seal *key*; takes about a second and 256 MiB, both on purpose."""
        public_key = key.public_key()
        sealed = seal_with_passphrase(
            passphrase,
            key.reveal(),
            salt=entropy(SALT_SIZE),
            nonce=entropy(XNONCE_SIZE),
            header=_header(public_key),
        )
        return cls(public_key, sealed)

    def open(self, passphrase: bytes) -> PrivateKey:
        """Return the key; raises `CryptoError` for a wrong passphrase or file."""
        header = _header(self.public_key)
        key = PrivateKey(open_with_passphrase(passphrase, self.sealed, header=header))
        if key.public_key() != self.public_key:
            raise CryptoError("the sealed key is not that of its public key")
        return key


StoredKey = PrivateKey | SealedKey
"""What a key file may hold."""


def public_key_of(key: StoredKey) -> PublicKey:
    """Return the public key, which needs no passphrase."""
    return key.public_key if isinstance(key, SealedKey) else key.public_key()


def serialise_key(key: StoredKey) -> bytes:
    """Return the text of the file."""
    if isinstance(key, PrivateKey):
        return f"{key.to_base64()}\n".encode()
    body = base64.b64encode(key.sealed)
    lines = [body[i : i + _COLUMNS] for i in range(0, len(body), _COLUMNS)]
    return _header(key.public_key) + b"\n".join(lines) + b"\n"


def parse_key(data: bytes) -> StoredKey:
    """Read the text of a file; raises `ConfigError`, which holds none of it."""
    text = data.decode("ascii", "replace")
    magic, _, rest = text.partition("\n")
    if magic.rstrip() != _MAGIC:
        return PrivateKey.from_base64(text)
    public, _, body = rest.partition("\n")
    try:
        if not public.startswith(_PUBLIC):
            raise ValueError
        public_key = PublicKey.from_base64(public.removeprefix(_PUBLIC))
        sealed = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError, ConfigError):
        raise ConfigError("the sealed key is damaged; restore it from a copy") from None
    return SealedKey(public_key, sealed)


def _header(public_key: PublicKey) -> bytes:
    return f"{_MAGIC}\n{_PUBLIC}{public_key}\n".encode()
