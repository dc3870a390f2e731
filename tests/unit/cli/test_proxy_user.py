"""`meshnode proxy user`: lines for a file of users."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto import passwords
from meshnode.manage.users_file import load_users, parse_users


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spend no time on hashes."""
    monkeypatch.setattr(passwords, "KIB", 8)


def test_a_line_is_printed(meshnode: Callable[..., Any]) -> None:
    """The first line of standard input is the password; nothing shows it."""
    result = meshnode("proxy", "user", "alice", stdin=b"wonder land\nmore\n")
    assert (result.code, result.err) == (0, "")
    users = parse_users(result.out.encode(), "users")
    assert users["alice"].matches(b"wonder land")
    assert "wonder" not in result.out


def test_a_file_is_changed(meshnode: Callable[..., Any], tmp_path: Path) -> None:
    """It is made, and a user is replaced."""
    path = tmp_path / "users"
    for password in (b"first", b"second"):
        words = ("proxy", "user", "alice", "--file", str(path))
        assert meshnode(*words, stdin=password) == type(meshnode("-h"))(0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_users(path)["alice"].matches(b"second")


@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("a:b", b"x", "is no user name"),
        ("alice", b"", "the password is empty"),
        ("alice", b"x" * 256, "at most 255 bytes"),
    ],
)
def test_what_no_client_could_say(
    meshnode: Callable[..., Any], name: str, password: bytes, message: str
) -> None:
    """One line, without the password."""
    result = meshnode("proxy", "user", name, stdin=password + b"\n")
    assert result.code == 1
    assert message in result.err
    assert result.err.count("\n") == 1
