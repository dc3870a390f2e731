"""Whether the owners of shared prefixes still answer.

Theory of operation. An owner is *watched* while it carries traffic: a second after the
last authenticated packet from it, if anything was sent since, it is asked (`Ping`),
again each second, and after three unanswered seconds it is unhealthy. So a gateway
that dies under traffic is left within four seconds and a little. Whatever arrives
from it is an answer: a busy owner is never asked.

An unhealthy owner is asked every two seconds and is healthy again after two answers in
a row, so that a link that drops every other packet does not flap.

An owner that *stands by* carries no traffic, and others shall go back to it once it
is well: as long as anything is watched, it is asked every two seconds, too, and after
three questions without an answer it is unhealthy.

Without traffic there are no timers. Watching goes on for `LINGER` seconds after the
last packet, which is longer than the engine watches a peer: new traffic in that time
is seen by looking, and later the engine tells of it.
"""

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from meshnode.codec.messages import Ping
from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.ports import Tunnels
from meshnode.ports import NEVER, Entropy

ASK_AFTER: Final = 1.0
"""Seconds of silence until an owner is asked, and between two questions."""

QUESTIONS: Final = 3
"""Unanswered in a row until it is unhealthy.

Counted, not timed: a process that was held up for a while has asked nobody meanwhile.
"""

RETRY: Final = 2.0
"""Seconds between two questions to an unhealthy owner."""

ANSWERS_TO_RECOVER: Final = 2
"""In a row, until it is healthy again."""

LINGER: Final = 30.0
"""Seconds without traffic until nobody is watched any more."""

_NONCE_BYTES: Final = 8


class _State(enum.Enum):
    IDLE = "no traffic, nothing known against it"
    WATCHED = "carries traffic"
    UNHEALTHY = "did not answer"


@dataclass(slots=True)
class _Owner:
    """`wanted_at` is when we were told of traffic; `asked_at` the last question.

    `asked` counts the open questions to a watched owner, `answers` those an unhealthy
    one answered in a row; `next_at` is its deadline, None for none.
    """

    state: _State = _State.IDLE
    wanted_at: float = NEVER
    asked_at: float = NEVER
    asked: int = 0
    nonce: bytes = b""
    answers: int = 0
    stands_by: bool = False
    next_at: float | None = None


class OwnerHealth:
    """The health of every owner of a shared prefix, by WireGuard key.

    Drive it by `handle_deadline` at `next_deadline`; what returns true changed
    `unhealthy`, and the routing table is another.
    """

    def __init__(self, tunnels: Tunnels, entropy: Entropy) -> None:
        self._tunnels = tunnels
        self._entropy = entropy
        self._owners: dict[bytes, _Owner] = {}
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        self._active_until = NEVER

    @property
    def unhealthy(self) -> frozenset[bytes]:
        """The owners that do not answer."""
        return frozenset(
            key
            for key, owner in self._owners.items()
            if owner.state is _State.UNHEALTHY
        )

    def set_owners(
        self, keys: Iterable[bytes], *, standby: Collection[bytes] = (), now: float
    ) -> None:
        """Care for exactly these owners; what is known of the others is forgotten.

        New ones are watched: if traffic to them has begun, nobody will tell us. Those
        of them that are in *standby* are asked though they carry nothing.
        """
        wanted = dict.fromkeys(keys)
        for key in [key for key in self._owners if key not in wanted]:
            del self._owners[key]
            self._deadlines.set(key, None)
        for key in wanted:
            if key not in self._owners:
                owner = self._owners[key] = _Owner(_State.WATCHED)
                self._wake(key, owner, now + ASK_AFTER)
            owner = self._owners[key]
            if owner.stands_by != (key in standby):
                owner.stands_by, owner.asked = key in standby, 0
                if owner.state is _State.IDLE:
                    owner.state = _State.WATCHED
                    self._wake(key, owner, now + ASK_AFTER)

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Hear that packets go to this peer, or wait for a session with it.

        Peers that own nothing shared are ignored.
        """
        owner = self._owners.get(key)
        # A question of ours is no traffic: it would keep itself going for ever.
        if owner is None or now < owner.asked_at + ASK_AFTER:
            return
        owner.wanted_at = now
        self._keep_active(now)
        if owner.state is _State.IDLE:
            owner.state = _State.WATCHED
            self._wake(key, owner, now + ASK_AFTER)
        # Those given up while nothing was going on may be better than this one.
        for other, known in self._owners.items():
            if known.next_at is None and (
                known.state is _State.UNHEALTHY or known.stands_by
            ):
                self._wake(other, known, now)

    def pong(self, key: bytes, nonce: bytes, *, now: float) -> bool:
        """Take the answer to a question; return whether the owner recovered."""
        owner = self._owners.get(key)
        if owner is None or not owner.nonce or owner.nonce != nonce:
            return False
        owner.nonce = b""
        if owner.state is not _State.UNHEALTHY:
            return False
        owner.answers += 1
        if owner.answers < ANSWERS_TO_RECOVER:
            return False
        owner.state = _State.WATCHED
        owner.wanted_at = NEVER
        owner.asked = 0
        self._wake(key, owner, now + ASK_AFTER)
        return True

    def handle_deadline(self, *, now: float) -> bool:
        """Ask who is silent; return whether somebody became unhealthy."""
        before = self.unhealthy
        for key in self._deadlines.pop_due(now):
            owner = self._owners[key]
            owner.next_at = None
            if owner.state is _State.UNHEALTHY:
                self._ask_unhealthy(key, owner, now)
            elif owner.stands_by:
                self._ask_standby(key, owner, now)
            else:
                self._look(key, owner, now)
        return self.unhealthy != before

    def next_deadline(self) -> Deadline | None:
        """Return when an owner is looked at next; None without traffic."""
        return self._deadlines.next()

    def _look(self, key: bytes, owner: _Owner, now: float) -> None:
        """Look what a watched owner sent since we last looked."""
        received = self._tunnels.last_received(key)
        sent = max(self._tunnels.last_data_sent(key), owner.wanted_at)
        if sent != NEVER:
            self._keep_active(sent)
        if received > owner.asked_at:
            owner.asked = 0
        if received >= sent:
            if now >= sent + LINGER:
                owner.state = _State.IDLE
            else:
                self._wake(key, owner, now + ASK_AFTER)
        elif now < received + ASK_AFTER:
            self._wake(key, owner, received + ASK_AFTER)
        elif owner.asked < QUESTIONS:
            owner.asked += 1
            self._ask(key, owner, now)
            self._wake(key, owner, now + ASK_AFTER)
        else:
            self._keep_active(now)
            self._give_up(key, owner, now)

    def _ask_standby(self, key: bytes, owner: _Owner, now: float) -> None:
        if self._tunnels.last_received(key) >= owner.asked_at:
            owner.asked = 0
        if now >= self._active_until:
            owner.state = _State.IDLE
        elif owner.asked < QUESTIONS:
            owner.asked += 1
            self._ask(key, owner, now)
            self._wake(key, owner, now + RETRY)
        else:
            self._give_up(key, owner, now)

    def _give_up(self, key: bytes, owner: _Owner, now: float) -> None:
        owner.state = _State.UNHEALTHY
        owner.answers = 0
        self._ask(key, owner, now)
        self._wake(key, owner, now + RETRY)

    def _ask_unhealthy(self, key: bytes, owner: _Owner, now: float) -> None:
        if owner.nonce:
            owner.answers = 0
        if now < self._active_until:
            self._ask(key, owner, now)
            self._wake(key, owner, now + RETRY)

    def _ask(self, key: bytes, owner: _Owner, now: float) -> None:
        owner.nonce = self._entropy(_NONCE_BYTES)
        owner.asked_at = now
        self._tunnels.send(key, Ping(owner.nonce), now=now)

    def _wake(self, key: bytes, owner: _Owner, at: float) -> None:
        owner.next_at = at
        self._deadlines.set(key, Deadline(at, "health of an owner"))

    def _keep_active(self, since: float) -> None:
        self._active_until = max(self._active_until, since + LINGER)
