"""Of two changes about the same thing only the later one need be kept."""

import itertools

from meshnode.mesh.ports import (
    DropInvite,
    DropRecord,
    KeepCharter,
    KeepEndpoints,
    KeepInvite,
    KeepIssued,
    KeepOwn,
    KeepPolicy,
    KeepRecord,
    KeepWallMark,
    StateChange,
    subject_of,
)

ONE, TWO = bytes(8), bytes([1]) * 8
SAME: list[tuple[StateChange, ...]] = [
    (KeepRecord(ONE, 4, b"x"), DropRecord(ONE)),
    (KeepRecord(TWO, 4, b"x"), KeepRecord(TWO, 5, b"y")),
    (KeepInvite(ONE, b"x"), DropInvite(ONE)),
    (KeepInvite(TWO, b"x"), KeepInvite(TWO, b"y")),
    (KeepCharter(1, b"x"), KeepCharter(1, b"y")),
    (KeepCharter(2, b"x"),),
    (KeepIssued(ONE, b"x"),),
    (KeepIssued(TWO, b"x"),),
    (KeepEndpoints(ONE, ()),),
    (KeepEndpoints(TWO, ()),),
    (KeepPolicy(1, b"x"), KeepPolicy(2, b"y")),
    (KeepOwn(1, b"x"), KeepOwn(2, b"y")),
    (KeepWallMark(1), KeepWallMark(2)),
]


def test_changes_are_about_one_thing_each() -> None:
    """Those of one row are about the same, those of two rows are not."""
    for row in SAME:
        assert len({subject_of(change) for change in row}) == 1
    for row, other in itertools.combinations(SAME, 2):
        assert subject_of(row[0]) != subject_of(other[0])
