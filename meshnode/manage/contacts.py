"""Whom a node talks to first: WireGuard keys of members with where they listen.

They come with an invite or a bundle and are kept beside the node's keys. They are
public; wrong ones can keep a node from finding the others, and no more.
"""

import json
from pathlib import Path
from typing import Final

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort
from meshnode.manage.secret_dir import open_own_dir
from meshnode.values import frozen

MAX_CONTACTS: Final = 16
MAX_BYTES: Final = 65536

_NAME: Final = "contacts.json"


@frozen
class Contact:
    """A member, by its WireGuard key, and where it may be reached."""

    key: PublicKey
    places: tuple[HostPort, ...]


def load_contacts(state_dir: Path) -> tuple[Contact, ...]:
    """Return the contacts kept in *state_dir*; none if there is no such file.

    Raises:
        ConfigError: naming the file, if it is damaged.
    """
    try:
        with open_own_dir(state_dir, for_change=False) as directory:
            data = directory.read(_NAME, limit=MAX_BYTES)
    except FileNotFoundError:
        return ()
    try:
        entries = json.loads(data)
        return tuple(
            Contact(
                PublicKey.from_base64(entry["key"]),
                tuple(HostPort.parse(place) for place in entry["places"]),
            )
            for entry in entries[:MAX_CONTACTS]
        )
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ConfigError(
            f"{state_dir / _NAME} is damaged ({error}): remove it, and give --bootstrap"
        ) from None


def save_contacts(state_dir: Path, contacts: tuple[Contact, ...]) -> None:
    """Keep *contacts*, and no others, in *state_dir*; raises `HostError`."""
    entries = [
        {"key": str(contact.key), "places": [str(place) for place in contact.places]}
        for contact in contacts[:MAX_CONTACTS]
    ]
    with open_own_dir(state_dir, for_change=True) as directory:
        directory.replace(_NAME, json.dumps(entries, indent=1).encode() + b"\n")
