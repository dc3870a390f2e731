"""How large packets to a member may be where the path does not carry the base.

Theory of operation. A link that drops what is too large and says nothing about it (a
black hole) is noticed only by who asks. So while we send a member enough that there may
be large packets among it, it is asked every `CHECK` seconds whether the size in use
still arrives: a `SizeProbe`, as large as it says and never cut, and its answer. That
an answer comes to something else says nothing, for small packets pass a black hole.

If there is no answer within `wait`, all sizes that common links carry are asked about
at once, the largest first, and again those that are larger than any that was answered.
After `TRIES` rounds the largest that was answered is in use. Without any answer the
path is cut and not narrow, so nothing changes. All that takes three times `wait`, which
is twice the round trip.

A size below the base grows as soon as a larger one is answered for; every `GROW`
seconds all larger ones are asked about, too. Another endpoint is another path and
begins with the base.

To look at a member costs no more than to read counters, twice a second under traffic
and less the longer nothing large was sent. Who was sent nothing at all for `AWAKE`
seconds is not looked at until the tunnels say that data flows again.
"""

from dataclasses import dataclass, field
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import SizeProbe, SizeProven
from meshnode.codec.wireguard import DATA_OVERHEAD
from meshnode.deadlines import Deadline, DeadlineHeap, next_turn
from meshnode.mesh.ports import Tunnels
from meshnode.ports import NEVER, Entropy
from meshnode.types import Endpoint

LINKS: Final = (1500, 1492, 1480, 1400, 1360, 1300, 1280, 1006, 576)
"""MTUs of links that there are, in bytes: Ethernet, PPPoE, tunnels in IPv4, mobile
networks, tunnels in each other, the least that IPv6 allows, and older ones."""

LOOK: Final = 0.5
"""Seconds between two looks at what is sent to a member."""

LAZY_LOOK: Final = 4.0
"""The same at most, where nothing large was sent for long."""

LAZINESS: Final = 0.2
"""How much of the time without anything large passes until the next look."""

AWAKE: Final = 40.0
"""Seconds without data to a member until it is not looked at any more: longer than any
wait of WireGuard's, after which the tunnels say when data flows again."""

CHECK: Final = 1.0
"""Seconds between two questions about the size in use, under traffic."""

MAX_BACK_OFF: Final = 8
"""Times `CHECK` between two questions at most, where nothing is answered at all."""

GROW: Final = 10.0
"""Seconds between two questions about all larger sizes."""

TRIES: Final = 3
"""Rounds in which a size must go unanswered until it is left."""

WAIT: Final = 0.25
"""Seconds that a round waits for answers, at least and until there was one."""

MAX_WAIT: Final = 1.5

MIN_LARGE: Final = 1200
"""Bytes sent in a look that may hold a packet too large for some link."""

MIN_RATE: Final = 2400
"""Bytes a second among which there may always be one."""

MIN_MEAN: Final = 200
"""Bytes of a datagram on average, from which on there may be one among fewer."""

_GRAIN: Final = 16
_NONCE_BYTES: Final = 8
_RELAY_HEADER: Final = 8
_IP_AND_UDP: Final = {4: 28, 6: 48}


@dataclass(slots=True)
class _Question:
    """What is asked at present: for each size a nonce, and when it was first sent.

    `best` is the largest size that was answered for, 0 for none; `tries` the round.
    """

    asked: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    best: int = 0
    tries: int = 0
    is_open: bool = False


@dataclass(slots=True)
class _Peer:
    """A member with a session, and what is known of the way to it.

    `packets` and `bytes` are what it was sent until `looked_at`, and the probes
    from then on; `unheard` counts questions without any answer;
    `busy_at` is when something large was last sent, or expected, `resumed_at` when data
    began to flow last.
    """

    endpoint: Endpoint | None
    size: int
    packets: int = 0
    bytes: int = 0
    looked_at: float = NEVER
    unheard: int = 0
    wait: float = WAIT
    busy_at: float = NEVER
    resumed_at: float = NEVER
    asked_at: float = NEVER
    grown_at: float = NEVER
    question: _Question = field(default_factory=_Question)


def sizes_for(endpoint: Endpoint, base: int) -> tuple[int, ...]:
    """Return the sizes to ask about on the way to *endpoint*, the largest first.

    They are bytes of inner packets, the *base* and what links carry that are less. With
    padding, which goes to 16 bytes but not beyond the base, none becomes larger.
    """
    overhead = DATA_OVERHEAD + _IP_AND_UDP[endpoint.version]
    if channel_of(endpoint):
        overhead += _RELAY_HEADER
    found = (link - overhead for link in LINKS)
    narrow = (size - size % _GRAIN for size in found if size < base)
    return tuple(dict.fromkeys((base, *narrow)))


class NarrowPaths:
    """The sizes below the base that are in use, by WireGuard key.

    Args:
        tunnels: the sessions.
        entropy: random bytes.
        base: bytes of an inner packet that a path is believed to carry at first.
    """

    def __init__(self, tunnels: Tunnels, entropy: Entropy, *, base: int) -> None:
        self.base = base
        self._tunnels = tunnels
        self._entropy = entropy
        self._peers: dict[bytes, _Peer] = {}
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        self._has_changed = False

    def size_for(self, key: bytes) -> int:
        """Return how large packets to the member may be: the base or less."""
        peer = self._peers.get(key)
        return self.base if peer is None else peer.size

    def narrowed(self) -> dict[bytes, int]:
        """Return the sizes in use that are less than the base."""
        return {
            key: peer.size for key, peer in self._peers.items() if peer.size < self.base
        }

    def take_change(self) -> bool:
        """Return whether a size in use is another since the last call."""
        has_changed, self._has_changed = self._has_changed, False
        return has_changed

    # --- inputs ---

    def session_started(self, key: bytes, *, now: float) -> None:
        """A session with the member is usable: look at it from now on."""
        endpoint = self._tunnels.path_of(key)
        if key not in self._peers:
            packets, size = self._tunnels.sent_to(key)
            self._peers[key] = _Peer(endpoint, self.base, packets, size, now)
        self.traffic_resumed(key, now=now)

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Data flows to the member, perhaps after a long time without."""
        peer = self._peers.get(key)
        if peer is not None and not peer.question.is_open:
            peer.busy_at = peer.resumed_at = now
            self._wake(key, now + LOOK)

    def note_probe(self, key: bytes, size: int) -> None:
        """A probe of *size* bytes goes to the member, which is no traffic."""
        peer = self._peers.get(key)
        if peer is not None:
            peer.packets += 1
            peer.bytes += size + DATA_OVERHEAD

    def receive_probe(self, key: bytes, message: SizeProbe, *, now: float) -> None:
        """Answer a probe, which arrived as large as it says."""
        self._tunnels.send(key, SizeProven(message.nonce, message.size), now=now)

    def receive_proven(self, key: bytes, message: SizeProven, *, now: float) -> None:
        """Take an answer to the last question, also one that comes late."""
        peer = self._peers.get(key)
        if peer is None or self._tunnels.path_of(key) != peer.endpoint:
            return
        question = peer.question
        nonce, asked_at = question.asked.get(message.size, (None, now))
        if message.nonce != nonce:
            return
        peer.wait = min(max(2 * (now - asked_at), WAIT), MAX_WAIT)
        question.best = max(question.best, message.size)
        if message.size > peer.size:
            self._use(peer, message.size)
        if question.is_open and question.best == max(question.asked):
            self._conclude(key, peer, now)

    def path_changed(self, key: bytes, *, now: float) -> None:
        """The member is spoken to elsewhere, perhaps."""
        peer = self._peers.get(key)
        endpoint = self._tunnels.path_of(key)
        if peer is not None and endpoint is not None and peer.endpoint != endpoint:
            self._use(peer, self.base)
            peer.endpoint = endpoint
            peer.question = _Question()
            peer.asked_at = peer.grown_at = NEVER
            peer.unheard, peer.wait = 0, WAIT
            self._wake(key, now)

    def forget(self, key: bytes) -> None:
        """The member does not answer, or is none any more."""
        peer = self._peers.pop(key, None)
        if peer is not None:
            self._use(peer, self.base)
            self._deadlines.set(key, None)

    def handle_deadline(self, *, now: float) -> None:
        """Look at what was sent, and go on with what is asked."""
        for key in self._deadlines.pop_due(now):
            peer = self._peers[key]
            self.path_changed(key, now=now)
            if not self._tunnels.has_session(key):
                peer.question.is_open = False  # it sleeps until the next one
            elif peer.question.is_open:
                self._go_on(key, peer, now)
            else:
                self._look(key, peer, now)

    def next_deadline(self) -> Deadline | None:
        """Return when a member is looked at or asked next."""
        return self._deadlines.next()

    # --- the steps ---

    def _look(self, key: bytes, peer: _Peer, now: float) -> None:
        is_large = self._was_sent_large(key, peer, now)
        if is_large:
            peer.busy_at = now
        pause = CHECK * min(2**peer.unheard, MAX_BACK_OFF)
        last = self._tunnels.last_data_sent(key)
        if last <= now - AWAKE:
            # What control says is large at times, and no reason to ask.
            if peer.resumed_at > now - AWAKE:
                self._wake(key, next_turn(now, LAZY_LOOK))
            else:
                self._deadlines.set(key, None)
        elif is_large and now >= peer.asked_at + pause and peer.endpoint is not None:
            self._begin(key, peer, peer.endpoint, now)
        else:
            pause = min(max(LAZINESS * (now - peer.busy_at), LOOK), LAZY_LOOK)
            self._wake(key, next_turn(now, pause))

    def _was_sent_large(self, key: bytes, peer: _Peer, now: float) -> bool:
        """Whether there may be a large packet among what was sent since last asked."""
        all_packets, all_bytes = self._tunnels.sent_to(key)
        packets, size = all_packets - peer.packets, all_bytes - peer.bytes
        seconds = now - peer.looked_at
        peer.packets, peer.bytes, peer.looked_at = all_packets, all_bytes, now
        is_dense = size >= MIN_RATE * seconds or size >= MIN_MEAN * packets
        return size >= MIN_LARGE and is_dense

    def _begin(self, key: bytes, peer: _Peer, endpoint: Endpoint, now: float) -> None:
        """Ask about the size in use, and about the larger ones now and then."""
        sizes: tuple[int, ...] = (peer.size,)
        if peer.size < self.base and now >= peer.grown_at + GROW:
            peer.grown_at = now
            larger = (s for s in sizes_for(endpoint, self.base) if s > peer.size)
            sizes = (*larger, peer.size)
        peer.question = _Question(is_open=True)
        self._ask(key, peer, sizes, now)

    def _go_on(self, key: bytes, peer: _Peer, now: float) -> None:
        """Ask again, or decide; the time of the last round is over."""
        question = peer.question
        if question.best >= peer.size or peer.endpoint is None:
            self._conclude(key, peer, now)
        elif question.tries < TRIES:
            sizes = sizes_for(peer.endpoint, self.base)
            larger = tuple(size for size in sizes if size > question.best)
            self._ask(key, peer, larger, now)
        else:
            if question.best:
                self._use(peer, question.best)
                peer.grown_at = now
            self._conclude(key, peer, now)

    def _ask(self, key: bytes, peer: _Peer, sizes: tuple[int, ...], now: float) -> None:
        peer.question.tries += 1
        for size in sizes:
            # The same in all rounds: an answer that comes late is one, too.
            new = (self._entropy(_NONCE_BYTES), now)
            nonce, _ = peer.question.asked.setdefault(size, new)
            self._tunnels.send_probe(key, SizeProbe(nonce, size), size, now=now)
            self.note_probe(key, size)
        self._wake(key, now + peer.wait)

    def _conclude(self, key: bytes, peer: _Peer, now: float) -> None:
        """End the question; who was silent is asked less often."""
        question = peer.question
        question.is_open = False
        peer.unheard = 0 if question.best else peer.unheard + 1
        peer.asked_at = now
        self._wake(key, now + LOOK)

    def _use(self, peer: _Peer, size: int) -> None:
        self._has_changed |= peer.size != size
        peer.size = size

    def _wake(self, key: bytes, at: float) -> None:
        self._deadlines.set(key, Deadline(at, "size of a narrow path"))
