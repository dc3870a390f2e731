"""The marks of our timestamps on disk."""

import stat
from pathlib import Path

import pytest

from meshnode.codec import tai64n
from meshnode.crypto.keys import PublicKey
from meshnode.errors import HostError
from meshnode.node.marks import TimestampMarks

ALICE, BOB = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
EARLY, LATE = tai64n.encode(1000, 0), tai64n.encode(2000, 0)


def files(directory: Path) -> list[Path]:
    """Return the files below *directory*."""
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_mark_outlives_the_process(tmp_path: Path) -> None:
    """What was saved for a key is what its next user starts above."""
    marks = TimestampMarks(tmp_path)
    assert marks.follow(ALICE) == b""
    marks.save(EARLY)
    marks.save(LATE)
    assert TimestampMarks(tmp_path).follow(ALICE) == LATE


def test_keys_do_not_share_marks(tmp_path: Path) -> None:
    """A key that was never used begins with nothing."""
    marks = TimestampMarks(tmp_path)
    marks.follow(ALICE)
    marks.save(LATE)
    assert TimestampMarks(tmp_path).follow(BOB) == b""


def test_a_new_key_inherits_what_is_reserved(tmp_path: Path) -> None:
    """Timestamps reserved under one key may be used under the next one."""
    marks = TimestampMarks(tmp_path)
    marks.follow(ALICE)
    marks.save(LATE)
    assert marks.follow(BOB) == b""  # nothing to raise ours to
    assert TimestampMarks(tmp_path).follow(BOB) == LATE


def test_a_newer_mark_of_the_new_key_is_told(tmp_path: Path) -> None:
    """If the new key was used further ahead, we must go there."""
    other = TimestampMarks(tmp_path)
    other.follow(BOB)
    other.save(LATE)
    marks = TimestampMarks(tmp_path)
    marks.follow(ALICE)
    marks.save(EARLY)
    assert marks.follow(BOB) == LATE


def test_without_a_key_nothing_is_written(tmp_path: Path) -> None:
    """A device without identity leaves no file."""
    marks = TimestampMarks(tmp_path)
    assert marks.follow(None) == b""
    marks.save(EARLY)
    assert files(tmp_path) == []


def test_files_are_ours_alone_and_do_not_name_the_key(tmp_path: Path) -> None:
    """Mode 0600 in a directory of mode 0700; the name is a hash."""
    marks = TimestampMarks(tmp_path / "state")
    marks.follow(ALICE)
    marks.save(EARLY)
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for directory in (path.parent, tmp_path / "state"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert ALICE.raw.hex()[:8] not in path.name


@pytest.mark.parametrize("damage", [b"", b"\xff\xff", b"00", b"zz" * 12, b"f" * 24])
def test_a_damaged_mark_is_no_mark(tmp_path: Path, damage: bytes) -> None:
    """We go on, trusting the clock, and can save again."""
    marks = TimestampMarks(tmp_path)
    marks.follow(ALICE)
    marks.save(EARLY)
    files(tmp_path)[0].write_bytes(damage)
    marks = TimestampMarks(tmp_path)
    assert marks.follow(ALICE) == b""
    marks.save(LATE)
    assert TimestampMarks(tmp_path).follow(ALICE) == LATE


def test_a_disk_that_refuses_is_an_error_of_the_host(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "timestamps").write_text("in the way")
    marks = TimestampMarks(tmp_path)
    marks.follow(ALICE)
    with pytest.raises(HostError, match=r"cannot write .*timestamps"):
        marks.save(EARLY)
