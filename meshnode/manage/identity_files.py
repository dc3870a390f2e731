"""The text of the files that make a node's identity: signing keys, and papers.

A signing key says its public key in clear, so a bit that flips in either is seen; it
is the seed itself, or sealed by a passphrase. Papers are byte strings under a name,
with a checksum:

    meshnode signing key 1            meshnode certificate 1
    public LS0tLS0t…                  kgPEIAAA…
    BAgICAgI…                         check 0123456789abcdef

Whatever was cut short, changed, or is another file is refused.
"""

import base64
import binascii
from dataclasses import field
from typing import Final

from meshnode.codec.arrays import pack_array, require_canonical, unpack_array
from meshnode.crypto.passphrase import (
    SALT_SIZE,
    open_with_passphrase,
    seal_with_passphrase,
)
from meshnode.crypto.primitives import XNONCE_SIZE, blake2s
from meshnode.crypto.signing import PUBLIC_SIZE, SEED_SIZE, SigningKey
from meshnode.errors import CodecError, ConfigError, CryptoError
from meshnode.ports import Entropy
from meshnode.values import frozen

MAX_PAPER_BYTES: Final = 2**17
"""Of a file of papers: the longest chain of charters, in base64, fits."""

_PLAIN, _SEALED = "meshnode signing key 1", "meshnode sealed signing key 1"
_PUBLIC, _CHECK = "public ", "check "
_CHECK_BYTES = 8
_COLUMNS = 64
_DAMAGED = "is damaged; restore it from a copy"


@frozen
class SealedSigningKey:
    """A signing key that only its passphrase opens.

    `public` (32 bytes) is what the file claims; `open` proves it.
    """

    public: bytes
    sealed: bytes = field(repr=False)

    @classmethod
    def seal(
        cls, seed: bytes, passphrase: bytes, *, entropy: Entropy
    ) -> "SealedSigningKey":
        """Seal *seed*, 32 bytes; takes about a second and 256 MiB, both on purpose."""
        public = SigningKey(seed).public
        sealed = seal_with_passphrase(
            passphrase,
            seed,
            salt=entropy(SALT_SIZE),
            nonce=entropy(XNONCE_SIZE),
            header=_header(_SEALED, public),
        )
        return cls(public, sealed)

    def open(self, passphrase: bytes) -> SigningKey:
        """Return the key; raises `CryptoError` for a wrong passphrase or file."""
        header = _header(_SEALED, self.public)
        seed = open_with_passphrase(passphrase, self.sealed, header=header)
        if len(seed) != SEED_SIZE or SigningKey(seed).public != self.public:
            raise CryptoError("the sealed key is not that of its public key")
        return SigningKey(seed)


def serialise_seed(seed: bytes) -> bytes:
    """Return the text of the file of a signing key with this *seed*, 32 bytes."""
    return _header(_PLAIN, SigningKey(seed).public) + _lines(seed)


def serialise_sealed(key: SealedSigningKey) -> bytes:
    """Return the text of the file of a sealed signing key."""
    return _header(_SEALED, key.public) + _lines(key.sealed)


def parse_signing_key(data: bytes) -> SigningKey | SealedSigningKey:
    """Read the text of a file; raises `ConfigError`, which holds none of it."""
    text = data.decode("ascii", "replace")
    magic, _, rest = text.partition("\n")
    public_line, _, body = rest.partition("\n")
    if magic not in (_PLAIN, _SEALED) or not public_line.startswith(_PUBLIC):
        raise ConfigError("is no signing key; restore it from a copy")
    public = _decode(public_line.removeprefix(_PUBLIC) + "\n")
    secret = _decode(body)
    if len(public) != PUBLIC_SIZE:
        raise ConfigError(_DAMAGED)
    if magic == _SEALED:
        return SealedSigningKey(public, secret)
    if len(secret) != SEED_SIZE:
        raise ConfigError(_DAMAGED)
    key = SigningKey(secret)
    if key.public != public:
        raise ConfigError(_DAMAGED)
    return key


def serialise_papers(name: str, papers: tuple[bytes, ...]) -> bytes:
    """Return the text of the file of the papers called *name*."""
    packed = pack_array(list(papers))
    check = _check(name, packed).hex()
    return f"{_papers_magic(name)}\n".encode() + _lines(packed) + _check_line(check)


def parse_papers(name: str, data: bytes) -> tuple[bytes, ...]:
    """Read the text of a file of papers called *name*; raises `ConfigError`."""
    text = data.decode("ascii", "replace")
    magic, _, rest = text.partition("\n")
    if magic != _papers_magic(name):
        raise ConfigError(f"is no {name}; restore it from a copy")
    body, found, check = rest.partition(_CHECK)
    packed = _decode(body)
    if not found or (_CHECK + check).encode() != _check_line(
        _check(name, packed).hex()
    ):
        raise ConfigError(_DAMAGED)
    try:
        papers = unpack_array(packed, max_bytes=MAX_PAPER_BYTES)
        require_canonical(papers, packed)
    except CodecError:
        raise ConfigError(_DAMAGED) from None
    if not all(type(paper) is bytes for paper in papers):
        raise ConfigError(_DAMAGED)
    return tuple(papers)


def _papers_magic(name: str) -> str:
    return f"meshnode {name} 1"


def _check(name: str, packed: bytes) -> bytes:
    return blake2s(f"{_papers_magic(name)}\n".encode() + packed)[:_CHECK_BYTES]


def _check_line(check: str) -> bytes:
    return f"{_CHECK}{check}\n".encode()


def _header(magic: str, public: bytes) -> bytes:
    return f"{magic}\n{_PUBLIC}{base64.b64encode(public).decode()}\n".encode()


def _lines(data: bytes) -> bytes:
    text = base64.b64encode(data)
    lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
    return b"".join(line + b"\n" for line in lines)


def _decode(text: str) -> bytes:
    """Return the bytes of whole lines of base64, written as `_lines` does."""
    try:
        data = base64.b64decode("".join(text.splitlines()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(_DAMAGED) from None
    if _lines(data).decode() != text:
        raise ConfigError(_DAMAGED)
    return data
