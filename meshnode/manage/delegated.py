"""Which permissions to issue were given away here, so that their pools are left alone.

An issuer becomes known to all by the first member it certifies. Until then only who
permitted it knows that its pool is somebody else's. Permissions are public.
"""

import base64
import binascii
from pathlib import Path
from typing import Final

from meshnode.errors import ConfigError
from meshnode.manage.secret_dir import open_own_dir

MAX_BYTES: Final = 2**20

_NAME: Final = "delegated"


def load_delegated(state_dir: Path) -> tuple[bytes, ...]:
    """Return the permissions (issuer envelopes) given away in *state_dir*.

    Raises:
        ConfigError: naming the file, if it is damaged.
    """
    try:
        with open_own_dir(state_dir, for_change=False) as directory:
            data = directory.read(_NAME, limit=MAX_BYTES)
    except FileNotFoundError:
        return ()
    return _parse(data, state_dir)


def add_delegated(state_dir: Path, envelope: bytes) -> None:
    """Remember that this permission was given away; raises `HostError`."""
    with open_own_dir(state_dir, for_change=True) as directory:
        try:
            known = _parse(directory.read(_NAME, limit=MAX_BYTES), state_dir)
        except FileNotFoundError:
            known = ()
        lines = dict.fromkeys((*known, envelope))
        text = b"".join(base64.b64encode(line) + b"\n" for line in lines)
        directory.replace(_NAME, text)


def _parse(data: bytes, state_dir: Path) -> tuple[bytes, ...]:
    try:
        return tuple(base64.b64decode(line, validate=True) for line in data.split())
    except binascii.Error:
        raise ConfigError(
            f"{state_dir / _NAME} is damaged: restore it from a copy, or remove it and "
            "take care that no two issuers have the same pool"
        ) from None
