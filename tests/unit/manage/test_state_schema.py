"""Changes as rows, and rows as the state they stand for."""

import pytest

from meshnode.errors import CodecError
from meshnode.manage.state_schema import (
    CHECKSUM_BYTES,
    Row,
    RowKind,
    checksum_of,
    place_of,
    row_of,
    stored_state,
)
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
    StoredState,
)
from meshnode.types import Endpoint

ENDPOINTS = (Endpoint("192.0.2.1", 1), Endpoint("fe80::1", 65535, 7))
KEPT: list[StateChange] = [
    KeepRecord(b"id", 4, b"record"),
    KeepRecord(b"id2", 5, b"revocation"),
    KeepCharter(1, b"charter"),
    KeepCharter(2, b"charter 2"),
    KeepPolicy(9, b"policy"),
    KeepOwn(2**63 - 1, b"own"),
    KeepWallMark(2**40),
    KeepEndpoints(b"k" * 32, ENDPOINTS),
    KeepEndpoints(b"l" * 32, ()),
    KeepInvite(b"i" * 32, b"invite"),
    KeepIssued(b"s" * 16, b"issued"),
]


def test_every_value_becomes_a_row_and_itself_again() -> None:
    """In the order of the rows."""
    rows = [row for change in KEPT if (row := row_of(change))]
    assert stored_state(rows) == StoredState(
        charters=(b"charter", b"charter 2"),
        records=((4, b"record"), (5, b"revocation")),
        policy=b"policy",
        own=b"own",
        own_version=2**63 - 1,
        wall_mark=2**40,
        endpoints=((b"k" * 32, ENDPOINTS), (b"l" * 32, ())),
        invites=((b"i" * 32, b"invite"),),
        issued=((b"s" * 16, b"issued"),),
    )
    reverse = stored_state(reversed(rows))
    assert reverse.records == ((5, b"revocation"), (4, b"record"))


def test_nothing_stands_for_nothing() -> None:
    """The state of a node that begins."""
    assert stored_state([]) == StoredState()


def test_changes_of_one_thing_have_one_place() -> None:
    """And those of different things have different ones, with the same key."""
    assert place_of(KeepOwn(1, b"a")) == place_of(KeepOwn(2, b"b"))
    assert place_of(DropRecord(b"x")) == place_of(KeepRecord(b"x", 4, b""))
    assert place_of(DropInvite(b"x")) == place_of(KeepInvite(b"x", b""))
    assert row_of(DropRecord(b"x")) is None
    assert row_of(DropInvite(b"x")) is None
    same_key: list[StateChange] = [
        KeepRecord(b"x", 4, b""),
        KeepEndpoints(b"x", ()),
        KeepInvite(b"x", b""),
        KeepIssued(b"x", b""),
    ]
    assert len({place_of(change) for change in same_key}) == 4
    assert len({place_of(change) for change in KEPT}) == len(KEPT)


def test_a_checksum_covers_every_column() -> None:
    """Also where one ends and the next begins."""
    rows = [
        Row(1, b"ab", 3, b"cd"),
        Row(2, b"ab", 3, b"cd"),
        Row(1, b"abc", 3, b"d"),
        Row(1, b"a", 3, b"bcd"),
        Row(1, b"ab", 4, b"cd"),
        Row(1, b"ab", 3, b"ce"),
        Row(1, b"abcd", 3, b""),
    ]
    sums = {checksum_of(row, sequence) for row in rows for sequence in (1, 2)}
    assert len(sums) == 2 * len(rows)
    assert {len(value) for value in sums} == {CHECKSUM_BYTES}


@pytest.mark.parametrize(
    "rows",
    [
        [Row(0, b"", 0, b"")],
        [Row(99, b"", 0, b"")],
        [Row(RowKind.OWN, b"", 1, b""), Row(RowKind.OWN, b"x", 1, b"")],
        [Row(RowKind.ENDPOINTS, b"", 0, b"nonsense")],
        [Row(RowKind.ENDPOINTS, b"", 0, b"\xff")],
    ],
)
def test_rows_that_mean_nothing_are_refused(rows: list[Row]) -> None:
    """They are no state of this version."""
    with pytest.raises(CodecError):
        stored_state(rows)
