"""Where a passphrase comes from."""

import io
import os
import sys
from pathlib import Path

import pytest

from meshnode.cli.options import MAX_PASSPHRASE, PassphraseSource
from meshnode.errors import UsageError


def from_file(tmp_path: Path, data: bytes) -> bytes:
    """What is read from a file with this content."""
    path = tmp_path / "passphrase"
    path.write_bytes(data)
    return PassphraseSource(path, None).ask(is_new=False)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"secret\n", b"secret"),
        (b"secret", b"secret"),
        (b" two words \n", b" two words "),
        (b"\xff\x00\n", b"\xff\x00"),
        (b"x" * MAX_PASSPHRASE + b"\n", b"x" * MAX_PASSPHRASE),
    ],
)
def test_a_file_holds_one_line(tmp_path: Path, data: bytes, expected: bytes) -> None:
    """All bytes count but one newline at the end."""
    assert from_file(tmp_path, data) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"secret\n\n", b"a\nb\n", b"x" * (MAX_PASSPHRASE + 1)]
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """An empty passphrase, or more than one line, is a mistake."""
    with pytest.raises(UsageError) as caught:
        from_file(tmp_path, data)
    assert "secret" not in str(caught.value)


def test_a_descriptor_is_read_to_its_end() -> None:
    """A pipe is as good as a file, and is closed."""
    reader, writer = os.pipe()
    os.write(writer, b"secret\n")
    os.close(writer)
    assert PassphraseSource(None, reader).ask(is_new=True) == b"secret"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(reader)


def test_two_sources_are_refused(tmp_path: Path) -> None:
    """Which one is meant is not guessed."""
    with pytest.raises(UsageError, match="not both"):
        PassphraseSource(tmp_path, 3).ask(is_new=False)


def test_without_a_terminal_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script is told what to give instead of being left hanging."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    with pytest.raises(UsageError, match="--passphrase-file"):
        PassphraseSource(None, None).ask(is_new=False)
