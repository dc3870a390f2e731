"""A process's end of the tap: copies of packets for whoever captures (`codec.tap`).

    tap.refresh()                        # before a batch: what is wanted now
    if tap.sides:
        tap.note(TUNNEL_OUT, packet, slot=..., path=...)
        tap.judge(reason)                # what became of what was noted last
    tap.publish()                        # after it: let the reader have them

Nothing waits for the reader: where the ring is full a copy is dropped and counted.
While nobody captures a packet costs one look at `sides`. What the reader writes is
not trusted: whatever it says, no byte outside of the ring is touched.
"""

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol

from meshnode.channels import channel_of
from meshnode.codec.tap import (
    DROPPED,
    HEAD,
    HEADER_BYTES,
    INNER,
    MAX_SNAPLEN,
    OUTER,
    PASSED,
    RECORD,
    RING_BYTES,
    SNAPLEN,
    TAIL,
    UNDERLAY_IN,
    WANTED,
    code_of,
    padded,
)
from meshnode.dataplane.interface import WorkerResources
from meshnode.errors import DropReason
from meshnode.types import Path

_VERDICT_AT = 13
_SLOT_AT = 24
_NOWHERE = (0, bytes(16), 0, bytes(16), 0)


class Tap(Protocol):
    """What engines tell of the packets that they carry.

    `sides` has the bits of `codec.tap` for what is wanted, as of the last `refresh`.
    """

    @property
    def sides(self) -> int:
        """What is wanted, 0 for nothing."""

    def refresh(self) -> None:
        """Find out what is wanted now."""

    def note(
        self,
        side: int,
        data: bytes | bytearray | memoryview,
        *,
        slot: int = -1,
        verdict: int = PASSED,
        path: Path | None = None,
        channel: int = 0,
    ) -> None:
        """Copy one packet, if its side is wanted.

        It took *path* to or from the peer in *slot*.
        *channel* is the number of the relay channel that it came by, or leaves by.
        """

    def judge(self, reason: DropReason) -> None:
        """Say why the packet that was noted last is dropped."""

    def name(self, slot: int) -> None:
        """Say whose the packet is that was noted last."""

    def publish(self) -> None:
        """Let the reader have what was noted."""


class NoTap:
    """Where nobody ever captures: the simulation, and whoever only handshakes."""

    sides = 0

    def refresh(self) -> None:
        """Do nothing."""

    def note(
        self,
        side: int,
        data: bytes | bytearray | memoryview,
        *,
        slot: int = -1,
        verdict: int = PASSED,
        path: Path | None = None,
        channel: int = 0,
    ) -> None:
        """Do nothing."""

    def judge(self, reason: DropReason) -> None:
        """Do nothing."""

    def name(self, slot: int) -> None:
        """Do nothing."""

    def publish(self) -> None:
        """Do nothing."""


class RingTap:
    """Writes the ring in *memory*, of which this process is the only writer.

    *clock* gives nanoseconds since 1970.
    """

    def __init__(
        self, memory: memoryview, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.sides = 0
        self._words = memory[:HEADER_BYTES].cast("Q")
        self._ring = memory[HEADER_BYTES:]
        self._clock = clock
        # One that died before us left what it had published, and no more.
        self._head = self._words[HEAD]
        self._snaplen = 0
        self._last = -1

    def refresh(self) -> None:
        """Find out what is wanted now."""
        self._last = -1
        self.sides = self._words[WANTED] & (INNER | OUTER)
        if self.sides:
            self._snaplen = min(self._words[SNAPLEN], MAX_SNAPLEN)

    def note(
        self,
        side: int,
        data: bytes | bytearray | memoryview,
        *,
        slot: int = -1,
        verdict: int = PASSED,
        path: Path | None = None,
        channel: int = 0,
    ) -> None:
        """Copy one packet; where there is no room for it, count it."""
        self._last = -1
        if not self.sides & (INNER if side < UNDERLAY_IN else OUTER):
            return
        copied = min(len(data), self._snaplen)
        size = padded(RECORD.size + copied)
        at = self._place(size)
        self._last = at
        if at < 0:
            self._words[DROPPED] += 1
            return
        version, remote, remote_port, local, local_port = _raw(path)
        RECORD.pack_into(
            *(self._ring, at, size, copied, len(data), side, verdict, version),
            *(self._clock(), slot, channel, remote, local, remote_port, local_port),
        )
        begin = at + RECORD.size
        self._ring[begin : begin + copied] = memoryview(data)[:copied]

    def judge(self, reason: DropReason) -> None:
        """Say why the packet that was noted last is dropped."""
        if self._last >= 0:
            self._ring[self._last + _VERDICT_AT] = code_of(reason)

    def name(self, slot: int) -> None:
        """Say whose the packet is that was noted last."""
        if self._last >= 0:
            at = self._last + _SLOT_AT
            self._ring[at : at + 4].cast("i")[0] = slot

    def publish(self) -> None:
        """Let the reader have what was noted."""
        if self.sides:
            self._words[HEAD] = self._head

    def _place(self, size: int) -> int:
        """Return where a record of *size* bytes goes, -1 if there is no room."""
        at = self._head % RING_BYTES
        left = RING_BYTES - at
        skipped = left if left < size else 0
        used = self._head - self._words[TAIL]
        if not 0 <= used <= RING_BYTES - skipped - size:
            return -1
        if skipped:
            self._ring[at : at + 4] = bytes(4)
            at = 0
        self._head += skipped + size
        return at


def open_tap(resources: WorkerResources) -> Tap:
    """Return the writer of a worker's ring."""
    return NoTap() if resources.tap is None else RingTap(resources.tap)


def _raw(path: Path | None) -> tuple[int, bytes, int, bytes, int]:
    """Return version, remote and local address and their ports; of a channel, none."""
    if path is None or channel_of(path.remote):
        return _NOWHERE
    remote, source = path.remote, path.source
    host = ip_address(remote.host)
    local, port = b"", 0
    if source is not None:
        local, port = ip_address(source.host).packed, source.port
    return host.version, host.packed, remote.port, local, port
