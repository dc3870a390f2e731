"""What is kept of a node, as rows of one table; each row proves itself.

Every value is a row `(kind, key, sequence, number, data)` with a checksum, and the
sum of all checksums is kept beside, changed in the same transaction. So a bit that
flips in a row is seen, and so is a row that went missing or came back, which SQLite's
own check of its tree does not promise. The checksum finds accidents: who can write
the file can write it too.

`sequence` grows with every write: it is the order of what is loaded.
"""

import enum
import struct
from collections.abc import Iterable
from typing import Final

from meshnode.crypto.primitives import blake2s
from meshnode.errors import CodecError, ConfigError
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
from meshnode.values import frozen

APPLICATION_ID: Final = 0x6D6E6F64
"""In the header of the file: it is ours ("mnod")."""

SCHEMA_VERSION: Final = 1
"""Of the tables below; in the header, and in `meta` where no bit can change it."""

SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE state (kind INTEGER NOT NULL, key BLOB NOT NULL,"
    " sequence INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,"
    " checksum BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)

CHECKSUM_BYTES: Final = 8
SUM_MODULUS: Final = 2 ** (8 * CHECKSUM_BYTES)

_FIXED = struct.Struct(">qqqQ")
_CHARTER_KEY = struct.Struct(">Q")
_SINGLE: Final = b""


class RowKind(enum.IntEnum):
    """What a row holds."""

    RECORD = 1
    CHARTER = 2
    POLICY = 3
    OWN = 4
    WALL_MARK = 5
    ENDPOINTS = 6
    INVITE = 7
    ISSUED = 8


@frozen
class Row:
    """One row without its place and checksum: *number* is 0 to 2⁶³ − 1."""

    kind: int
    key: bytes
    number: int
    data: bytes


def checksum_of(row: Row, sequence: int) -> bytes:
    """Return what proves the row in its place, 8 bytes."""
    fixed = _FIXED.pack(row.kind, sequence, row.number, len(row.key))
    return blake2s(fixed + row.key + row.data)[:CHECKSUM_BYTES]


def row_of(change: StateChange) -> Row | None:
    """Return the row that *change* writes, or None if it deletes one."""
    match change:
        case KeepRecord(id_, kind, data):
            return Row(RowKind.RECORD, id_, kind, data)
        case KeepCharter(version, data):
            return Row(RowKind.CHARTER, _CHARTER_KEY.pack(version), version, data)
        case KeepPolicy(version, data):
            return Row(RowKind.POLICY, _SINGLE, version, data)
        case KeepOwn(version, data):
            return Row(RowKind.OWN, _SINGLE, version, data)
        case KeepWallMark(at):
            return Row(RowKind.WALL_MARK, _SINGLE, at, b"")
        case KeepEndpoints(key, candidates):
            return Row(RowKind.ENDPOINTS, key, 0, _endpoints_to_bytes(candidates))
        case KeepInvite(key, data):
            return Row(RowKind.INVITE, key, 0, data)
        case KeepIssued(serial, data):
            return Row(RowKind.ISSUED, serial, 0, data)
        case DropRecord() | DropInvite():
            return None


def place_of(change: StateChange) -> tuple[int, bytes]:
    """Return kind and key of the row that *change* writes or deletes."""
    match change:
        case DropRecord(id_):
            return RowKind.RECORD, id_
        case DropInvite(key):
            return RowKind.INVITE, key
    row = row_of(change)
    assert row is not None  # only the two above delete
    return row.kind, row.key


def stored_state(rows: Iterable[Row]) -> StoredState:
    """Return what *rows*, in the order of their sequence, stand for.

    Raises:
        CodecError: if one of them stands for nothing.
    """
    found: dict[int, list[Row]] = {kind: [] for kind in RowKind}
    for row in rows:
        if row.kind not in found:
            raise CodecError("a row of an unknown kind")
        found[row.kind].append(row)
    policy, own, mark = (
        _single(found[kind])
        for kind in (RowKind.POLICY, RowKind.OWN, RowKind.WALL_MARK)
    )
    return StoredState(
        charters=tuple([row.data for row in found[RowKind.CHARTER]]),
        records=tuple([(row.number, row.data) for row in found[RowKind.RECORD]]),
        policy=policy.data,
        own=own.data,
        own_version=own.number,
        wall_mark=mark.number,
        endpoints=tuple(
            [
                (row.key, _endpoints_from_bytes(row.data))
                for row in found[RowKind.ENDPOINTS]
            ]
        ),
        invites=tuple([(row.key, row.data) for row in found[RowKind.INVITE]]),
        issued=tuple([(row.key, row.data) for row in found[RowKind.ISSUED]]),
    )


def _single(rows: list[Row]) -> Row:
    if not rows:
        return Row(0, _SINGLE, 0, b"")
    if len(rows) > 1:
        raise CodecError("several rows where there is one")
    return rows[0]


def _endpoints_to_bytes(candidates: tuple[Endpoint, ...]) -> bytes:
    return "\n".join(map(str, candidates)).encode()


def _endpoints_from_bytes(data: bytes) -> tuple[Endpoint, ...]:
    try:
        return tuple([Endpoint.parse(line) for line in data.decode().splitlines()])
    except (ConfigError, UnicodeDecodeError):
        raise CodecError("endpoints that are none") from None
