"""Where members are, and where we are: publishing, looking up, dialling."""

from collections.abc import Callable
from typing import Final

from meshnode.codec.messages import Found, Lookup, Message, Publish, Published, Refresh
from meshnode.codec.records import MAX_CANDIDATES, Endpoints, Role
from meshnode.crypto.signing import SigningKey
from meshnode.deadlines import Deadline, earliest
from meshnode.mesh.candidates import CandidateFilter, CandidateKind
from meshnode.mesh.dialling import Dialler
from meshnode.mesh.directory import Directory
from meshnode.mesh.documents import create_endpoints
from meshnode.mesh.endpoint_book import EndpointBook
from meshnode.mesh.lookups import Lookups
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.path_ports import RelayWays
from meshnode.mesh.ports import PathTunnels, StoredState
from meshnode.mesh.publishing import Hints, Publishing
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.relay_server import serves_as_relay
from meshnode.mesh.rendezvous import Rendezvous
from meshnode.mesh.trust import Trust
from meshnode.ports import Entropy
from meshnode.types import Endpoint, Prefix

MAX_SEEN: Final = 4
"""Addresses that others saw us at, the latest first."""


class Reach:
    """Everything about endpoints of one node.

    Args:
        key: our WireGuard key.
        signing_key: signs our endpoint record.
        trust: verifies others'.
        directory: who is a member, and who serves as rendezvous.
        overlay: the network's own prefixes, which are nobody's endpoint.
        tunnels: speak to them.
        outbox: takes introductions and what is to be kept.
        neighbours: gives whom we gossip with.
        relays: give channels to members.
        call_early: lets a member be called before there is a session with it.
        wants_seen: whether it is of use to others that a member sees us there.
        entropy: for jitter and sealing.
        stored: what an earlier run kept.
    """

    def __init__(
        self,
        *,
        key: bytes,
        signing_key: SigningKey,
        trust: Trust,
        directory: Directory,
        overlay: tuple[Prefix, ...],
        tunnels: PathTunnels,
        outbox: Outbox,
        neighbours: Callable[[], tuple[bytes, ...]],
        relays: RelayWays,
        call_early: Callable[[bytes, float], None],
        wants_seen: Callable[[Endpoint], bool],
        entropy: Entropy,
        stored: StoredState,
    ) -> None:
        def verify(key: bytes, data: bytes) -> Endpoints:
            member = directory.member(key)
            if member is None:
                raise RecordRefused(Refusal.WRONG_MEMBER)
            return trust.verify_endpoints(data, member)

        def sign(endpoints: Endpoints) -> bytes:
            return create_endpoints(signing_key, trust.network_id, endpoints)

        def rendezvous_keys() -> list[bytes]:
            return list(directory.keys_with_role(Role.RENDEZVOUS))

        def is_public(key: bytes) -> bool:
            member = directory.member(key)
            return member is not None and serves_as_relay(member.certificate.roles)

        book = EndpointBook(verify)
        self._book = book
        self._overlay = overlay
        self._wants_seen = wants_seen
        self._neighbours = neighbours
        self._rendezvous = Rendezvous(book, tunnels)
        self._lookups = Lookups(
            key=key, book=book, tunnels=tunnels, rendezvous_keys=rendezvous_keys
        )
        self._publishing = Publishing(
            key=key,
            sign=sign,
            tunnels=tunnels,
            own=self._rendezvous,
            rendezvous_keys=rendezvous_keys,
            entropy=entropy,
        )
        self.dialler = Dialler(
            tunnels=tunnels,
            outbox=outbox,
            lookups=self._lookups,
            book=book,
            candidates=CandidateFilter(overlay),
            relays=relays,
            is_public=is_public,
            call_early=call_early,
            entropy=entropy,
            stored=stored.endpoints,
        )
        self._local: tuple[Endpoint, ...] = ()
        self._advertised: tuple[Endpoint, ...] = ()
        self._mapped: tuple[Endpoint, ...] = ()
        self._seen: dict[Endpoint, None] = {}

    # --- where we are ---

    def set_own(
        self,
        advertised: tuple[Endpoint, ...],
        local: tuple[Endpoint, ...],
        *,
        now: float,
        wall: int,
    ) -> bool:
        """Take what the configuration and the host's interfaces say of us.

        Return whether this is another place than before.
        """
        self._advertised = advertised
        hosts = tuple(dict.fromkeys(endpoint.host for endpoint in local))
        self.dialler.set_filter(CandidateFilter(self._overlay, hosts))
        outside = CandidateFilter(self._overlay).outside(local)
        has_moved = outside != self._local
        if has_moved:
            # Another place in the world: what others saw before says nothing now.
            self._seen.clear()
            self._local = outside
        self._publish(now, wall)
        return has_moved

    def set_mapped(
        self, mapped: tuple[Endpoint, ...], *, now: float, wall: int
    ) -> None:
        """Take what routers forward to us from."""
        self._mapped = CandidateFilter(self._overlay).usable(mapped)
        self._publish(now, wall)

    def is_local(self, endpoint: Endpoint) -> bool:
        """Return whether it is on one of the host's own addresses."""
        return any(endpoint.host == one.host for one in self._local)

    def local_versions(self) -> set[int]:
        """Return the versions of IP, 4 and 6, that the host has addresses of."""
        return {endpoint.version for endpoint in self._local}

    def own_candidates(self) -> tuple[Endpoint, ...]:
        """Return where we tell others that we are, the best first."""
        return tuple(self.own_kinds())

    def own_kinds(self) -> dict[Endpoint, CandidateKind]:
        """Return the same, each with how we know of it."""
        kinds: dict[Endpoint, CandidateKind] = {}
        for kind, endpoints in (
            (CandidateKind.CONFIGURED, self._advertised),
            (CandidateKind.MAPPED, self._mapped),
            (CandidateKind.LOCAL, self._local),
            (CandidateKind.SEEN, self._seen),
        ):
            for endpoint in endpoints:
                if len(kinds) < MAX_CANDIDATES:
                    kinds.setdefault(endpoint, kind)
        return kinds

    def note_seen(self, seen: Endpoint | None, *, now: float, wall: int) -> None:
        """Take it that a member sees us at this endpoint, in an answer to us."""
        if seen is None or seen.scope_id or seen in self._seen:
            return
        if not self._wants_seen(seen):
            return
        if not CandidateFilter(self._overlay).usable((seen,)):
            return
        self._seen = dict.fromkeys((seen, *self._seen))
        while len(self._seen) > MAX_SEEN:
            self._seen.popitem()
        self._publish(now, wall)

    def set_hints(self, hints: Hints, *, now: float, wall: int) -> None:
        """Tell others this of us beside our candidates; equal hints change nothing."""
        self._publishing.set_hints(hints, now=now, wall=wall)

    # --- where others are ---

    @property
    def own_record(self) -> tuple[int, bytes]:
        """The version of our endpoint record, and its bytes; none: b""."""
        return self._publishing.record

    def take_record(self, key: bytes, record: bytes, *, now: float) -> bool:
        """Take the endpoint record that a member sent; return whether it is sound."""
        try:
            self._book.receive(key, record, now=now)
        except RecordRefused:
            return False
        return True

    def said_by(self, key: bytes, *, now: float) -> Endpoints | None:
        """Return the newest endpoint record of the member that we know, if any."""
        heard = self._book.get(key, now=now)
        return None if heard is None else heard.endpoints

    def want(self, key: bytes, *, now: float) -> None:
        """Dial the member with *key*: something waits for it."""
        self.dialler.want(key, self._neighbours(), now=now)

    def receive(self, key: bytes, message: Message, *, now: float, wall: int) -> None:
        """Take what a member says about endpoints."""
        match message:
            case Publish():
                self._rendezvous.receive_publish(key, message, now=now)
            case Published():
                # What nobody asked for could make us tell others anything.
                if self._publishing.receive_published(key, message, now=now):
                    self.note_seen(message.seen, now=now, wall=wall)
            case Refresh():
                self._rendezvous.receive_refresh(key, message, now=now)
            case Lookup():
                self._rendezvous.receive_lookup(key, message, now=now)
            case Found():
                self.dialler.receive_found(key, message, now=now)

    def rendezvous_changed(self, *, now: float) -> None:
        """A member that serves as rendezvous came or went."""
        self._publishing.rendezvous_changed(now=now)

    def publish_again(self, *, now: float) -> None:
        """Say anew where we are: what was said may not have left."""
        self._publishing.publish_again(now=now)

    def forget(self, key: bytes) -> None:
        """Drop everything about who is no member any more."""
        self._rendezvous.forget(key)
        self.dialler.forget(key)

    # --- time ---

    def handle_deadline(self, *, now: float, wall: int) -> None:
        """Do what is due."""
        self._rendezvous.handle_deadline(now=now, wall=wall)
        self._publishing.handle_deadline(now=now, wall=wall)
        self.dialler.handle_deadline(now=now, wall=wall)

    def next_deadline(self) -> Deadline | None:
        """Return when something is due."""
        return earliest(
            self._rendezvous.next_deadline(),
            self._publishing.next_deadline(),
            self.dialler.next_deadline(),
        )

    def _publish(self, now: float, wall: int) -> None:
        self._publishing.set_candidates(self.own_candidates(), now=now, wall=wall)
