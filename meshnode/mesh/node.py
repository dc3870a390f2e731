"""One node of a mesh, sans-IO: hands what comes in to the part that decides.

    node.start(now=..., wall=...)
    node.receive_message(key, message, ...)   # control frames, by the sender's key
    node.receive_introduction(data, ...)      # type 7 datagrams
    node.endpoint_wanted(key, ...)            # and the engine's other events
    node.handle_deadline(...)                 # at node.next_deadline()

    node.outbox                               # what to keep, to send and to tell
    node.plan_to_apply()                      # what the host is to look like, if new

Who may say what is decided here; what follows from it is `meshnode.mesh.steps`'.

Times: `now` is boottime seconds, `wall` wall seconds as the clock shows them.
"""

from typing import Final

from meshnode.codec.messages import (
    Chunk,
    Digests,
    Fetch,
    Hello,
    JoinReply,
    JoinRequest,
    Leaf,
    Message,
    Push,
    Renewed,
    Want,
)
from meshnode.deadlines import Deadline, earliest
from meshnode.errors import BadPacket, DropReason
from meshnode.hostplan import HostPlan
from meshnode.mesh.dispatch import NodeDispatch
from meshnode.mesh.events import PeerDown, PeerUp
from meshnode.mesh.introduction import (
    JoinerIntroduction,
    MemberIntroduction,
    open_introduction,
)
from meshnode.mesh.ports import PathTunnels, StoredState
from meshnode.mesh.settings import NodeIdentity, NodeSettings
from meshnode.ports import Entropy
from meshnode.types import Endpoint, Path

_ENOUGH_TO_GO_ON: Final = 2
"""Neighbours that must have answered: any one of them may fail then."""

_GOSSIP: Final = (Hello, Push, Digests, Leaf, Want, Fetch, Chunk)
"""What a contact may say whose record we do not know: it will be among these."""


class MeshNode(NodeDispatch):
    """The inputs and outputs of a node; see the module for its use.

    Args:
        identity: who we are.
        settings: what the administrator decided.
        stored: what an earlier run kept.
        tunnels: the sessions below.
        entropy: random bytes.
        now: boottime seconds.
        wall: wall seconds.

    Raises:
        ConfigError: if the identity is not of this network, or what was kept of an
            issuer is damaged.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        settings: NodeSettings,
        stored: StoredState,
        *,
        tunnels: PathTunnels,
        entropy: Entropy,
        now: float,
        wall: float,
    ) -> None:
        super().__init__(
            identity,
            settings,
            stored,
            tunnels=tunnels,
            entropy=entropy,
            now=now,
            wall=wall,
        )
        self._stored = stored
        self._plan: HostPlan | None = None

    # --- beginning and configuration ---

    def start(self, *, now: float, wall: float) -> None:
        """Take what was kept, and stand on our own certificate."""
        self._begin_step(wall, now)
        self._follow(self.sync.load(self._stored, now=now), now)
        self._stored = StoredState()
        self._announce(now)
        self._end_step(now)

    def configure(self, settings: NodeSettings, *, now: float, wall: float) -> None:
        """Follow another configuration; equal ones change nothing."""
        self._begin_step(wall, now)
        self._settings = settings
        self.roads.settings = settings
        self.ciphers.preferred = settings.ciphers
        self.relays.settings = settings
        self._announce(now)
        self._refresh(now)
        self._end_step(now)

    def set_addresses(
        self, local: tuple[Endpoint, ...], *, now: float, wall: float
    ) -> None:
        """Follow the host's own addresses, each with our UDP port."""
        believed = self._begin_step(wall, now)
        self.relays.relays_changed(now=now)
        if self.reach.set_own(self._settings.advertised, local, now=now, wall=believed):
            self.paths.addresses_changed(now=now)
            self.nat_view.look(now=now)
            self.lifetime.look(now=now)
            self.puncher.try_again(now=now)
        self._end_step(now)

    def set_mapped(
        self, mapped: tuple[Endpoint, ...], *, now: float, wall: float
    ) -> None:
        """Follow where routers forward our port from."""
        believed = self._begin_step(wall, now)
        self.reach.set_mapped(mapped, now=now, wall=believed)
        self._end_step(now)

    def set_near(
        self, key: bytes, endpoints: tuple[Endpoint, ...], *, now: float, wall: float
    ) -> None:
        """Follow where a member was heard on a link that we share with it."""
        self._begin_step(wall, now)
        if self.membership.by_key(key) is not None:
            self.reach.dialler.set_near(key, endpoints, now=now)
        self._end_step(now)

    def set_detour(
        self, key: bytes, endpoint: Endpoint | None, *, now: float, wall: float
    ) -> None:
        """TLS reaches a member behind this local endpoint; None: it does not."""
        self._begin_step(wall, now)
        self.detours.set_detour(key, endpoint, now=now)
        self._end_step(now)

    def set_contacts(
        self, contacts: dict[bytes, tuple[Endpoint, ...]], *, now: float, wall: float
    ) -> None:
        """Talk to these first: WireGuard keys with the endpoints configured for them.

        One whose record is not known yet is a peer without addresses until it is.
        """
        self._begin_step(wall, now)
        self.contacts.set(contacts, now=now)
        self._end_step(now)

    def peer_keys(self) -> list[bytes]:
        """Return the keys of all who are peers of the tunnels by our will."""
        unknown = filter(self.contacts.is_unknown, self.contacts.keys)
        return [*sorted(self.roads.peers), *unknown]

    def has_session(self, key: bytes) -> bool:
        """Whether a session with the peer is usable now."""
        return self.tunnels.has_session(key)

    @property
    def is_in_touch(self) -> bool:
        """Whether the mesh knows us and we know the mesh, whoever fails next.

        A member had the same records as we, and two neighbours have answered, or all
        there are.
        """
        count = len(self.neighbours.chosen)
        enough = min(count, _ENOUGH_TO_GO_ON)
        return self.sync.has_agreed and 0 < enough <= self.neighbours.answering

    # --- inputs ---

    def receive_introduction(self, data: bytes, *, now: float, wall: float) -> None:
        """Take a type 7 datagram: somebody is about to shake hands.

        Raises:
            BadPacket: if it is none, or it is a joiner that is not let in.
        """
        introduction = open_introduction(data, self.identity.private_key)
        believed = self._begin_step(wall, now)
        match introduction:
            case MemberIntroduction(record):
                news = self.sync.take_introduction(record, now=now, wall=self._wall)
                self._follow(news, now)
                self._meet_introduced(news, now)
            case JoinerIntroduction():
                if self.office is None:
                    raise BadPacket(DropReason.UNKNOWN_PEER)
                self.office.admit(introduction, now=now, wall=believed)
        self._end_step(now)

    def receive_probe(
        self, data: bytes, path: Path, *, now: float, wall: float
    ) -> None:
        """Take a type 6 datagram that came by *path*.

        Raises:
            BadPacket: if it is no probe of a member to us, or was here before.
        """
        if self.lifetime.take_echo(data):
            return
        opened = self.probes.open(data)
        self._begin_step(wall, now)
        if not self._is_of_surroundings(opened, path, now):
            self.puncher.receive_probe(opened, path, now=now)
        self._end_step(now)

    def sockets_opened(
        self, ports: tuple[int, ...], *, now: float, wall: float
    ) -> None:
        """The UDP sockets that `sockets` asked for are open on these ports, or none."""
        self._begin_step(wall, now)
        if not (
            self.nat_view.sockets_opened(ports, now=now)
            or self.hops.sockets_opened(ports, now=now)
            or self.lifetime.sockets_opened(ports, now=now)
        ):
            self.puncher.sockets_opened(ports, now=now)
        self._end_step(now)

    def receive_message(
        self,
        key: bytes,
        message: Message,
        *,
        path: Path | None = None,
        now: float,
        wall: float,
    ) -> None:
        """Take a control frame of the peer *key*, a WireGuard key, that came by *path*.

        What it may not say is dropped: a member everything, a contact whose record is
        not known what makes it known, an admitted joiner what it needs to become one.
        """
        believed = self._begin_step(wall, now)
        if path is not None:
            self.detours.heard(path.remote, now=now)
        if self.membership.by_key(key) is not None:
            self.neighbours.heard(key, now=now)
            self._dispatch(key, message, path, now, believed)
        elif isinstance(message, _GOSSIP) and self.contacts.is_unknown(key):
            self._gossip(key, message, now)
        elif self.office is not None and self.office.is_admitted(key):
            if isinstance(message, JoinRequest):
                self._issue(key, message, now, believed)
            else:
                self.sync.serve_joiner(key, message, now=now)
        self._end_step(now)

    def device_up(self, *, now: float, wall: float) -> None:
        """The tunnels can carry messages from now on; those before are lost."""
        self._begin_step(wall, now)
        self.neighbours.greet_again(now=now)
        self.contacts.greet_again(now=now)
        self.reach.publish_again(now=now)
        for key in self.roads.peers:
            self.paths.adopt(key, now=now)
        self._end_step(now)

    def endpoint_wanted(self, key: bytes, *, now: float, wall: float) -> None:
        """Something waits for a peer, and nobody knows where it is."""
        self._begin_step(wall, now)
        if self._is_ours(key):
            self.reach.want(key, now=now)
        self._end_step(now)

    def handshake_begun(self, key: bytes, *, now: float, wall: float) -> None:
        """A handshake goes out: introduce ourselves before it.

        To members and contacts only: others, such as WireGuard peers that were
        configured by hand, are not told who we are.
        """
        self._begin_step(wall, now)
        self.owners.traffic_resumed(key, now=now)
        self.relays.traffic_resumed(key, now=now)
        if self._is_ours(key):
            self.reach.dialler.handshake_begun(key, now=now)
            self.detours.handshake_begun(key, now=now)
        self._end_step(now)

    def session_started(self, key: bytes, *, now: float, wall: float) -> None:
        """A session with the peer is confirmed."""
        self._begin_step(wall, now)
        if self._is_ours(key):
            self.reach.dialler.session_started(key, now=now)
            self.detours.session_started(key, now=now)
        member = self.membership.by_key(key)
        if member is not None and self._is_ours(key):
            self.ciphers.session_started(key, now=now)
            self.sizes.session_started(key, now=now)
            self.narrow.session_started(key, now=now)
            self.paths.session_started(key, now=now)
            self._note_helper(key, now)
        if member is not None and key not in self._sessions:
            self._sessions.add(key)
            self.outbox.report(PeerUp(member.certificate.name, key), now=now)
        self._end_step(now)

    def handshake_given_up(self, key: bytes, *, now: float, wall: float) -> None:
        """The peer did not answer for long."""
        self._begin_step(wall, now)
        member = self.membership.by_key(key)
        if member is not None and key in self._sessions:
            self.outbox.report(PeerDown(member.certificate.name, key), now=now)
        self._sessions.discard(key)
        self.sizes.forget(key)
        self.narrow.forget(key)
        self.paths.forget(key, now=now)
        self._end_step(now)

    def path_changed(self, key: bytes, *, now: float, wall: float) -> None:
        """The peer is spoken to elsewhere."""
        self._begin_step(wall, now)
        self.sizes.path_changed(key, now=now)
        self.narrow.path_changed(key, now=now)
        self.paths.path_changed(key, now=now)
        self.relays.path_changed(key, now=now)
        self._note_helper(key, now)
        if self._is_ours(key) and self.has_session(key):
            self.reach.dialler.keep_path(key, now=now)
        self._end_step(now)

    def peer_heard(self, key: bytes, path: Path, *, now: float, wall: float) -> None:
        """Data of the peer came by a path to which it moves only by our will."""
        self._begin_step(wall, now)
        if self._is_ours(key):
            self.paths.heard(key, path, now=now)
        self._end_step(now)

    def traffic_resumed(self, key: bytes, *, now: float, wall: float) -> None:
        """Packets flow to the peer, or wait for it."""
        self._begin_step(wall, now)
        self.owners.traffic_resumed(key, now=now)
        self.narrow.traffic_resumed(key, now=now)
        self.relays.traffic_resumed(key, now=now)
        self.paths.traffic_resumed(key, now=now)
        self._end_step(now)

    def handle_deadline(self, *, now: float, wall: float) -> None:
        """Do what is due."""
        believed = self._begin_step(wall, now)
        self._follow(self.sync.handle_deadline(now=now, wall=self._wall), now)
        self._apply(self.membership.handle_deadline(wall=self._wall), now)
        self.contacts.handle_deadline(now=now)
        self.reach.handle_deadline(now=now, wall=believed)
        self.detours.handle_deadline(now=now)
        self.pings.handle_deadline(now=now)
        self.sizes.handle_deadline(now=now)
        self.narrow.handle_deadline(now=now)
        self.relays.handle_deadline(now=now)
        self.paths.handle_deadline(now=now)
        if self.nat_view.handle_deadline(now=now):
            self.lifetime.follow(now=now)
            if self.nat_view.is_sure:
                self.hops.begin(now=now)
        self.hops.handle_deadline(now=now)
        self.lifetime.handle_deadline(now=now)
        self.puncher.handle_deadline(now=now)
        if self.office is not None:
            self.office.handle_deadline(now=now, wall=believed)
        self._renew(self.renewal.handle_deadline(now=now, wall=believed), now)
        if self.owners.handle_deadline(now=now):
            self._are_routes_stale = True
        self._end_step(now)

    def next_deadline(self, *, now: float, wall: float) -> Deadline | None:
        """Return when `handle_deadline` is due, or a drain at once."""
        return earliest(
            self.outbox.next_deadline(),
            self._routes_deadline(),
            self.sync.next_deadline(),
            self.contacts.next_deadline(),
            self.reach.next_deadline(),
            self.detours.next_deadline(),
            self.pings.next_deadline(),
            self.renewal.next_deadline(),
            self.owners.next_deadline(),
            self.sizes.next_deadline(),
            self.narrow.next_deadline(),
            self.relays.next_deadline(),
            self.paths.next_deadline(),
            self.nat_view.next_deadline(),
            self.hops.next_deadline(),
            self.lifetime.next_deadline(),
            self.puncher.next_deadline(),
            None if self.office is None else self.office.next_deadline(),
            self._time_alone(wall, now),
        )

    # --- outputs beside the outbox ---

    def plan_to_apply(self) -> HostPlan | None:
        """Return what the host is to look like, if it was not told that yet."""
        if not self._is_plan_stale:
            return None
        self._is_plan_stale = False
        plan = self.roads.plan()
        if plan == self._plan:
            return None
        self._plan = plan
        return plan

    # --- decisions of the administrator ---

    def publish(self, record: bytes, *, now: float, wall: float) -> None:
        """Put a record of our making into the set; raises `RecordRefused`."""
        self._begin_step(wall, now)
        self._follow(self.sync.publish(record, now=now, wall=self._wall), now)
        self._end_step(now)

    def publish_policy(self, envelope: bytes, *, now: float, wall: float) -> None:
        """Put a signed policy in force; raises `RecordRefused`."""
        self._begin_step(wall, now)
        self._follow(self.sync.publish_policy(envelope, now=now), now)
        self._end_step(now)

    def publish_charter(self, envelope: bytes, *, now: float, wall: float) -> None:
        """Add the next charter; raises `RecordRefused`."""
        self._begin_step(wall, now)
        self._follow(self.sync.publish_charter(envelope, now=now), now)
        self._end_step(now)

    def use_certificate(
        self, certificate: bytes, issuer: bytes, *, now: float, wall: float
    ) -> None:
        """Stand on a certificate that was issued for us.

        Raises:
            ConfigError: if it is not of this network, or not for our keys.
        """
        self._begin_step(wall, now)
        if self.own.use_certificate(certificate, issuer):
            self._announce(now)
        self._end_step(now)

    def offer_certificate(self, key: bytes, papers: JoinReply, *, now: float) -> None:
        """Send a member a certificate that it did not ask for; it takes a later one."""
        renewed = Renewed(papers.certificate, papers.issuer)
        self.tunnels.send(key, renewed, now=now)

    def renew_now(self, *, now: float, wall: float) -> None:
        """Ask the issuers for a later certificate, whatever is left of ours."""
        believed = self._begin_step(wall, now)
        self._renew(self.renewal.ask(now=now, wall=believed), now)
        self._end_step(now)

    def leave(self, *, now: float, wall: float) -> None:
        """Say goodbye: our addresses and routes are gone until we come back."""
        self._begin_step(wall, now)
        if self.own.leave():
            self._announce(now)
        self._end_step(now)

    # --- the steps ---

    def _begin_step(self, wall: float, now: float) -> int:
        """Return the wall second to believe in this step."""
        self._wall = self.clock.believe(wall, now=now)
        return int(self._wall)

    def _time_alone(self, wall: float, now: float) -> Deadline | None:
        at = self.membership.next_deadline()
        if at is None:
            return None
        believed = wall + self.clock.behind(wall, now=now)
        return Deadline(now + max(at - believed, 0.0), "a certificate's time")
