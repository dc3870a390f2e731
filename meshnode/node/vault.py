"""Memory that outlives a control process, and cannot be half-written.

Theory of operation: the memory has two halves. A half is a header, a snapshot of
the whole device, and a log of records, each the progress of one peer since. Saving
appends to the log of the half in use; a snapshot goes to the other half, whose header
is written last. So whenever the writer is killed, the half in use is whole up to its
last whole record, and `load` gives the state before or after the change at hand.

Every part is under a checksum that begins with the half's sequence number, so that
what an earlier use of the half left behind is never taken for a record of this one.

The log of a half may grow to twice its snapshot; then the state is written as a
snapshot to the other half, which costs little more than the log did.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from meshnode.errors import HostError
from meshnode.node.vault_codec import (
    apply_progress,
    decode_state,
    encode_progress,
    encode_state,
)
from meshnode.wireguard.config import DeviceState, PeerState

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NO_SPACE: Final = 28  # ENOSPC
_MIN_LOG: Final = 256 * 2**10
_HEADER: Final = struct.Struct("<8sQII")  # magic, sequence, snapshot length, checksum
_RECORD: Final = struct.Struct("<II")  # length, checksum
_MAGIC: Final = b"meshnode"


class Vault:
    """The state of one device over *memory*, of any writable kind.

    One process writes; its successor reads what it wrote, whenever it was killed.
    """

    def __init__(self, memory: "Buffer") -> None:
        octets = memoryview(memory).cast("B")
        middle = octets.nbytes // 2
        self._halves = (_Half(octets[:middle]), _Half(octets[middle:]))
        self._current = self._newest()

    def load(self) -> DeviceState | None:
        """Return what was saved last and whole, None if there is nothing."""
        return None if self._current is None else self._current.load()

    def save(self, state: DeviceState) -> None:
        """Save the whole of *state*.

        Raises:
            HostError: if it is too big; what was saved before still stands.
        """
        current = self._current
        sequence = 1 if current is None else 1 + current.sequence()
        other = self._halves[1 if current is self._halves[0] else 0]
        other.write_snapshot(encode_state(state), sequence)
        self._current = other

    def save_progress(self, peer: PeerState) -> None:
        """Save what handshakes and roaming changed of *peer*.

        The peer must be in the last `save`; of others nothing is kept.
        """
        record = encode_progress(peer)
        current = self._current
        if current is None or current.append(record):
            return
        state = current.load()
        if state is not None:
            peers = {kept.slot: kept for kept in state.peers}
            apply_progress(peers, record)
            state.peers = list(peers.values())
            self.save(state)

    def _newest(self) -> "_Half | None":
        whole = [half for half in self._halves if half.load() is not None]
        return max(whole, key=lambda half: half.sequence(), default=None)


class _Half:
    """Header, snapshot and log in one half of the memory."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._log_end = 0
        self._log_limit = 0

    def sequence(self) -> int:
        """Return the sequence number the header claims, 0 for no header."""
        magic, sequence, _, _ = _HEADER.unpack_from(self._memory)
        return int(sequence) if magic == _MAGIC else 0

    def write_snapshot(self, snapshot: bytes, sequence: int) -> None:
        """Replace everything; the header, last, makes it valid."""
        start, end = _HEADER.size, _HEADER.size + len(snapshot)
        if end + _RECORD.size > len(self._memory):
            raise HostError(
                "the configuration is too big to outlive a restart: use fewer peers "
                "or allowed IPs",
                errno=_NO_SPACE,
            )
        self._memory[:start] = bytes(start)
        self._memory[start:end] = snapshot
        self._terminate(end)
        checksum = _checksum(sequence, snapshot)
        _HEADER.pack_into(self._memory, 0, _MAGIC, sequence, len(snapshot), checksum)
        self._open_log(len(snapshot), end)

    def append(self, record: bytes) -> bool:
        """Append to the log; False if it is full, and nothing was done."""
        start = self._log_end + _RECORD.size
        end = start + len(record)
        if end + _RECORD.size > self._log_limit:
            return False
        self._terminate(end)
        self._memory[start:end] = record
        checksum = _checksum(self.sequence(), record)
        _RECORD.pack_into(self._memory, self._log_end, len(record), checksum)
        self._log_end = end
        return True

    def load(self) -> DeviceState | None:
        """Return the snapshot with the log's whole records, None if there is none."""
        snapshot = self._snapshot()
        if snapshot is None:
            return None
        try:
            state = decode_state(snapshot)
            peers = {peer.slot: peer for peer in state.peers}
            end = _HEADER.size + len(snapshot)
            for record in self._records(end):
                apply_progress(peers, record)
                end += _RECORD.size + len(record)
        except (ValueError, TypeError):
            return None  # whole, but of another version of this program
        self._open_log(len(snapshot), end)
        state.peers = list(peers.values())
        return state

    def _snapshot(self) -> bytes | None:
        magic, sequence, length, checksum = _HEADER.unpack_from(self._memory)
        snapshot = bytes(self._memory[_HEADER.size : _HEADER.size + length])
        if magic != _MAGIC or len(snapshot) != length:
            return None
        return snapshot if _checksum(sequence, snapshot) == checksum else None

    def _records(self, at: int) -> Iterator[bytes]:
        sequence = self.sequence()
        while at + _RECORD.size <= len(self._memory):
            length, checksum = _RECORD.unpack_from(self._memory, at)
            at += _RECORD.size
            record = bytes(self._memory[at : at + length])
            if not length or checksum != _checksum(sequence, record):
                return
            yield record
            at += length

    def _open_log(self, snapshot_bytes: int, end: int) -> None:
        self._log_end = end
        room = max(_MIN_LOG, 2 * snapshot_bytes)
        start = _HEADER.size + snapshot_bytes
        self._log_limit = min(start + room, len(self._memory))

    def _terminate(self, at: int) -> None:
        """End the log at *at*: a length of zero is no record."""
        self._memory[at : at + _RECORD.size] = bytes(_RECORD.size)


def _checksum(sequence: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(sequence.to_bytes(8, "little")))
