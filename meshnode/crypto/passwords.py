"""Hashes of passwords: argon2id, in the usual text form.

`$argon2id$v=19$m=KIB,t=PASSES,p=1$SALT$HASH`, base64 without padding; other tools
write and read the same. The cost is bounded when read, so that a file cannot make us
use more than `MAX_KIB` of memory.
"""

import base64
import re
from typing import Final

from nacl import bindings

from meshnode.errors import ConfigError, CryptoError
from meshnode.values import frozen

SALT_SIZE: Final = 16
HASH_SIZE: Final = 32
# libsodium's "interactive" cost: some 0.1 s and 64 MiB.
PASSES: Final = 2
KIB: Final = 64 * 1024
MAX_PASSES: Final = 8
MAX_KIB: Final = 256 * 1024

_MIN_KIB: Final = 8  # argon2's own least
_TEXT: Final = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,4}),p=1"
    r"\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
)


@frozen
class PasswordHash:
    """What a password is compared with: cost, salt (16 bytes) and hash (32 bytes)."""

    kib: int
    passes: int
    salt: bytes
    hash: bytes

    def __repr__(self) -> str:
        return "PasswordHash()"

    def __str__(self) -> str:
        parts = [
            base64.b64encode(one).decode("ascii").rstrip("=")
            for one in (self.salt, self.hash)
        ]
        return f"$argon2id$v=19$m={self.kib},t={self.passes},p=1${'$'.join(parts)}"

    @classmethod
    def make(cls, password: bytes, *, salt: bytes) -> "PasswordHash":
        """Hash *password*; *salt* (16 bytes) must be fresh and random.

        Raises:
            CryptoError: if there is not enough memory.
        """
        return cls(KIB, PASSES, salt, _stretch(password, salt, PASSES, KIB))

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read the text form; raises `ConfigError` if it is none, or too costly."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ConfigError("is no argon2id hash; make one: meshnode proxy user NAME")
        kib, passes = int(match[1]), int(match[2])
        if not (1 <= passes <= MAX_PASSES and _MIN_KIB <= kib <= MAX_KIB):
            raise ConfigError(
                f"costs more than m={MAX_KIB},t={MAX_PASSES}; make one with: "
                "meshnode proxy user NAME"
            )
        salt, digest = (_decode(part) for part in match.groups()[2:])
        return cls(kib, passes, salt, digest)

    def matches(self, password: bytes) -> bool:
        """Whether *password* is the one; takes as long whatever the answer is.

        Raises:
            CryptoError: if there is not enough memory.
        """
        found = _stretch(password, self.salt, self.passes, self.kib)
        return bool(bindings.sodium_memcmp(found, self.hash))


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _stretch(password: bytes, salt: bytes, passes: int, kib: int) -> bytes:
    try:
        found: bytes = bindings.crypto_pwhash_alg(
            HASH_SIZE,
            password,
            salt,
            passes,
            kib * 1024,
            bindings.crypto_pwhash_ALG_ARGON2ID13,
        )
    except RuntimeError:
        raise CryptoError(
            f"checking a password needs {kib // 1024} MiB of memory; free some"
        ) from None
    return found
