"""Fetching a charter or policy, which may be longer than one message, in parts.

One transfer at a time, from the neighbour that offered it. Each part is asked for by
itself and must be the next one, whole: so the time and memory a liar can take are
bounded. A source that fails is left alone for a while.
"""

from dataclasses import dataclass
from typing import Final

from meshnode.codec.messages import Chunk, Fetch
from meshnode.codec.records import MAX_POLICY_BYTES
from meshnode.deadlines import Deadline
from meshnode.mesh.ports import Tunnels
from meshnode.values import frozen

CHUNK_BYTES: Final = 1000
RETRY_TIME: Final = 2.0
GIVE_UP_TIME: Final = 10.0
"""Seconds without the next part."""

SHUN_TIME: Final = 60.0
MAX_SHUNNED: Final = 256


@frozen
class Document:
    """A charter's or policy's envelope that has arrived whole; not verified yet."""

    kind: int
    version: int
    data: bytes


@dataclass(slots=True)
class _Running:
    source: bytes
    kind: int
    version: int
    parts: bytearray
    total: int
    since: float  # when the last part came
    asked_at: float


class Transfer:
    """The one document that is being fetched, if any."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels
        self._running: _Running | None = None
        self._shunned: dict[bytes, float] = {}  # until when

    @property
    def source(self) -> bytes | None:
        """The WireGuard key of the member we fetch from, None if we do not."""
        return self._running.source if self._running else None

    def begin(self, source: bytes, kind: int, version: int, *, now: float) -> None:
        """Ask *source* for a document, unless we are busy or it failed lately."""
        if self._running is not None or self._shunned.get(source, now) > now:
            return
        self._running = _Running(source, kind, version, bytearray(), 0, now, now)
        self._ask(self._running, now)

    def receive(self, source: bytes, chunk: Chunk, *, now: float) -> Document | None:
        """Take a part; return the document if it was the last one.

        A part that is not the one asked for is ignored.
        """
        running = self._running
        if (
            running is None
            or source != running.source
            or (chunk.kind, chunk.version) != (running.kind, running.version)
            or chunk.offset != len(running.parts)
        ):
            return None
        size = min(CHUNK_BYTES, chunk.total - chunk.offset)
        if (
            not 0 < chunk.total <= MAX_POLICY_BYTES
            or (running.total and chunk.total != running.total)
            or len(chunk.data) != size
        ):
            self.fail(source, now=now)
            return None
        running.total = chunk.total
        running.parts += chunk.data
        running.since = now
        if len(running.parts) < running.total:
            self._ask(running, now)
            return None
        self._running = None
        return Document(running.kind, running.version, bytes(running.parts))

    def fail(self, source: bytes, *, now: float) -> None:
        """Leave *source* alone for a while: what it sends is of no use."""
        if self._running is not None and self._running.source == source:
            self._running = None
        self._shunned = {k: at for k, at in self._shunned.items() if at > now}
        if len(self._shunned) < MAX_SHUNNED:
            self._shunned[source] = now + SHUN_TIME

    def handle_deadline(self, *, now: float) -> None:
        """Ask again for a part that did not come, or give up."""
        running = self._running
        if running is None:
            return
        if now >= running.since + GIVE_UP_TIME:
            self.fail(running.source, now=now)
        elif now >= running.asked_at + RETRY_TIME:
            self._ask(running, now)

    def next_deadline(self) -> Deadline | None:
        """Return when a part is overdue."""
        running = self._running
        if running is None:
            return None
        at = min(running.asked_at + RETRY_TIME, running.since + GIVE_UP_TIME)
        return Deadline(at, "part of a charter or policy")

    def _ask(self, running: _Running, now: float) -> None:
        running.asked_at = now
        fetch = Fetch(running.kind, running.version, len(running.parts))
        self._tunnels.send(running.source, fetch, now=now)
