"""Files of users: strict, private, changed whole."""

import stat
from pathlib import Path

import pytest

from meshnode.crypto import passwords
from meshnode.crypto.passwords import PasswordHash
from meshnode.errors import ConfigError
from meshnode.manage import users_file
from meshnode.manage.users_file import (
    check_user,
    load_users,
    make_hash,
    parse_users,
    save_user,
    serialise_users,
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spend no time on hashes."""
    monkeypatch.setattr(passwords, "KIB", 8)
    monkeypatch.setattr(passwords, "PASSES", 1)


def known(password: bytes = b"secret") -> PasswordHash:
    """Return the hash of a password."""
    return make_hash(password, entropy=bytes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Users are added and replaced; the file is for us alone."""
    path = tmp_path / "users"
    save_user(path, "alice", known())
    save_user(path, "bob", known(b"other"))
    save_user(path, "alice", known(b"third"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    users = load_users(path)
    assert list(users) == ["alice", "bob"]
    assert users["alice"].matches(b"third")
    assert [one.name for one in tmp_path.iterdir()] == ["users"]


def test_comments_and_empty_lines_are_left_out() -> None:
    """Also with the line ends of another system."""
    text = f"# users\r\n\r\nalice:{known()}\r\n"
    assert list(parse_users(text.encode(), "users")) == ["alice"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alice", "users: line 1: is not NAME:HASH"),
        ("\nalice:plain", "users: line 2: is no argon2id hash"),
        (":x", "users: line 1: '' is no user name"),
        ("a b:x", "is no user name"),
        ("al\xe4:x", "users: line 1: is not ASCII"),
        ("{0}\n{0}", "users: line 2: alice is there twice; leave one"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    """And never a hash."""
    line = f"alice:{known()}"
    with pytest.raises(ConfigError) as refusal:
        parse_users(text.format(line).encode("latin-1"), "users")
    assert message in str(refusal.value)
    assert "argon2id$" not in str(refusal.value)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has an end, in bytes and in users."""
    monkeypatch.setattr(users_file, "MAX_USERS", 1)
    text = serialise_users({"alice": known(), "bob": known()}).encode()
    with pytest.raises(ConfigError, match="more than 1 users"):
        parse_users(text, "users")
    monkeypatch.setattr(users_file, "MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="longer than 10 bytes"):
        parse_users(text, "users")


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Hashes can be guessed at leisure by who has them."""
    path = tmp_path / "users"
    save_user(path, "alice", known())
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it: chmod 0600"):
        load_users(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    """By the command."""
    with pytest.raises(ConfigError, match="meshnode proxy user NAME --file"):
        load_users(tmp_path / "users")


def test_an_error_leaves_the_file(tmp_path: Path) -> None:
    """What is no file of users is not overwritten."""
    path = tmp_path / "users"
    path.write_text("precious\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="line 1"):
        save_user(path, "alice", known())
    assert path.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["", "a:b", "#a", "a b", "é", "x" * 65])
def test_names_that_are_none(name: str) -> None:
    """A line must have one meaning."""
    with pytest.raises(ConfigError, match="is no user name"):
        check_user(name)


@pytest.mark.parametrize("password", [b"", b"x" * 256])
def test_passwords_that_socks_cannot_carry(password: bytes) -> None:
    """They could never be given."""
    with pytest.raises(ConfigError, match="password"):
        make_hash(password)
