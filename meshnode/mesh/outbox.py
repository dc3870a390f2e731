"""Outputs of the mesh that wait to be drained; due at the moment they were queued."""

from collections import deque
from dataclasses import dataclass, field

from meshnode.deadlines import Deadline
from meshnode.mesh.events import MeshEvent
from meshnode.mesh.ports import StateChange
from meshnode.types import Datagram


@dataclass(slots=True)
class Outbox:
    """What every part of a mesh node writes to.

    `datagrams` are introductions and probes (types 7 and 6); `received` are handshake
    messages and introductions that came along with a frame, to be taken as any others.
    """

    changes: list[StateChange] = field(default_factory=list)
    datagrams: list[Datagram] = field(default_factory=list)
    received: list[Datagram] = field(default_factory=list)
    events: deque[MeshEvent] = field(default_factory=deque)
    queued_at: float = 0.0

    def keep(self, *changes: StateChange, now: float) -> None:
        """Queue changes of the durable state, in order."""
        self.queued_at = now
        self.changes.extend(changes)

    def send(self, datagram: Datagram, *, now: float) -> None:
        """Queue a datagram of ours."""
        self.queued_at = now
        self.datagrams.append(datagram)

    def receive(self, datagram: Datagram, *, now: float) -> None:
        """Queue a datagram that came to us otherwise than by the UDP port."""
        self.queued_at = now
        self.received.append(datagram)

    def report(self, event: MeshEvent, *, now: float) -> None:
        """Queue an event."""
        self.queued_at = now
        self.events.append(event)

    def next_deadline(self) -> Deadline | None:
        """Return "at once" while anything waits."""
        if self.changes or self.datagrams or self.received or self.events:
            return Deadline(self.queued_at, "queued output of the mesh")
        return None
