"""How large packets to a member may be, where the path is proven to carry more.

Theory of operation. Nobody is believed about a path, and no router is waited for. Who
has an underlay for more than the network's *base* says so to each member once a session
(`LargestSize`); where both do, each proves its own direction. A `SizeProbe` is as large
as it asks about and goes whole or not at all; its answer, `SizeProven`, is the proof.
Sizes are tried from the largest that both take downwards, each `TRIES` times.

A size is in use from its answer on, for the endpoint that it was sent to. It is asked
again when a session begins, and every `PERIOD` seconds while there is traffic. The base
is in use again as soon as that goes unanswered, the endpoint is another, or there is no
session; then smaller sizes are tried. What is too large on a path that shrank travels
in fragments meanwhile, as everything larger than its path does.

Probes are no data to the tunnels, so one that is lost does not cast doubt on a session.
Answers are, and so are left out of what counts as traffic: else two members would keep
each other awake with nothing else to say.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshnode.codec.messages import LargestSize, SizeProbe, SizeProven
from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.ports import Tunnels
from meshnode.ports import NEVER, Entropy
from meshnode.types import Endpoint

LADDER: Final = (8920, 8400, 4000, 2000)
"""Sizes that are tried below the largest: underlays of 9,000, of 9,000 with a tunnel or
two in them, of 4,096 and a little, and of 2,048 and a little."""

TRIES: Final = 3
"""Probes of a size that must go unanswered until the next is tried."""

PAUSE: Final = 1.0
"""Seconds between two probes to one member."""

PERIOD: Final = 30.0
"""Seconds between two looks at a size in use."""

_GRAIN: Final = 16
_NONCE_BYTES: Final = 8


@dataclass(slots=True)
class _Peer:
    """A member that takes more than the base, and what is known of the way to it.

    `theirs` is what it said that it takes, in bytes. `tried` are the sizes that remain,
    the first with `nonce` at present and sent `tries` times; none if nothing is asked.
    """

    endpoint: Endpoint | None
    theirs: int = 0
    has_said: bool = False
    in_use: int = 0
    tried: tuple[int, ...] = ()
    nonce: bytes = b""
    tries: int = 0
    answered_at: float = NEVER


class PathSizes:
    """The sizes in use, by WireGuard key; sizes are bytes of inner packets.

    Args:
        tunnels: the sessions.
        entropy: random bytes.
        base: what every path carries.
        largest: what our own underlay carries; nothing is done unless it is more.
        period: seconds between two looks at a size in use.
        note_probe: is told to whom a probe goes, of how many bytes: it is no traffic.
    """

    def __init__(
        self,
        tunnels: Tunnels,
        entropy: Entropy,
        *,
        base: int,
        largest: int,
        period: float = PERIOD,
        note_probe: Callable[[bytes, int], None] = lambda _key, _size: None,
    ) -> None:
        self.base = base
        self._tunnels = tunnels
        self._entropy = entropy
        self._largest = largest
        self._period = period
        self._note_probe = note_probe
        self._peers: dict[bytes, _Peer] = {}
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        self._has_changed = False

    def size_for(self, key: bytes) -> int:
        """Return how large packets to the member may be."""
        peer = self._peers.get(key)
        return self.base if peer is None or not peer.in_use else peer.in_use

    def proven(self) -> dict[bytes, int]:
        """Return the sizes in use beyond the base."""
        return {key: peer.in_use for key, peer in self._peers.items() if peer.in_use}

    def take_change(self) -> bool:
        """Return whether a size in use is another since the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    # --- inputs ---

    def session_started(self, key: bytes, *, now: float) -> None:
        """A session with the member is usable: say what we take, and ask anew."""
        if self._largest <= self.base:
            return
        self._tunnels.send(key, LargestSize(self._largest), now=now)
        endpoint = self._tunnels.path_of(key)
        peer = self._peers.setdefault(key, _Peer(endpoint))
        peer.has_said = False
        if peer.endpoint != endpoint:
            self._leave(peer)
            peer.endpoint = endpoint
        self._begin(key, peer, now=now, at=now)

    def receive_largest(self, key: bytes, message: LargestSize, *, now: float) -> None:
        """Take what the member said; what it says again in a session is ignored."""
        peer = self._peers.get(key)
        if peer is None or peer.has_said:
            return
        peer.has_said = True
        if peer.theirs != message.size:
            peer.theirs = message.size
            if peer.in_use > message.size:
                self._leave(peer)
            self._begin(key, peer, now=now, at=now)

    def receive_probe(self, key: bytes, message: SizeProbe, *, now: float) -> None:
        """Answer a probe, which arrived as large as it says."""
        if not self.base < message.size <= self._largest:
            return
        peer = self._peers.get(key)
        if peer is not None:
            peer.answered_at = now
        self._tunnels.send(key, SizeProven(message.nonce, message.size), now=now)

    def receive_proven(self, key: bytes, message: SizeProven, *, now: float) -> None:
        """Use a size that we asked about, if the path is still the one we asked."""
        peer = self._peers.get(key)
        if peer is None or not peer.nonce or message.nonce != peer.nonce:
            return
        if message.size != peer.tried[0] or not self._is_on_its_path(key, peer):
            return
        self._use(peer, message.size)
        self._rest(key, peer, now=now)

    def path_changed(self, key: bytes, *, now: float) -> None:
        """The member is spoken to elsewhere, perhaps."""
        peer = self._peers.get(key)
        if peer is None or self._is_on_its_path(key, peer):
            return
        self._leave(peer)
        peer.endpoint = self._tunnels.path_of(key)
        # Not at once: who moves may move again.
        self._begin(key, peer, now=now, at=now + PAUSE)

    def forget(self, key: bytes) -> None:
        """The member does not answer, or is none any more."""
        peer = self._peers.pop(key, None)
        if peer is not None:
            self._leave(peer)
            self._deadlines.set(key, None)

    def handle_deadline(self, *, now: float) -> None:
        """Send the probes that are due, and go on from those that were in vain."""
        for key in self._deadlines.pop_due(now):
            peer = self._peers[key]
            if not self._tunnels.has_session(key):
                self.forget(key)
            elif not self._is_on_its_path(key, peer):
                self.path_changed(key, now=now)
            elif peer.tried:
                self._ask(key, peer, now=now)
            elif peer.in_use and self._has_traffic(key, peer, now):
                self._begin(key, peer, now=now, at=now)
            else:
                self._rest(key, peer, now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when a member is asked or looked at next."""
        return self._deadlines.next()

    # --- the steps ---

    def _begin(self, key: bytes, peer: _Peer, *, now: float, at: float) -> None:
        """Ask at *at* about the size in use, or the largest, and those below it."""
        top = peer.in_use or min(self._largest, peer.theirs)
        peer.tried = self._ladder(top)
        peer.nonce, peer.tries = b"", 0
        if peer.tried:
            self._wake(key, at)
        else:
            self._rest(key, peer, now=now)

    def _ladder(self, top: int) -> tuple[int, ...]:
        steps: Iterable[int] = (top, *(step for step in LADDER if step < top))
        fitting = dict.fromkeys(map(self._grained, steps))
        return tuple(size for size in fitting if size > self.base)

    def _grained(self, size: int) -> int:
        """Return the largest size up to *size* with which no padding goes beyond it.

        Packets are padded to 16 bytes counted from the last multiple of the base.
        """
        return size - size % self.base % _GRAIN

    def _ask(self, key: bytes, peer: _Peer, *, now: float) -> None:
        """Send the next probe, about the next size if there were enough of this."""
        if peer.tries == TRIES:
            if peer.tried[0] == peer.in_use:
                self._leave(peer)
            peer.tried = peer.tried[1:]
            peer.nonce, peer.tries = b"", 0
        if not peer.tried:
            self._rest(key, peer, now=now)
            return
        # The same for all tries: an answer that comes late is one, too.
        peer.nonce = peer.nonce or self._entropy(_NONCE_BYTES)
        peer.tries += 1
        size = peer.tried[0]
        self._tunnels.send_probe(key, SizeProbe(peer.nonce, size), size, now=now)
        self._note_probe(key, size)
        self._wake(key, now + PAUSE)

    def _rest(self, key: bytes, peer: _Peer, *, now: float) -> None:
        """Ask nothing until the next look; without a size there is nothing to see."""
        peer.tried, peer.nonce, peer.tries = (), b"", 0
        if peer.in_use:
            self._wake(key, now + self._period)
        else:
            self._deadlines.set(key, None)

    def _has_traffic(self, key: bytes, peer: _Peer, now: float) -> bool:
        """Whether data was sent since the last look that was no answer of ours."""
        sent = self._tunnels.last_data_sent(key)
        return sent > now - self._period and sent > peer.answered_at + PAUSE

    def _is_on_its_path(self, key: bytes, peer: _Peer) -> bool:
        return self._tunnels.path_of(key) == peer.endpoint

    def _use(self, peer: _Peer, size: int) -> None:
        self._has_changed |= peer.in_use != size
        peer.in_use = size

    def _leave(self, peer: _Peer) -> None:
        self._use(peer, 0)

    def _wake(self, key: bytes, at: float) -> None:
        self._deadlines.set(key, Deadline(at, "size of a path"))
