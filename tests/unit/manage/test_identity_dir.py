"""The files of an identity in an open directory."""

from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.identity_dir import (
    NotMemberError,
    change_identity,
    not_member,
    read_identity,
)
from meshnode.manage.identity_files import MAX_PAPER_BYTES


def test_reading_makes_nothing_and_changing_does(tmp_path: Path) -> None:
    """The directory appears with the first change, private."""
    path = tmp_path / "home"
    with pytest.raises(FileNotFoundError), read_identity(path):
        pass
    assert not path.exists()
    with change_identity(path) as files:
        files.write("x", b"1")
        assert files.has("x")
    with read_identity(path) as files:
        assert files.read("x", lambda data: data) == b"1"
    assert path.stat().st_mode & 0o7777 == 0o700


def test_errors_name_the_file(tmp_path: Path) -> None:
    """Of what a parser says, and of a file that is too long."""

    def refuse(_: bytes) -> None:
        raise ConfigError("is damaged")

    with change_identity(tmp_path / "home") as files:
        files.write("x", b"1")
        with pytest.raises(ConfigError, match=f"^{tmp_path}/home/x: is damaged$"):
            files.read("x", refuse)
        files.write("x", bytes(MAX_PAPER_BYTES + 1))
        with pytest.raises(ConfigError, match="too long"):
            files.read("x", lambda data: data)


def test_no_identity_is_told_with_the_remedy(tmp_path: Path) -> None:
    """Whoever finds that out."""
    assert "meshnode join" in str(not_member(tmp_path))
    with pytest.raises(NotMemberError), change_identity(tmp_path / "home") as files:
        files.load()
