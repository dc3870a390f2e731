"""Find out where a member may be, tell the tunnels, and introduce ourselves there.

Candidates come from TLS where UDP is blocked, from the configuration, from a link that
we share, from the last session, from the member's own endpoint record, and from the
record cached on disk; the tunnels try them all, and the first answer settles the path.
Before that goes our own member record, sealed, to each candidate, as long as nothing
shows that the member knows the present one: a host that has not heard of us would drop
our handshake.

Where there is a relay, it comes first: for a second, or five if it carries, we go only
by its channels, and to endpoints that expect us. What else arrives at a NAT uninvited
may be taken for an attack, and spoil the way for the search for a direct path, which
begins as soon as there is a session.
"""

from collections.abc import Callable, Iterable
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import Found
from meshnode.codec.records import MAX_CANDIDATES
from meshnode.deadlines import Deadline, DeadlineHeap, earliest
from meshnode.errors import AuthenticationError
from meshnode.mesh.candidates import CandidateFilter, CandidateKind
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.introduction import introduce_member
from meshnode.mesh.lookups import Lookups
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.path_ports import RelayWays
from meshnode.mesh.ports import KeepEndpoints, PathTunnels
from meshnode.ports import Entropy
from meshnode.types import Datagram, Endpoint, Path

MAX_DIALLED: Final = 12
"""Candidates given to the tunnels: those of a record and a few of our own."""

MAX_DIALS: Final = 256
DIAL_FOR: Final = 90.0
"""Seconds, as long as the tunnels try a handshake."""

GREET_FOR: Final = 10.0
"""The same if nothing of users waits: of many silent ones few are dialled at once."""

INTRODUCE_EVERY: Final = 5.0

RELAY_ANSWERS_IN: Final = 1.0
"""Seconds for which a relay that has not answered is all that is tried."""

MEMBER_ANSWERS_IN: Final = 5.0
"""The same for a relay that has a channel to the member."""

AGAIN_AFTER: Final = 0.4
"""Seconds after which a handshake by a relay is begun once more: of the four links it
takes, any may lose it, and WireGuard waits for five seconds."""

RECENT: Final = 10.0
"""Seconds for which a NAT surely lets in what it let in before."""


class Dialler:
    """Dials members on demand.

    Args:
        tunnels: which are told the candidates.
        relays: give channels to members.
        is_public: whether a member is reached by anybody, without a search.
        outbox: takes introductions and endpoints to keep.
        lookups: asks others.
        book: what they answered.
        candidates: which of them may be dialled.
        call_early: lets a member be called before there is a session with it.
        entropy: for sealing.
        stored: `StoredState.endpoints`.
    """

    def __init__(
        self,
        *,
        tunnels: PathTunnels,
        relays: RelayWays,
        is_public: Callable[[bytes], bool],
        outbox: Outbox,
        lookups: Lookups,
        book: EndpointBook,
        candidates: CandidateFilter,
        call_early: Callable[[bytes, float], None],
        entropy: Entropy,
        stored: Iterable[tuple[bytes, tuple[Endpoint, ...]]] = (),
    ) -> None:
        self._tunnels = tunnels
        self._relays = relays
        self.is_public = is_public
        self._outbox = outbox
        self._lookups = lookups
        self._book = book
        self._filter = candidates
        self._call_early = call_early
        self._entropy = entropy
        self._static: dict[bytes, tuple[Endpoint, ...]] = {}
        self._near: dict[bytes, tuple[Endpoint, ...]] = {}
        self._detours: dict[bytes, Endpoint] = {}
        # What worked or was said last, the path of the last session first.
        self._cached: dict[bytes, tuple[Endpoint, ...]] = dict(stored)
        self._record = b""
        self._knows_us: set[bytes] = set()
        self._dials: dict[bytes, float] = {}  # since when
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()
        self._again: DeadlineHeap[bytes] = DeadlineHeap()

    def set_record(self, record: bytes) -> None:
        """Introduce ourselves by this member record, ours; nobody knows a new one."""
        if record != self._record:
            self._record = record
            self._knows_us.clear()

    def set_filter(self, candidates: CandidateFilter) -> None:
        """Judge candidates by this from now on: our own addresses changed."""
        self._filter = candidates

    def set_static(
        self, key: bytes, endpoints: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Use these endpoints of the configuration, names resolved, for *key*."""
        if self._static.get(key, ()) == endpoints:
            return
        self._static[key] = endpoints
        if not endpoints:
            del self._static[key]
        self._offer(key, now)

    def set_near(
        self, key: bytes, endpoints: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Use these endpoints, at which *key* was heard on a link of ours."""
        if endpoints:
            self._near[key] = endpoints
        else:
            self._near.pop(key, None)
        self._offer(key, now)

    def set_detour(self, key: bytes, endpoint: Endpoint | None, *, now: float) -> None:
        """Use this local endpoint, behind which TLS reaches *key*; None for none."""
        if endpoint is None:
            self._detours.pop(key, None)
        else:
            self._detours[key] = endpoint
        self._offer(key, now)

    def want(self, key: bytes, neighbours: tuple[bytes, ...], *, now: float) -> None:
        """Dial the member with *key*, which something waits for, or does not answer.

        A session says nothing against it: its peer may have moved while it lasts.
        *neighbours* are asked where it is, beside the rendezvous members. What waits
        is dropped if there are too many dials, or nobody knows after 10 s.
        """
        if key not in self._dials and len(self._dials) >= MAX_DIALS:
            self._tunnels.drop_waiting(key, now=now)
            return
        is_sought = self._lookups.want(key, neighbours, now=now)
        self._want_relays(key, now)
        if not is_sought and not self._targets(key, now):
            self._tunnels.drop_waiting(key, now=now)
            return
        self._begin(key, now)
        self._offer(key, now)

    def handshake_begun(self, key: bytes, *, now: float) -> None:
        """Introduce ourselves before an initiation, if need be.

        Who knew us may have forgotten: only an answer shows that it still does.
        """
        has_room = key not in self._dials and len(self._dials) < MAX_DIALS
        if has_room and self._goes_by_relay(key) and not self._tunnels.has_session(key):
            # The path may be of long ago: do not wait until it proves to be dead.
            self._want_relays(key, now)
            self._begin(key, now)
            self._offer(key, now)
        self.introduce(key, now=now)
        self._knows_us.discard(key)

    def introduce(self, key: bytes, *, now: float) -> None:
        """Send our record to every candidate of a member that may not know it."""
        if not self._record or key in self._knows_us:
            return
        targets = dict.fromkeys(self._targets(key, now))
        path = self._tunnels.path_of(key)
        if path is not None:
            targets[path] = None
        if not targets:
            return
        try:
            data = introduce_member(self._record, key, ephemeral=self._entropy(32))
        except AuthenticationError:
            return  # a key of low order: no handshake with it can succeed either
        for target in targets:
            self._outbox.send(Datagram(data, Path(target)), now=now)

    def receive_found(self, peer: bytes, message: Found, *, now: float) -> None:
        """Take what a member knows about another's endpoints."""
        if not self._lookups.receive_found(peer, message, now=now):
            return
        key = message.key
        last_good = self._cached.get(key, ())[:1]
        said = self._said(key, now)
        self._cache(key, (*last_good, *said), now)
        self._offer(key, now)

    def session_started(self, key: bytes, *, now: float) -> None:
        """Note that a session with the member is confirmed: it knows us, and where."""
        if self._record:
            self._knows_us.add(key)
        self._end(key)
        self._lookups.reached(key)
        self.keep_path(key, now=now)

    def keep_path(self, key: bytes, *, now: float) -> None:
        """Know later where the member is spoken to now, which a session proves."""
        path = self._tunnels.path_of(key)
        # What only this host knows, behind TLS or a relay, is nothing for later.
        if path is not None and self._filter.usable((path,)):
            self._cache(key, (path, *self._cached.get(key, ())), now)

    def forget(self, key: bytes) -> None:
        """Drop everything of who is no member any more, but the configuration."""
        self._end(key)
        self._lookups.forget(key)
        self._near.pop(key, None)
        self._detours.pop(key, None)
        self._cached.pop(key, None)
        self._knows_us.discard(key)

    def ways_changed(self, key: bytes, *, now: float) -> None:
        """Channels to the member came or went, or were opened."""
        # All of them: a channel that is closed is no candidate any more.
        self._tunnels.set_candidates(key, self._targets(key, now), now=now)
        if key in self._dials:
            self.introduce(key, now=now)

    def is_near(self, key: bytes, endpoint: Endpoint) -> bool:
        """Whether the member was heard there on a link of ours."""
        return endpoint in self._near.get(key, ())

    def is_detour(self, endpoint: Endpoint) -> bool:
        """Whether TLS is behind it, ours or the member's."""
        return self._filter.is_detour(endpoint)

    def safe_of(self, key: bytes, *, now: float) -> tuple[Endpoint, ...]:
        """Return where the member is reached without opening a NAT for it first."""
        if self.is_public(key):
            return self.candidates_of(key, now=now)
        endpoints = (*self._static.get(key, ()), *self._near.get(key, ()))
        path = self._tunnels.path_of(key)
        if path is not None and now < self._tunnels.last_received(key) + RECENT:
            endpoints += () if channel_of(path) else (path,)
        return tuple(dict.fromkeys(self._filter.outside(endpoints)))

    def usable(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return those of what others tell that may be sent to, at most 8."""
        return self._filter.usable(endpoints)

    def candidates_of(self, key: bytes, *, now: float) -> tuple[Endpoint, ...]:
        """Return where the member may be, the best first, at most 12."""
        return tuple(self.kinds_of(key, now=now))

    def kinds_of(self, key: bytes, *, now: float) -> dict[Endpoint, CandidateKind]:
        """Return the same, each with how we know of it."""
        cached = self._filter.usable(self._cached.get(key, ()))
        kinds: dict[Endpoint, CandidateKind] = {}
        detour = self._detours.get(key)
        for kind, endpoints in (
            # First: the tunnels try only so many.
            (CandidateKind.TLS, () if detour is None else (detour,)),
            (CandidateKind.CONFIGURED, self._filter.outside(self._static.get(key, ()))),
            (CandidateKind.LAN, self._filter.outside(self._near.get(key, ()))),
            (CandidateKind.LAST, cached[:1]),
            (CandidateKind.PUBLISHED, self._said(key, now)),
            (CandidateKind.LAST, cached[1:]),
        ):
            for endpoint in endpoints:
                if len(kinds) < MAX_DIALLED:
                    kinds.setdefault(endpoint, kind)
        return kinds

    def kind_of(
        self, key: bytes, endpoint: Endpoint, *, now: float
    ) -> CandidateKind | None:
        """Return how we know of where the member is spoken to; None if it told us."""
        if self._filter.is_detour(endpoint):
            return CandidateKind.TLS  # by our connection, or by its own to us
        return self.kinds_of(key, now=now).get(endpoint)

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Go on with lookups and introductions, and end what was not found."""
        for key in self._lookups.handle_deadline(now=now):
            if not self._targets(key, now):
                self._end(key)
                self._tunnels.drop_waiting(key, now=now)
        for key in self._again.pop_due(now):
            if key in self._dials and not self._tunnels.has_session(key):
                self._tunnels.dial_again(key, now=now)
        for key in self._deadlines.pop_due(now):
            if self._is_in_vain(key, now):
                self._end(key)
                self._relays.drop(key, now=now)
                self._tunnels.drop_waiting(key, now=now)
                continue
            if now >= self._dials[key] + DIAL_FOR:
                del self._dials[key]
                self._relays.drop(key, now=now)
                continue
            self._deadlines.set(key, _introduction_at(now + INTRODUCE_EVERY))
            self._offer(key, now)

    def next_deadline(self) -> Deadline | None:
        """Return when a lookup or a dial goes on."""
        return earliest(
            self._lookups.next_deadline(), self._deadlines.next(), self._again.next()
        )

    def _is_in_vain(self, key: bytes, now: float) -> bool:
        """Whether it was dialled for long enough for the little we have to say."""
        if now < self._dials[key] + GREET_FOR:
            return False
        is_heard = now < self._tunnels.last_received(key) + GREET_FOR
        return not (is_heard or self._tunnels.is_wanted(key))

    def _goes_by_relay(self, key: bytes) -> bool:
        """Whether relays are what a member is dialled by first."""
        has_relays = self._relays.are_known or bool(self._relays.ways(key))
        return has_relays and not self.is_public(key)

    def _want_relays(self, key: bytes, now: float) -> None:
        if not self.is_public(key):
            self._relays.want(key, now=now)

    def _begin(self, key: bytes, now: float) -> None:
        if key in self._dials:
            return
        self._dials[key] = now
        first = RELAY_ANSWERS_IN if self._goes_by_relay(key) else INTRODUCE_EVERY
        self._deadlines.set(key, _introduction_at(now + first))
        if self._goes_by_relay(key) and self._tunnels.is_wanted(key):
            self._again.set(key, Deadline(now + AGAIN_AFTER, "dial once more"))

    def _targets(self, key: bytes, now: float) -> tuple[Endpoint, ...]:
        """Return where to dial the member: channels, and what else may be tried now."""
        ways = self._relays.ways(key)
        everything = (*ways, *self.candidates_of(key, now=now))
        if not self._goes_by_relay(key):
            return everything
        began_at = self._dials.get(key)
        if began_at is not None:
            is_open = any(way.is_open for way in self._relays.describe(key))
            patience = MEMBER_ANSWERS_IN if is_open else RELAY_ANSWERS_IN
            if now >= began_at + patience:
                return everything
        return (*ways, *self.safe_of(key, now=now))

    def _offer(self, key: bytes, now: float) -> None:
        candidates = self._targets(key, now)
        if candidates:
            self._tunnels.set_candidates(key, candidates, now=now)
        if key in self._dials:
            self.introduce(key, now=now)
            if self._tunnels.is_wanted(key) and self._relays.ways(key):
                self._call_early(key, now)

    def _said(self, key: bytes, now: float) -> tuple[Endpoint, ...]:
        heard = self._book.get(key, now=now)
        return self._filter.usable(heard.endpoints.candidates) if heard else ()

    def _cache(self, key: bytes, endpoints: tuple[Endpoint, ...], now: float) -> None:
        kept = tuple(dict.fromkeys(endpoints))[:MAX_CANDIDATES]
        if kept != self._cached.get(key, ()):
            self._cached[key] = kept
            self._outbox.keep(KeepEndpoints(key, kept), now=now)

    def _end(self, key: bytes) -> None:
        if self._dials.pop(key, None) is not None:
            self._deadlines.set(key, None)
            self._again.set(key, None)


def _introduction_at(at: float) -> Deadline:
    return Deadline(at, "introduce ourselves again")
