"""What a relay does for others: channels between two members, for a while.

Theory of operation. A *lease* is one channel through us: from who asked (the asker) to
the next one, which is the member it is for, or a further relay. We receive from each
under a number of ours and send to each under one of theirs. The way back is there from
the beginning, for the answer may be as quick as the acceptance; the way forth as soon
as the next one has said its number.

Loops. A question carries by whom it came, and is refused if we, or anybody else, would
be on its way twice. Numbers are given for one question to one neighbour, and what a
number leads to was given later than it: so what honest relays pass on among them ends.
Who lies about a question's way starts a channel of its own, which it must feed itself.

Nothing is kept of who is no member, and everything is limited (`Limits`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import (
    MAX_FURTHER_RELAYS,
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.codec.records import Role
from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.ports import PathTunnels
from meshnode.values import frozen

LEASE: Final = 300
"""Seconds for which a channel is kept; who uses it renews it before."""

ACCEPT_WITHIN: Final = 10.0
"""Seconds until a channel that the next one does not accept is forgotten."""

ASK_RATE: Final = 20.0
ASK_BURST: Final = 256.0
"""Questions of one member, a second and at once; more are not answered."""

Roles = Callable[[bytes], Role | None]
"""Return the roles of the member with that key, None if it is none."""


@frozen
class Limits:
    """What a relay gives: channels of one asker, to one target, and in all.

    `rate` is bytes a second and `quota` bytes in a lease of one channel in one
    direction, 0 for no limit.
    """

    per_asker: int = 64
    per_target: int = 256
    total: int = 4096
    rate: int = 0
    quota: int = 0


@dataclass(slots=True)
class _Lease:
    """One channel: keys and numbers of both sides; `to_next` is 0 until it is said."""

    question: RelayOpen
    asker: bytes
    next: bytes
    from_asker: int
    from_next: int
    granted_at: float
    to_next: int = 0
    awaits: bool = True

    @property
    def to_asker(self) -> int:
        return self.question.channel

    def concerns(self, key: bytes) -> bool:
        question = self.question
        on_way = (self.asker, question.key, *question.trail, *question.via)
        return key in on_way


class RelayServer:
    """All leases of this node.

    Args:
        key: our WireGuard key.
        tunnels: carry messages, and channels.
        numbers: of this node's channels.
        roles: of members.
        is_willing: whether we serve at all, now.
        limits: how much, now.
    """

    def __init__(
        self,
        key: bytes,
        *,
        tunnels: PathTunnels,
        numbers: ChannelNumbers,
        roles: Roles,
        is_willing: Callable[[], bool],
        limits: Callable[[], Limits],
    ) -> None:
        self._key = key
        self._tunnels = tunnels
        self._numbers = numbers
        self._roles = roles
        self._is_willing = is_willing
        self._limits = limits
        self._budgets = Budgets(rate=ASK_RATE, burst=ASK_BURST)
        self._asked: dict[tuple[bytes, int], _Lease] = {}
        self._by_number: dict[int, _Lease] = {}
        self._counts: dict[tuple[str, bytes], int] = {}
        self._deadlines: DeadlineHeap[int] = DeadlineHeap()

    def __len__(self) -> int:
        """How many channels lead through us."""
        return len(self._asked)

    def owns(self, channel: int) -> bool:
        """Whether one of our leases receives under this number."""
        return channel in self._by_number

    # --- messages ---

    def receive_open(self, peer: bytes, question: RelayOpen, *, now: float) -> None:
        """Take a member's question for a channel, or its renewal."""
        if not self._budgets.spend(peer, 1.0, now=now):
            return
        known = self._asked.get((peer, question.channel))
        reason = self._refusal(peer, question)
        if known is not None and (reason is not None or not _is_same(known, question)):
            self._close(known, RelayReason.CLOSED, now=now, but=peer)
            known = None
        if reason is None and known is None and self._is_full(peer, question.key):
            reason = RelayReason.NO_CAPACITY
        if reason is not None:
            refusal = RelayClose(question.channel, reason)
            self._tunnels.send(peer, refusal, now=now)
            return
        self._promise(known or self._make(peer, question, now), question, now)

    def receive_accept(self, peer: bytes, message: RelayAccept, *, now: float) -> None:
        """Take it that the member a channel is for receives by it."""
        lease = self._by_number.get(message.channel)
        is_its = lease is not None and lease.from_next == message.channel
        if lease is None or not is_its or lease.next != peer or lease.question.via:
            gone = RelayClose(message.label, RelayReason.CLOSED)
            self._tunnels.send(peer, gone, now=now)
        elif lease.awaits:
            self._complete(lease, message.label, now)
        else:
            # Nobody asked: it wants to know whether we are there.
            said = RelayOpened(message.label, lease.from_next, LEASE)
            self._tunnels.send(peer, said, now=now)

    def receive_opened(self, peer: bytes, message: RelayOpened, *, now: float) -> None:
        """Take a further relay's answer."""
        lease = self._by_number.get(message.channel)
        if lease is None or lease.next != peer or lease.from_next != message.channel:
            return
        if lease.question.via and message.lease:
            self._complete(lease, message.label, now)

    def receive_close(self, peer: bytes, message: RelayClose, *, now: float) -> None:
        """Close a channel that one of its two sides does not want any more."""
        lease = self._by_number.get(message.channel)
        if lease is not None and peer == self._who_uses(lease, message.channel):
            self._close(lease, message.reason, now=now, but=peer)

    def forget(self, key: bytes, *, now: float) -> None:
        """Close all channels with who is no member any more."""
        for lease in [one for one in self._asked.values() if one.concerns(key)]:
            self._close(lease, RelayReason.TARGET_GONE, now=now, but=key)

    # --- time ---

    def handle_deadline(self, *, now: float) -> None:
        """End what nobody renewed."""
        for number in self._deadlines.pop_due(now):
            self._close(self._by_number[number], RelayReason.CLOSED, now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when a lease ends."""
        return self._deadlines.next()

    # --- the steps ---

    def _refusal(self, peer: bytes, question: RelayOpen) -> RelayReason | None:
        """Return why we do not serve this question, None if we may."""
        if not self._is_willing():
            return RelayReason.UNWILLING
        trail, via = question.trail, question.via
        way = (*trail, peer, self._key, *via, question.key)
        if len(set(way)) < len(way) or len(trail) + len(via) > MAX_FURTHER_RELAYS:
            return RelayReason.LOOP
        target = self._roles(question.key)
        if target is None or Role.STOCK in target:
            return RelayReason.UNKNOWN_TARGET
        relays = (*trail[1:], *((peer,) if trail else ()), *via)
        if not all(map(self._is_relay, relays)):
            return RelayReason.UNWILLING
        if trail and self._roles(trail[0]) is None:
            return RelayReason.UNWILLING
        following = _next_of(question)
        if self._is_behind_channel(peer) or self._is_behind_channel(following):
            return RelayReason.NO_PATH
        # Who wants to be reached by us keeps a session; relays are there to be dialled.
        if not (self._tunnels.has_session(following) or self._is_relay(following)):
            return RelayReason.NO_PATH
        return None

    def _is_relay(self, key: bytes) -> bool:
        return serves_as_relay(self._roles(key))

    def _is_behind_channel(self, key: bytes) -> bool:
        path = self._tunnels.path_of(key)
        return path is not None and channel_of(path) != 0

    def _is_full(self, asker: bytes, target: bytes) -> bool:
        limits = self._limits()
        return (
            len(self._asked) >= limits.total
            or self._counts.get(("asker", asker), 0) >= limits.per_asker
            or self._counts.get(("target", target), 0) >= limits.per_target
        )

    def _make(self, peer: bytes, question: RelayOpen, now: float) -> _Lease:
        numbers = self._numbers
        following = _next_of(question)
        lease = _Lease(question, peer, following, numbers.draw(), numbers.draw(), now)
        self._asked[peer, question.channel] = lease
        self._by_number[lease.from_asker] = self._by_number[lease.from_next] = lease
        self._count(lease, +1)
        self._install(lease, now)
        return lease

    def _promise(self, lease: _Lease, question: RelayOpen, now: float) -> None:
        """Tell the asker our number, and ask the next one."""
        lease.awaits = True
        if not lease.to_next:
            ends = Deadline(now + ACCEPT_WITHIN, "a channel is not accepted")
            self._deadlines.set(lease.from_asker, ends)
        said = RelayOpened(lease.to_asker, lease.from_asker, 0)
        self._tunnels.send(lease.asker, said, now=now)
        datagrams = question.datagrams
        onward: RelayOpen | RelayOffer
        if question.via:
            trail = (*question.trail, lease.asker)
            rest = question.via[1:]
            number = lease.from_next
            onward = RelayOpen(question.key, rest, trail, number, datagrams)
        else:
            origin = (*question.trail, lease.asker)[0]
            onward = RelayOffer(origin, lease.from_next, datagrams)
        self._tunnels.send(lease.next, onward, now=now)

    def _complete(self, lease: _Lease, label: int, now: float) -> None:
        """The way forth is known, or known to be there still."""
        lease.awaits = False
        if label != lease.to_next:
            lease.to_next = label
            self._install(lease, now)
        elif now >= lease.granted_at + LEASE / 2:
            self._install(lease, now)  # another quota; not with every question
        self._deadlines.set(
            lease.from_asker, Deadline(now + LEASE, "the lease of a channel ends")
        )
        said = RelayOpened(lease.to_asker, lease.from_asker, LEASE)
        self._tunnels.send(lease.asker, said, now=now)

    def _install(self, lease: _Lease, now: float) -> None:
        lease.granted_at = now
        limits = self._limits()
        for number, source, onward, label in (
            (lease.from_next, lease.next, lease.asker, lease.to_asker),
            (lease.from_asker, lease.asker, lease.next, lease.to_next),
        ):
            if label:
                self._tunnels.open_channel(
                    number,
                    source,
                    label,
                    onward=onward,
                    rate=limits.rate,
                    quota=limits.quota,
                    now=now,
                )

    def _who_uses(self, lease: _Lease, number: int) -> bytes:
        return lease.asker if number == lease.from_asker else lease.next

    def _close(
        self, lease: _Lease, reason: RelayReason, *, now: float, but: bytes = b""
    ) -> None:
        """Forget a channel and tell both sides of it, *but* that one."""
        del self._asked[lease.asker, lease.to_asker]
        self._count(lease, -1)
        for number in (lease.from_asker, lease.from_next):
            del self._by_number[number]
            self._tunnels.close_channel(number, now=now)
            self._numbers.free(number)
        self._deadlines.set(lease.from_asker, None)
        for key, label in ((lease.asker, lease.to_asker), (lease.next, lease.to_next)):
            if label and key != but:
                self._tunnels.send(key, RelayClose(label, reason), now=now)

    def _count(self, lease: _Lease, step: int) -> None:
        for name in (("asker", lease.asker), ("target", lease.question.key)):
            count = self._counts.get(name, 0) + step
            self._counts[name] = count
            if not count:
                del self._counts[name]


def serves_as_relay(roles: Role | None) -> bool:
    """Whether a member with these roles may forward for others."""
    return roles is not None and bool(roles & (Role.RELAY | Role.RENDEZVOUS))


def _next_of(question: RelayOpen) -> bytes:
    return question.via[0] if question.via else question.key


def _is_same(lease: _Lease, question: RelayOpen) -> bool:
    before = lease.question
    ask = (question.key, question.via, question.trail)
    return (before.key, before.via, before.trail) == ask
