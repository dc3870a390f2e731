"""Fresh keys, and public keys from private ones, just as `wg` makes them."""

import os

from meshnode.crypto.keys import KEY_BYTES, PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError

_KEY_TEXT = 44  # characters of 32 bytes in base64
_PADDING = " \t\n\v\f\r\0"  # what `wg pubkey` takes after a key


def new_private_key() -> PrivateKey:
    """Return a private key from the kernel's random numbers."""
    return PrivateKey(os.urandom(KEY_BYTES))


def new_preshared_key() -> PresharedKey:
    """Return a preshared key from the kernel's random numbers."""
    return PresharedKey(os.urandom(KEY_BYTES))


def public_key_from_text(data: bytes) -> PublicKey:
    """Return the public key of the private key in *data*.

    Raises:
        ConfigError: where `wg pubkey` fails, in its words.
    """
    text = data.decode("latin-1")
    key, trailer = text[:_KEY_TEXT], text[_KEY_TEXT:]
    if trailer.strip(_PADDING):
        raise ConfigError("Trailing characters found after key")
    if len(key.strip()) == _KEY_TEXT:
        try:
            return PrivateKey.from_base64(key).public_key()
        except ConfigError:
            pass  # said below in wg's words
    raise ConfigError("Key is not the correct length or format")
