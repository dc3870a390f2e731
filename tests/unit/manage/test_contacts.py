"""Whom a node talks to first, kept in a file."""

import json
from pathlib import Path

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort
from meshnode.manage.contacts import (
    MAX_CONTACTS,
    Contact,
    load_contacts,
    save_contacts,
)

KEY = PublicKey(bytes(range(32)))
PLACES = (HostPort("vpn.example.org", 51820), HostPort("2001:db8::1", 4500))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """The later ones take the place of all earlier ones."""
    save_contacts(tmp_path, (Contact(KEY, PLACES), Contact(KEY, ())))
    save_contacts(tmp_path, (Contact(KEY, PLACES),))
    assert load_contacts(tmp_path) == (Contact(KEY, PLACES),)
    assert (tmp_path / "contacts.json").stat().st_mode & 0o777 == 0o600


def test_no_file_is_no_contact(tmp_path: Path) -> None:
    """A founder has none, and a directory need not be there."""
    assert load_contacts(tmp_path) == ()
    assert load_contacts(tmp_path / "nothing") == ()


def test_contacts_are_bounded(tmp_path: Path) -> None:
    """The first ones are kept."""
    many = tuple(Contact(PublicKey(bytes((n,)) * 32), PLACES) for n in range(40))
    save_contacts(tmp_path, many)
    assert load_contacts(tmp_path) == many[:MAX_CONTACTS]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}x",
        "3",
        "[3]",
        "[[]]",
        '[{"key": "x", "places": []}]',
        json.dumps([{"key": str(KEY)}]),
        json.dumps([{"key": str(KEY), "places": ["nowhere"]}]),
        json.dumps([{"key": str(KEY), "places": [7]}]),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    """With the way out."""
    path = tmp_path / "contacts.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"contacts\.json is damaged.*--bootstrap"):
        load_contacts(tmp_path)
