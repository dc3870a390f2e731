"""The SQLite file: nothing wrong in it is ever taken for right."""

import errno
import os
import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage.state_file import (
    DamagedError,
    NewerError,
    StateFile,
    check_file,
    create_empty,
    create_state,
    side_files,
    sync_file,
)
from meshnode.manage.state_schema import Row, RowKind
from meshnode.mesh.ports import StoredState

RECORDS = 40


def row(number: int, data: bytes = b"") -> Row:
    """A record's row."""
    return Row(RowKind.RECORD, number.to_bytes(8, "big"), 4, data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with some pages of records, closed."""
    path = tmp_path / "state.db"
    create_state(path)
    generator = random.Random(1)
    rows = [row(number, generator.randbytes(900)) for number in range(RECORDS)]
    with closing(StateFile.open(path)) as file:
        file.change(rows, [], synchronous="FULL")
    return path


@pytest.fixture
def state(path: Path) -> StoredState:
    """What the file at *path* holds."""
    with closing(StateFile.open(path)) as file:
        return file.load()


@pytest.fixture
def file(path: Path) -> Iterator[StateFile]:
    """The file, open."""
    with closing(StateFile.open(path)) as file:
        yield file


def load(path: Path) -> StoredState:
    """Open the file, load all of it, and leave nothing beside it."""
    try:
        with closing(StateFile.open(path)) as file:
            return file.load()
    finally:
        for side in side_files(path):
            side.unlink(missing_ok=True)


def test_a_new_file_is_empty_and_private(tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        create_state(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600
    assert load(tmp_path / "a") == StoredState()
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(HostError, match="File exists"):
        create_state(tmp_path / "a")


def test_side_files_are_private_too(path: Path, file: StateFile) -> None:
    """The log holds what the file holds."""
    file.change([row(1, b"x")], [], synchronous="FULL")
    wal = side_files(path)[0]
    assert wal.stat().st_size > 0
    assert wal.stat().st_mode & 0o7777 == 0o600


def test_rows_are_written_replaced_and_removed(file: StateFile) -> None:
    """What is written last comes last."""
    file.change([], [(row(n).kind, row(n).key) for n in range(40)], synchronous="FULL")
    file.change([row(1, b"a"), row(2, b"b")], [], synchronous="FULL")
    file.change([row(1, b"c")], [(RowKind.RECORD, b"none")], synchronous="NORMAL")
    assert file.load().records == ((4, b"b"), (4, b"c"))
    file.change([], [(row(2).kind, row(2).key)], synchronous="FULL")
    assert file.load().records == ((4, b"c"),)


def test_an_error_in_a_change_changes_nothing(path: Path, file: StateFile) -> None:
    """Also not what came before it, and the file can be used on."""
    before = file.load()
    too_large = Row(RowKind.RECORD, b"x", 2**63, b"")
    with pytest.raises(struct.error):
        file.change([row(1, b"new"), too_large], [], synchronous="FULL")
    file.change([], [], synchronous="FULL")
    assert file.load() == before
    file.change([row(1, b"new")], [], synchronous="FULL")
    file.close()
    assert (4, b"new") in load(path).records


def test_all_rows_of_a_kind_can_be_dropped(file: StateFile) -> None:
    """And others stay."""
    invites = [Row(RowKind.INVITE, bytes([n]), 0, b"") for n in range(3)]
    file.change(invites, [], synchronous="FULL")
    assert file.drop_all(RowKind.INVITE) == 3
    assert file.drop_all(RowKind.INVITE) == 0
    assert len(file.load().records) == RECORDS
    assert file.load().invites == ()


def test_a_copy_is_a_file_like_it(tmp_path: Path, file: StateFile) -> None:
    """Also of what is only in the log as yet; it replaces nothing."""
    file.change([row(77, b"fresh")], [], synchronous="FULL")
    file.copy_to(tmp_path / "copy")
    assert load(tmp_path / "copy") == file.load()
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(HostError, match="File exists"):
        file.copy_to(tmp_path / "copy")


def test_an_open_file_is_locked(path: Path, file: StateFile) -> None:
    """Nobody else can open it."""
    file.load()
    with pytest.raises(HostError) as caught:
        StateFile.open(path)
    assert caught.value.errno == errno.EBUSY


def test_every_bit_of_the_header_is_guarded(path: Path, state: StoredState) -> None:
    """A flip is found, or means nothing: neither for reading nor for writing."""
    original = path.read_bytes()
    found = 0
    for bit in range(800):
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            file = StateFile.open(path)
        except DamagedError:
            found += 1
        else:
            with closing(file):
                assert file.load() == state, f"bit {bit}"
                file.change([row(99, b"x" * 9000)], [], synchronous="NORMAL")
        for side in side_files(path):
            side.unlink(missing_ok=True)
    assert found > 200


def test_a_page_in_use_that_counts_as_free_is_found(path: Path) -> None:
    """All rows can be read, but the next change would overwrite some."""
    damaged = bytearray(path.read_bytes())
    damaged[32:40] = struct.pack(">II", 5, 1)  # the first free page, how many there are
    path.write_bytes(damaged)
    with pytest.raises(DamagedError):
        load(path)


def test_bits_of_every_page_are_guarded(
    path: Path, state: StoredState, rng: random.Random, seed: int
) -> None:
    """Wherever a bit flips, what is loaded is what was written, or nothing."""
    original = path.read_bytes()
    found = 0
    pages = len(original) // 4096
    assert pages > 10
    for page in range(pages):
        for _ in range(12):
            damaged = bytearray(original)
            place = page * 4096 + rng.randrange(4096)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            try:
                assert load(path) == state, f"seed {seed}, byte {place}"
            except DamagedError:
                found += 1
    assert found > 6 * pages


def test_a_file_cut_short_is_refused(path: Path, state: StoredState) -> None:
    """At any length: at every byte of the beginning, and at and around every page."""
    original = path.read_bytes()
    lengths = {*range(110), *range(0, len(original), 509)}
    for end in range(0, len(original), 4096):
        lengths |= {end, end + 1, max(end - 1, 0)}
    for length in sorted(lengths):
        path.write_bytes(original[:length])
        with pytest.raises(DamagedError):
            load(path)
    path.write_bytes(original)
    assert load(path) == state


def test_other_bytes_are_refused(path: Path, rng: random.Random) -> None:
    """Text, noise, another program's database, and noise over a page."""
    original = path.read_bytes()
    other = path.with_name("other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE state (a)")
    noise = bytearray(original)
    noise[4096:8192] = rng.randbytes(4096)
    for data in (
        b"hello\n",
        rng.randbytes(len(original)),
        other.read_bytes(),
        bytes(len(original)),
        bytes(noise),
    ):
        path.write_bytes(data)
        with pytest.raises(DamagedError):
            load(path)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM state WHERE sequence = 3",
        "UPDATE state SET number = 5 WHERE sequence = 3",
        "UPDATE state SET data = 'text' WHERE sequence = 3",
        "UPDATE state SET sequence = 9000 WHERE sequence = 3",
        "UPDATE state SET kind = 7 WHERE sequence = 3",
        "UPDATE state SET number = 'x' WHERE sequence = 3",
        "UPDATE state SET checksum = x'00' WHERE sequence = 3",
        "INSERT INTO state SELECT 3, key, 999, 1, data, checksum FROM state LIMIT 1",
        "DELETE FROM meta",
        "DELETE FROM meta WHERE name = 'sum'",
        "UPDATE meta SET value = 'text'",
        "UPDATE meta SET value = x'00'",
        "DROP TABLE meta",
        "DROP TABLE state",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 2",
    ],
)
def test_content_that_does_not_prove_itself_is_refused(
    path: Path, statement: str
) -> None:
    """A row that is missing, changed or too many, as much as one of another type."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    with pytest.raises(DamagedError):
        load(path)


def test_a_row_that_comes_back_is_refused(path: Path) -> None:
    """It proves itself, but the sum does not."""
    with closing(sqlite3.connect(path)) as connection:
        old = connection.execute("SELECT * FROM state LIMIT 1").fetchone()
    with closing(StateFile.open(path)) as file:
        file.change([], [(old[0], old[1])], synchronous="FULL")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", old)
        connection.commit()
    with pytest.raises(DamagedError, match="rows are missing, or there are too many"):
        load(path)


def test_a_later_version_is_refused_by_name(path: Path) -> None:
    """It is not damage, and nothing is done to it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("UPDATE meta SET value = x'00000002' WHERE name = 'schema'")
        connection.execute("DROP TABLE state")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(NewerError, match=r"later version of meshnode \(schema 2"):
        load(path)
    assert path.read_bytes() == before


def test_only_a_private_plain_file_is_opened(path: Path, tmp_path: Path) -> None:
    """Links, directories, pipes and files of open mode are named with the remedy."""
    link, directory, pipe = (tmp_path / name for name in ("link", "dir", "pipe"))
    link.symlink_to(path)
    directory.mkdir()
    os.mkfifo(pipe)
    for bad in (link, directory, pipe):
        with pytest.raises(ConfigError, match="not a plain file"):
            StateFile.open(bad)
    for mode in (0o604, 0o640, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
            StateFile.open(path)
    path.chmod(0o600)
    side_files(path)[0].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="not a plain file"):
        StateFile.open(path)


def test_a_file_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it may have written anything."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="another user"):
        check_file(path)


def test_what_the_host_refuses_is_no_damage(tmp_path: Path) -> None:
    """It keeps its error number."""
    with pytest.raises(HostError) as caught:
        create_empty(tmp_path / "none" / "x")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(HostError):
        sync_file(tmp_path / "none")
    with pytest.raises(HostError):
        StateFile.open(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(HostError):
        check_file(tmp_path / "file" / "x")
