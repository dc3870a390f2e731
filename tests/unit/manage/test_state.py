"""The state store: acknowledged is kept, and damage is never taken for state."""

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.manage import state, state_file
from meshnode.manage.state import FILE_NAME, StateStore
from meshnode.manage.state_file import NewerError, StateFile
from meshnode.mesh.ports import (
    DropInvite,
    DropRecord,
    KeepCharter,
    KeepEndpoints,
    KeepInvite,
    KeepOwn,
    KeepRecord,
    KeepWallMark,
    StateChange,
    StoredState,
)
from meshnode.types import Endpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state of a network called home is to be."""
    return tmp_path / "lib" / "home" / FILE_NAME


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    """A new store."""
    with closing(StateStore.open(path)) as store:
        yield store


def opened(path: Path) -> tuple[StoredState, str]:
    """What a node that starts finds: the state, and what it should know of it."""
    with closing(StateStore.open(path)) as store:
        return store.load(), store.notice


def fill(path: Path) -> StoredState:
    """A store with a bit of everything and two openings, so that a copy has it all."""
    changes: list[StateChange] = [
        KeepCharter(1, b"charter"),
        *[KeepRecord(bytes([n]) * 8, 4, bytes([n]) * 700) for n in range(30)],
        KeepOwn(7, b"own"),
        KeepWallMark(1_700_000_000),
        KeepInvite(b"i" * 32, b"invite"),
        KeepInvite(b"j" * 32, b"invite"),
    ]
    with closing(StateStore.open(path)) as store:
        store.apply(changes)
    return opened(path)[0]


def without_invites(found: StoredState) -> StoredState:
    """What the good copy gives back of *found*."""
    return StoredState(
        charters=found.charters,
        records=found.records,
        own=found.own,
        own_version=found.own_version,
        wall_mark=found.wall_mark,
    )


def test_a_new_store_is_empty_and_private(path: Path) -> None:
    """Its directory and its files are ours alone."""
    before = os.umask(0)
    try:
        assert opened(path) == (StoredState(), "")
        with closing(StateStore.open(path)) as store:
            store.apply([KeepOwn(1, b"x")])
            for file in path.parent.iterdir():
                assert file.stat().st_mode & 0o7777 == 0o600, file
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    names = {FILE_NAME, f"{FILE_NAME}.good", f"{FILE_NAME}.lock"}
    assert set(os.listdir(path.parent)) == names


def test_what_is_applied_is_loaded(path: Path, store: StateStore) -> None:
    """At once, and after the next start, in the order of writing."""
    store.apply([KeepRecord(b"a", 4, b"1"), KeepRecord(b"b", 5, b"2")])
    store.apply([KeepRecord(b"c", 4, b"3"), DropRecord(b"b"), DropRecord(b"none")])
    store.apply([KeepRecord(b"a", 4, b"4")])
    store.apply([])
    expected = StoredState(records=((4, b"3"), (4, b"4")))
    assert store.load() == expected
    store.close()
    assert opened(path) == (expected, "")


def test_a_batch_is_applied_in_order(store: StateStore) -> None:
    """Of changes of one thing in one batch the last one counts."""
    store.apply(
        [
            KeepInvite(b"i", b"1"),
            DropInvite(b"i"),
            DropRecord(b"r"),
            KeepRecord(b"r", 4, b"1"),
            KeepRecord(b"s", 4, b"2"),
            KeepRecord(b"r", 4, b"3"),
        ]
    )
    assert store.load() == StoredState(records=((4, b"2"), (4, b"3")))


def test_only_endpoints_do_not_wait_for_the_disk(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is in the batch must be durable, and then all of it is."""
    ways = []
    change = StateFile.change

    def spy(self: StateFile, *args: Any, synchronous: str) -> None:
        ways.append(synchronous)
        change(self, *args, synchronous=synchronous)

    monkeypatch.setattr(StateFile, "change", spy)
    endpoints = KeepEndpoints(b"k", (Endpoint("192.0.2.1", 1),))
    store.apply([endpoints, endpoints])
    store.apply([endpoints, KeepWallMark(1)])
    store.apply([KeepWallMark(2)])
    assert ways == ["NORMAL", "FULL", "FULL"]
    assert store.load().endpoints == ((b"k", (Endpoint("192.0.2.1", 1),)),)


def test_one_process_at_a_time(path: Path, store: StateStore) -> None:
    """The second is refused, with what to do; the first is not disturbed."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from meshnode.manage.state import StateStore\n"
        "try:\n    StateStore.open(Path(sys.argv[1]))\n"
        "except Exception as e:\n    print(type(e).__name__, e.errno, e)\n"
    )
    with pytest.raises(HostError, match="meshnode down home") as caught:
        StateStore.open(path)
    assert caught.value.errno == errno.EBUSY
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(f"HostError {errno.EBUSY} {path} is in use")
    store.apply([KeepOwn(1, b"x")])
    store.close()
    store.close()
    assert opened(path)[0].own == b"x"


def test_a_failed_opening_leaves_no_lock(path: Path) -> None:
    """The next can open it once the reason is gone."""
    fill(path)
    path.chmod(0o644)
    for _ in range(2):
        with pytest.raises(ConfigError, match="chmod 600"):
            StateStore.open(path)
    path.chmod(0o600)
    StateStore.open(path).close()


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but one byte": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"no state\n",
    "a row": lambda data: data.replace(b"\x05" * 40, b"\x05" * 39 + b"\x04"),
    "version": lambda data: data[:63] + b"\x09" + data[64:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_gives_way_to_the_good_copy(path: Path, damage: str) -> None:
    """All of it but the invites, said once; the damaged file is kept to look at."""
    before = fill(path)
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    found, notice = opened(path)
    assert found == without_invites(before)
    assert "was damaged" in notice
    assert "2 invites were dropped" in notice
    assert path.with_name(f"{FILE_NAME}.damaged").exists()
    assert opened(path) == (found, "")


def test_a_missing_file_gives_way_to_the_good_copy(path: Path) -> None:
    """Somebody removed it, and it is said."""
    before = fill(path)
    path.unlink()
    found, notice = opened(path)
    assert found == without_invites(before)
    assert "it is missing" in notice


def test_damage_at_any_bit_is_repaired(
    path: Path, rng: random.Random, seed: int
) -> None:
    """What is loaded is what was written, with a notice where the copy is used."""
    before = fill(path)
    original, good = path.read_bytes(), path.with_name(f"{FILE_NAME}.good")
    copy = good.read_bytes()
    repaired = 0
    for page in range(len(original) // 4096):
        for _ in range(4):
            damaged = bytearray(original)
            place = page * 4096 + rng.randrange(4096)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            good.write_bytes(copy)
            found, notice = opened(path)
            expected = without_invites(before) if notice else before
            assert found == expected, f"seed {seed}, byte {place}: {notice}"
            repaired += bool(notice)
    assert repaired > 10


@pytest.mark.parametrize("damage", ["missing", "empty", "a row"])
def test_a_log_of_the_damaged_file_is_not_for_the_copy(path: Path, damage: str) -> None:
    """Pages of the old file must not find their way into the new one."""
    before = fill(path)
    log = path.with_name(f"{FILE_NAME}-wal")
    with closing(StateStore.open(path)) as store:
        store.apply([KeepRecord(b"z" * 8, 4, b"late" * 500)])
        late = log.read_bytes()
    assert late
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    log.touch(0o600)
    log.write_bytes(late)
    found, notice = opened(path)
    # The copy is of the last opening, before the late record.
    assert found == without_invites(before)
    assert notice


def test_without_a_good_copy_damage_is_refused(path: Path) -> None:
    """It names what to do, and nothing is touched."""
    fill(path)
    good = path.with_name(f"{FILE_NAME}.good")
    path.write_bytes(b"x")
    for spoil in (lambda: good.write_bytes(b"y"), good.unlink):
        spoil()
        with pytest.raises(ConfigError, match="restore it from a backup, or remove"):
            StateStore.open(path)
        assert path.read_bytes() == b"x"


def test_removing_both_files_begins_anew(path: Path) -> None:
    """As the refusal says; the log of the old file is nothing to the new one."""
    fill(path)
    log = path.with_name(f"{FILE_NAME}-wal")
    with closing(StateStore.open(path)) as store:
        store.apply([KeepRecord(b"z" * 8, 4, b"late" * 500)])
        late = log.read_bytes()
    path.unlink()
    path.with_name(f"{FILE_NAME}.good").unlink()
    log.touch(0o600)
    log.write_bytes(late)
    assert opened(path) == (StoredState(), "")


def test_a_later_version_is_refused_and_not_replaced(path: Path) -> None:
    """Though there is a good copy: it would forget what the later version knew."""
    fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
        connection.execute("UPDATE meta SET value = x'00000002' WHERE name = 'schema'")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(NewerError, match="install that version again"):
        StateStore.open(path)
    assert path.read_bytes() == before


def test_a_bad_kind_of_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A directory, a link, a pipe: also in the place of the copy and the lock."""
    fill(path)
    for name in (FILE_NAME, f"{FILE_NAME}.good", f"{FILE_NAME}.lock"):
        place = path.with_name(name)
        kept = place.read_bytes()
        for make in (
            lambda place: place.mkdir(),
            lambda place: place.symlink_to(tmp_path / "elsewhere"),
            lambda place: os.mkfifo(place, 0o600),
        ):
            place.unlink()
            make(place)
            with pytest.raises(ConfigError, match="not a plain file"):
                StateStore.open(path)
            place.rmdir() if place.is_dir() else place.unlink()
            place.touch(0o600)
        place.write_bytes(kept)
    assert not (tmp_path / "elsewhere").exists()
    StateStore.open(path).close()


def test_an_open_directory_is_refused(path: Path) -> None:
    """Who can write there can exchange the file."""
    fill(path)
    path.parent.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        StateStore.open(path)


def test_a_file_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is we who may read everything."""
    fill(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="another user"):
        StateStore.open(path)


def test_a_copy_that_does_not_prove_itself_is_not_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before stays."""
    before = fill(path)
    good = path.with_name(f"{FILE_NAME}.good")
    copy_to = StateFile.copy_to

    def spoil(self: StateFile, new: Path) -> None:
        copy_to(self, new)
        new.write_bytes(new.read_bytes()[:-4096])

    monkeypatch.setattr(StateFile, "copy_to", spoil)
    found, notice = opened(path)
    assert found == before
    assert "no good copy" in notice
    with closing(StateFile.open(good)) as copy:
        assert copy.load() == before


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def records_of_copy(path: Path) -> int:
    """How many records the good copy has."""
    with closing(StateFile.open(path.with_name(f"{FILE_NAME}.good"))) as file:
        return len(file.load().records)


def test_the_copy_is_renewed_every_hour_of_changes(path: Path) -> None:
    """And not with every change."""
    clock = Clock()
    with closing(StateStore.open(path, clock=clock)) as store:
        assert records_of_copy(path) == 0
        store.apply([KeepRecord(b"a", 4, b"")])
        clock.now += state.COPY_INTERVAL - 1
        store.apply([KeepRecord(b"b", 4, b"")])
        assert records_of_copy(path) == 0
        clock.now += 1
        store.apply([KeepRecord(b"c", 4, b"")])
        assert records_of_copy(path) == 3
        store.apply([KeepRecord(b"d", 4, b"")])
        assert records_of_copy(path) == 3
    opened(path)
    assert records_of_copy(path) == 4


def test_a_copy_that_cannot_be_made_is_a_notice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change itself was made, and the old copy stays."""
    clock = Clock()
    with closing(StateStore.open(path, clock=clock)) as store:

        def refuse(self: StateFile, path: Path) -> None:
            raise HostError("no space", errno=errno.ENOSPC)

        monkeypatch.setattr(StateFile, "copy_to", refuse)
        clock.now += state.COPY_INTERVAL
        store.apply([KeepRecord(b"a", 4, b"")])
        assert "no good copy" in store.notice
        assert "no space" in store.notice
        assert len(store.load().records) == 1
    assert records_of_copy(path) == 0


def open_and_die(path: Path, steps: int) -> bool:
    """Open the store in a process that is killed after *steps* system calls.

    Returns whether it was: else it had finished before.
    """
    child = os.fork()
    if not child:
        left = steps

        def dying(function: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return function(*args, **kwargs)

            return call

        for name in ("open", "fsync", "rename", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            StateStore.open(path)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("start", ["new", "clean", "damaged"])
def test_a_kill_at_any_step_of_opening_loses_nothing(path: Path, start: str) -> None:
    """The next opening succeeds, with the state that there was."""
    before = fill(path)
    files = {file: file.read_bytes() for file in path.parent.iterdir()}
    expected = {
        "new": StoredState(),
        "clean": before,
        "damaged": without_invites(before),
    }[start]
    for steps in range(100):
        for file in list(path.parent.iterdir()):
            file.unlink()
        for file, data in files.items() if start != "new" else ():
            file.touch(0o600)
            file.write_bytes(data)
        if start == "damaged":
            path.write_bytes(path.read_bytes()[:-1])
        was_killed = open_and_die(path, steps)
        assert opened(path)[0] == expected, steps
        if not was_killed:
            break
    assert not was_killed
    assert steps >= 5


_APPLY = """
import os, random, sys
from pathlib import Path
from meshnode.manage.state import StateStore
from meshnode.mesh.ports import (
    DropInvite, DropRecord, KeepEndpoints, KeepInvite, KeepIssued, KeepOwn, KeepRecord
)
from meshnode.types import Endpoint
store = StateStore.open(Path(sys.argv[1]))
r = random.Random(sys.argv[2])
for number in range(200):
    changes = []
    for _ in range(r.randint(1, 5)):
        key = bytes([r.randrange(20)]) * 8
        data = number.to_bytes(2, "big") + r.randbytes(r.randrange(3000))
        changes.append(r.choice([
            KeepRecord(key, 4, data), DropRecord(key), KeepInvite(key, data),
            DropInvite(key), KeepIssued(key, data), KeepOwn(number + 1, data),
            KeepEndpoints(key, (Endpoint("192.0.2.1", number + 1),)),
        ]))
    store.apply(changes)
    os.write(1, b"%d\\n" % number)
"""


def replayed(seed: str, last: int) -> StoredState:
    """The state after change number *last* of the child, in a store of our own."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x", FILE_NAME)
        code = _APPLY.replace("range(200)", f"range({last + 1})")
        subprocess.run(
            [sys.executable, "-c", code, path, seed],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
        return opened(path)[0]


def test_killed_at_any_moment_what_was_acknowledged_is_there(
    path: Path, rng: random.Random, seed: int
) -> None:
    """And nothing is there by half: all of a change, or none of it."""
    for attempt in range(6):
        for file in path.parent.glob("*"):
            file.unlink()
        of_child = f"{seed} {attempt}"
        with subprocess.Popen(
            [sys.executable, "-c", _APPLY, path, of_child], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            last = -1
            for _ in range(rng.randint(1, 150)):
                last = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            last = int((child.stdout.read().split() or [last])[-1])
        found, notice = opened(path)
        assert not notice
        assert found in (replayed(of_child, last), replayed(of_child, last + 1)), (
            f"seed {of_child}"
        )


_IN_TMPFS = ("unshare", "--mount", "sh", "-c")

_FILL_DISK = """
import errno, os, sys
from pathlib import Path
from meshnode.errors import HostError
from meshnode.manage.state import StateStore
from meshnode.mesh.ports import KeepOwn, KeepRecord
path = Path("/mnt/home/state.db")
store = StateStore.open(path)
kept, number = 0, 0
while True:
    try:
        store.apply([KeepRecord(number.to_bytes(8, "big"), 4, bytes(3000))])
    except HostError as error:
        assert error.errno == errno.ENOSPC, error
        break
    number += 1
assert 5 < number < 1000, number
for _ in range(3):
    try:
        store.apply([KeepOwn(1, bytes(3000))])
        raise SystemExit("the disk is not full")
    except HostError as error:
        assert error.errno == errno.ENOSPC, error
assert len(store.load().records) == number
assert store.load().own == b""
os.unlink("/mnt/ballast")
store.apply([KeepOwn(2, b"again")])
store.close()
store = StateStore.open(path)
assert not store.notice, store.notice
assert len(store.load().records) == number
assert store.load().own == b"again"
store.close()
# A disk without room for the copy alone: the node starts all the same.
with open("/mnt/ballast", "wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError:
        pass
store = StateStore.open(path)
assert len(store.load().records) == number
assert "no good copy" in store.notice, store.notice
store.close()
store = StateStore.open(path)
print("ok")
"""


@pytest.mark.root
def test_a_full_disk_refuses_changes_and_loses_none() -> None:
    """And once there is room, all goes on."""
    script = (
        "mount -t tmpfs -o size=600k none /mnt && "
        'head -c 200000 /dev/zero > /mnt/ballast && exec "$@"'
    )
    done = subprocess.run(
        [*_IN_TMPFS, script, "sh", sys.executable, "-c", _FILL_DISK],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.root
def test_a_read_only_disk_is_told() -> None:
    """Opening is refused with the reason, and it is not taken for damage."""
    script = 'mount -t tmpfs none /mnt && exec "$@"'
    code = (
        "import subprocess\nfrom pathlib import Path\n"
        "from meshnode.manage.state import StateStore\n"
        "from meshnode.mesh.ports import KeepOwn\n"
        "path = Path('/mnt/home/state.db')\n"
        "store = StateStore.open(path)\nstore.apply([KeepOwn(1, b'x')])\n"
        "store.close()\n"
        "subprocess.run(['mount', '-o', 'remount,ro', '/mnt'], check=True)\n"
        "try:\n    StateStore.open(path)\n"
        "except Exception as e:\n    print(type(e).__name__, e.errno)\n"
    )
    done = subprocess.run(
        [*_IN_TMPFS, script, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"HostError {errno.EROFS}\n", "")


def test_damage_found_while_running_is_the_hosts_error(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do; the process does not end by an exception it does not know."""

    def damaged(*_: Any, **__: Any) -> None:
        raise state_file.DamagedError("a page is bad")

    monkeypatch.setattr(StateFile, "change", damaged)
    monkeypatch.setattr(StateFile, "load", damaged)
    with pytest.raises(HostError, match="restart the node to use its good copy"):
        store.apply([KeepOwn(1, b"")])
    with pytest.raises(HostError, match="is damaged"):
        store.load()
