"""Hashes of passwords: libsodium's own text form is the oracle."""

import pytest
from nacl import pwhash

from meshnode.crypto import passwords
from meshnode.crypto.passwords import KIB, PASSES, PasswordHash
from meshnode.errors import ConfigError

SALT = bytes(range(16))
CHEAP = "$argon2id$v=19$m=8,t=1,p=1$"


@pytest.fixture(scope="module")
def known() -> PasswordHash:
    """The hash of a password, at the cost that is in use."""
    return PasswordHash.make(b"wonder land", salt=SALT)


def test_libsodium_takes_ours(known: PasswordHash) -> None:
    """Cost and text are the usual ones."""
    assert str(known).startswith(f"$argon2id$v=19$m={KIB},t={PASSES},p=1$")
    assert pwhash.verify(str(known).encode(), b"wonder land")


def test_ours_takes_libsodiums() -> None:
    """Its text is read, and only the password matches."""
    text = pwhash.argon2id.str(b"secret", opslimit=1, memlimit=8192).decode()
    found = PasswordHash.parse(text)
    assert str(found) == text
    assert found.matches(b"secret")
    assert not found.matches(b"Secret")


def test_nothing_of_it_is_shown(known: PasswordHash) -> None:
    """A log that shows a value by mistake shows no hash."""
    assert repr(known) == "PasswordHash()"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no argon2id hash"),
        ("secret", "is no argon2id hash"),
        (CHEAP + "a" * 22 + "$" + "b" * 42, "is no argon2id hash"),
        (CHEAP.replace("=8,", f"={passwords.MAX_KIB + 1},"), "costs more"),
        (CHEAP.replace("t=1", f"t={passwords.MAX_PASSES + 1}"), "costs more"),
        (CHEAP.replace("t=1", "t=0"), "costs more"),
        (CHEAP.replace("=8,", "=7,"), "costs more"),
    ],
)
def test_what_is_none_or_too_costly_is_refused(text: str, message: str) -> None:
    """Before anything is computed, and it is not repeated."""
    if message == "costs more":
        text += "a" * 22 + "$" + "b" * 43
    with pytest.raises(ConfigError, match=message) as refusal:
        PasswordHash.parse(text)
    assert not text or text not in str(refusal.value)
