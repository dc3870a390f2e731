"""Any bytes as a state file: what was written, or nothing, and never an exception."""

import random
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError, HostError
from meshnode.manage.state_file import (
    DamagedError,
    StateFile,
    create_state,
    side_files,
)
from meshnode.manage.state_schema import Row, RowKind
from meshnode.mesh.ports import StoredState


def load(path: Path) -> StoredState | None:
    """What is in the file; None if it is refused as damaged."""
    try:
        with closing(StateFile.open(path)) as file:
            return file.load()
    except DamagedError:
        return None
    finally:
        for side in side_files(path):
            side.unlink(missing_ok=True)


@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_refused(data: bytes, has_header: bool) -> None:
    """Also behind the header of a database."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "state.db")
        path.touch(0o600)
        path.write_bytes(b"SQLite format 3\0" + data if has_header else data)
        assert load(path) is None


def test_mutated_files_never_lie(rng: random.Random, seed: int, tmp_path: Path) -> None:
    """A good one with bytes changed, lost, doubled and moved; also a bad log."""
    path = tmp_path / "state.db"
    create_state(path)
    rows = [
        Row(RowKind.RECORD, number.to_bytes(8, "big"), 4, rng.randbytes(300))
        for number in range(60)
    ]
    with closing(StateFile.open(path)) as file:
        file.change(rows[:50], [], synchronous="FULL")
    original = path.read_bytes()
    before = load(path)
    with closing(StateFile.open(path)) as file:
        file.change(rows[50:], [], synchronous="FULL")
        log = side_files(path)[0].read_bytes()
        after = file.load()
    outcomes = set()
    for _ in range(300):
        data, wal = bytearray(original), bytearray(log)
        target = rng.choice([data, wal])
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(target))
            match rng.randrange(4):
                case 0:
                    target[place] = rng.randrange(256)
                case 1:
                    del target[place:]
                case 2:
                    target[place : place + 64] = rng.randbytes(64)
                case _:
                    other = rng.randrange(len(target))
                    target[place : place + 200] = target[other : other + 200]
            if not target:
                break
        path.write_bytes(data)
        side = side_files(path)[0]
        side.touch(0o600)
        side.write_bytes(wal)
        try:
            found = load(path)
        except (ConfigError, HostError) as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        # A log that lost its end is the state before: whole, if not the last.
        assert found in (before, after, None), f"seed {seed}"
        outcomes.add("damaged" if found is None else "whole")
    assert outcomes == {"damaged", "whole"}
