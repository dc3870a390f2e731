"""One node of a mesh, sans-IO: hands what comes in to the part that decides.

    node.start(now=..., wall=...)
    node.receive_message(key, message, ...)   # control frames, by the sender's key
    node.receive_introduction(data, ...)      # type 7 datagrams
    node.endpoint_wanted(key, ...)            # and the engine's other events
    node.handle_deadline(...)                 # at node.next_deadline()

    node.outbox                               # what to keep, to send and to tell
    node.plan_to_apply()                      # what the host is to look like, if new

Theory of operation. Every input changes the set of records, or what is known about
paths. Changes of the set are followed in one place (`_follow`): the view of members
says who came and went, tunnels and neighbours are told, and routes are marked to be
computed. They are computed at the end of the step, once, whatever happened in it.

Times: `now` is boottime seconds, `wall` wall seconds as the clock shows them.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.codec.messages import (
    Chunk,
    Digests,
    Fetch,
    Found,
    Hello,
    JoinReply,
    JoinRequest,
    Leaf,
    Lookup,
    Message,
    Ping,
    Pong,
    Publish,
    Published,
    Push,
    Refused,
    Renewed,
    RenewRequest,
    Want,
)
from meshnode.codec.records import Charter, Policy, Role
from meshnode.crypto.keys import PublicKey
from meshnode.deadlines import Deadline, earliest
from meshnode.errors import BadPacket, ConfigError, DropReason
from meshnode.hostplan import HostPlan
from meshnode.mesh.events import (
    HealthChanged,
    MemberChanged,
    MemberGone,
    MemberJoined,
    PeerDown,
    PeerUp,
    PolicyChanged,
    RoutesChanged,
)
from meshnode.mesh.introduction import (
    JoinerIntroduction,
    MemberIntroduction,
    open_introduction,
)
from meshnode.mesh.membership import MemberChange, Standing
from meshnode.mesh.parts import NodeParts
from meshnode.mesh.ports import StoredState, TunnelPeer, Tunnels
from meshnode.mesh.record_set import Merge
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.settings import NodeIdentity, NodeSettings
from meshnode.mesh.sync import News
from meshnode.ports import Entropy
from meshnode.types import Endpoint

_JOINER_MAY: Final = (Hello, Fetch, JoinRequest)
"""What an admitted joiner may say; the charter it verifies everything by is public."""

MAX_CONTACTS: Final = 16
MAX_CONFLICTS: Final = 8


class MeshNode(NodeParts):
    """The parts of a node and the flow between them; see the module for its use.

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
        tunnels: Tunnels,
        entropy: Entropy,
        now: float,
        wall: float,
    ) -> None:
        super().__init__(
            identity, settings, stored, tunnels=tunnels, entropy=entropy, now=now
        )
        self.health: dict[str, str] = {}
        self._stored = stored
        self._settings = settings
        self._wall = self.clock.believe(wall, now=now)
        self._sessions: set[bytes] = set()
        self._are_routes_stale = True
        self._is_plan_stale = True
        self._plan: HostPlan | None = None

    # --- beginning and configuration ---

    def start(self, *, now: float, wall: float) -> None:
        """Take what was kept, and stand on our own certificate."""
        believed = self._believe(wall, now)
        self._follow(self.sync.load(self._stored, now=now), now, believed)
        self._stored = StoredState()
        self._announce(now, believed)
        self._end_step(now)

    def configure(self, settings: NodeSettings, *, now: float, wall: float) -> None:
        """Follow another configuration; equal ones change nothing."""
        believed = self._believe(wall, now)
        self._settings = settings
        self.roads.settings = settings
        self._are_routes_stale = self._is_plan_stale = True
        self._announce(now, believed)
        self._end_step(now)

    def set_addresses(
        self, local: tuple[Endpoint, ...], *, now: float, wall: float
    ) -> None:
        """Follow the host's own addresses, each with our UDP port."""
        believed = int(self._believe(wall, now))
        self.reach.set_own(self._settings.advertised, local, now=now, wall=believed)
        self._end_step(now)

    def set_contacts(
        self, contacts: dict[bytes, tuple[Endpoint, ...]], *, now: float, wall: float
    ) -> None:
        """Talk to these first: WireGuard keys with the endpoints configured for them.

        One whose record is not known yet is a peer without addresses until it is.
        """
        known = dict(list(contacts.items())[:MAX_CONTACTS])
        for key in self.contacts:
            if key not in known:
                self.reach.dialler.set_static(key, (), now=now)
        for key, endpoints in known.items():
            if key == self.key:
                continue
            if key not in self.contacts and self.membership.by_key(key) is None:
                self.tunnels.set_peer(TunnelPeer(key), now=now)
            self.reach.dialler.set_static(key, endpoints, now=now)
            if self.membership.by_key(key) is None:
                # It may be the only one we know: greet it, and repair from there.
                hello = Hello(bytes(8), 0, 0, 0, wants_answer=True)
                self.tunnels.send(key, hello, now=now)
        self.contacts = dict.fromkeys(key for key in known if key != self.key)
        self._end_step(now)

    def peer_keys(self) -> list[bytes]:
        """Return the keys of all who are peers of the tunnels by our will."""
        members = [m.key for m in self.membership if m.key != self.key]
        return [*members, *self.contacts]

    def has_session(self, key: bytes) -> bool:
        """Whether a session with the peer is usable now."""
        return self.tunnels.has_session(key)

    # --- inputs ---

    def receive_introduction(self, data: bytes, *, now: float, wall: float) -> None:
        """Take a type 7 datagram: somebody is about to shake hands.

        Raises:
            BadPacket: if it is none, or nothing follows from it.
        """
        introduction = open_introduction(data, self.identity.private_key)
        believed = self._believe(wall, now)
        try:
            match introduction:
                case MemberIntroduction(record):
                    news = self.sync.publish(record, now=now, wall=believed)
                    self._follow(news, now, believed)
                case JoinerIntroduction():
                    if self.office is None:
                        raise BadPacket(DropReason.UNKNOWN_PEER)
                    self.office.admit(introduction, now=now, wall=int(believed))
        except RecordRefused:
            raise BadPacket(DropReason.UNKNOWN_PEER) from None
        self._end_step(now)

    def receive_message(
        self, key: bytes, message: Message, *, now: float, wall: float
    ) -> None:
        """Take a control frame of the peer with WireGuard key *key*."""
        believed = self._believe(wall, now)
        if self._may_say(key, message):
            self._dispatch(key, message, now, believed)
        self._end_step(now)

    def endpoint_wanted(self, key: bytes, *, now: float, wall: float) -> None:
        """Something waits for a peer, and nobody knows where it is."""
        self.reach.want(key, now=now)
        self._end_step(now)

    def handshake_begun(self, key: bytes, *, now: float, wall: float) -> None:
        """A handshake goes out: introduce ourselves before it."""
        self.owners.traffic_resumed(key, now=now)
        self.reach.dialler.introduce(key, now=now)

    def session_started(self, key: bytes, *, now: float, wall: float) -> None:
        """A session with the peer is confirmed."""
        self.reach.dialler.session_started(key, now=now)
        member = self.membership.by_key(key)
        if member is not None and key not in self._sessions:
            self._sessions.add(key)
            self.outbox.report(PeerUp(member.certificate.name, key), now=now)
        self._end_step(now)

    def handshake_given_up(self, key: bytes, *, now: float, wall: float) -> None:
        """The peer did not answer for long."""
        member = self.membership.by_key(key)
        if member is not None and key in self._sessions:
            self.outbox.report(PeerDown(member.certificate.name, key), now=now)
        self._sessions.discard(key)

    def traffic_resumed(self, key: bytes, *, now: float, wall: float) -> None:
        """Packets flow to the peer, or wait for it."""
        self.owners.traffic_resumed(key, now=now)

    def handle_deadline(self, *, now: float, wall: float) -> None:
        """Do what is due."""
        believed = self._believe(wall, now)
        self._follow(self.sync.handle_deadline(now=now, wall=believed), now, believed)
        self._apply(self.membership.handle_deadline(wall=believed), now)
        self.reach.handle_deadline(now=now, wall=int(believed))
        self.pings.handle_deadline(now=now)
        if self.office is not None:
            self.office.handle_deadline(now=now, wall=int(believed))
        renewed = self.renewal.handle_deadline(now=now, wall=int(believed))
        self._renew(renewed, now, believed)
        if self.owners.handle_deadline(now=now):
            self._are_routes_stale = True
        self._end_step(now)

    def next_deadline(self, *, now: float, wall: float) -> Deadline | None:
        """Return when `handle_deadline` is due, or a drain at once."""
        time_alone = self.membership.next_deadline()
        return earliest(
            self.outbox.next_deadline(),
            self.sync.next_deadline(),
            self.reach.next_deadline(),
            self.pings.next_deadline(),
            self.renewal.next_deadline(),
            self.owners.next_deadline(),
            None if self.office is None else self.office.next_deadline(),
            None
            if time_alone is None
            else Deadline(now + max(time_alone - wall, 0.0), "a certificate's time"),
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
        believed = self._believe(wall, now)
        self._follow(self.sync.publish(record, now=now, wall=believed), now, believed)
        self._end_step(now)

    def publish_policy(self, envelope: bytes, *, now: float, wall: float) -> None:
        """Put a signed policy in force; raises `RecordRefused`."""
        believed = self._believe(wall, now)
        self._follow(self.sync.publish_policy(envelope, now=now), now, believed)
        self._end_step(now)

    def publish_charter(self, envelope: bytes, *, now: float, wall: float) -> None:
        """Add the next charter; raises `RecordRefused`."""
        believed = self._believe(wall, now)
        self._follow(self.sync.publish_charter(envelope, now=now), now, believed)
        self._end_step(now)

    def use_certificate(
        self, certificate: bytes, issuer: bytes, *, now: float, wall: float
    ) -> None:
        """Stand on a certificate that was issued for us."""
        believed = self._believe(wall, now)
        if self.own.use_certificate(certificate, issuer, now=now):
            self._announce(now, believed)
        self._end_step(now)

    def offer_certificate(self, key: bytes, papers: JoinReply, *, now: float) -> None:
        """Send a member a certificate that it did not ask for; it takes a later one."""
        renewed = Renewed(papers.certificate, papers.issuer)
        self.tunnels.send(key, renewed, now=now)

    def renew_now(self, *, now: float, wall: float) -> None:
        """Ask the issuers for a later certificate, whatever is left of ours."""
        believed = self._believe(wall, now)
        self._renew(self.renewal.ask(now=now, wall=int(believed)), now, believed)
        self._end_step(now)

    def leave(self, *, now: float, wall: float) -> None:
        """Say goodbye: our addresses and routes are gone until we come back."""
        believed = self._believe(wall, now)
        if self.own.leave(now=now):
            self._announce(now, believed)
        self._end_step(now)

    # --- the steps ---

    def _believe(self, wall: float, now: float) -> float:
        self._wall = self.clock.believe(wall, now=now)
        return self._wall

    def _may_say(self, key: bytes, message: Message) -> bool:
        if self.membership.by_key(key) is not None or key in self.contacts:
            return True
        is_joiner = self.office is not None and self.office.is_admitted(key)
        return is_joiner and isinstance(message, _JOINER_MAY)

    def _dispatch(
        self, key: bytes, message: Message, now: float, believed: float
    ) -> None:
        wall = int(believed)
        match message:
            case Hello() | Push() | Digests() | Leaf() | Want() | Fetch() | Chunk():
                news = self.sync.receive(key, message, now=now, wall=believed)
                self._follow(news, now, believed)
            case Ping(nonce):
                pong = Pong(nonce, self.tunnels.path_of(key))
                self.tunnels.send(key, pong, now=now)
            case Pong(nonce):
                self.pings.receive(key, message, now=now)
                self.reach.receive(key, message, now=now, wall=wall)
                if self.owners.pong(key, nonce, now=now):
                    self._are_routes_stale = True
            case Publish() | Published() | Lookup() | Found():
                self.reach.receive(key, message, now=now, wall=wall)
            case JoinRequest() | RenewRequest():
                self._issue(key, message, now, wall)
            case Renewed():
                adopted = self.renewal.receive_renewed(key, message, now=now, wall=wall)
                self._renew(adopted, now, believed)
            case Refused():
                self.renewal.receive_refused(key, message)

    def _issue(self, key: bytes, request: Message, now: float, wall: int) -> None:
        if self.office is None:
            return
        answer = self.office.answer(key, request, now=now, wall=wall)
        self.tunnels.send(key, answer, now=now)
        if isinstance(answer, JoinReply):
            # Whom to talk to first, once it is a member.
            self.tunnels.send(key, Push((self.own.data,)), now=now)

    def _renew(self, renewed: Renewed | None, now: float, believed: float) -> None:
        if renewed is None:
            return
        if self.own.use_certificate(renewed.certificate, renewed.issuer, now=now):
            self._announce(now, believed)

    def _announce(self, now: float, believed: float) -> None:
        """Say of ourselves what the settings say, as far as our certificate goes."""
        ours = self.own.certificate
        wanted = self._settings.routes
        granted = tuple(r for r in wanted if self.own.may_announce(r.prefix))
        refused = [route for route in wanted if route not in granted]
        text = ""
        if refused:
            names = ", ".join(str(route.prefix) for route in refused)
            text = (
                f"our certificate does not allow {names}: not announced; at an issuer: "
                f"meshnode cert grant {ours.name} --route"
            )
        self.tell_health("announced routes", text, now=now)
        self.own.announce(granted, now=now)
        self.reach.dialler.set_record(self.own.data)
        self.renewal.set_certificate(ours, now=now)
        try:
            news = self.sync.publish(self.own.data, now=now, wall=believed)
        except RecordRefused as refusal:
            text = f"our own record is refused: {refusal}"
            self.tell_health("membership", text, now=now)
            return
        self._follow(news, now, believed)

    def tell_health(self, subject: str, text: str, *, now: float) -> None:
        """Let *text* be what is wrong with *subject*; "" for nothing."""
        if self.health.get(subject, "") == text:
            return
        if text:
            self.health[subject] = text
        else:
            self.health.pop(subject, None)
        self.outbox.report(HealthChanged(subject, text), now=now)

    def _follow(self, news: Iterable[News], now: float, believed: float) -> None:
        """Let what changed in the set change everything that stands on it."""
        merges = []
        for one in news:
            match one:
                case Merge():
                    merges.append(one)
                case Charter():
                    self._are_routes_stale = self._is_plan_stale = True
                case Policy():
                    self._use_policy(one, now)
        self._apply(self.membership.update(*merges, wall=believed), now)

    def _use_policy(self, policy: Policy, now: float) -> None:
        try:
            self.roads.use_policy(policy)
        except ConfigError as error:
            text = f"policy {policy.version} is not understood ({error}); upgrade"
            self.tell_health("policy", text, now=now)
            return
        self.tell_health("policy", "", now=now)
        self._is_plan_stale = True
        self.outbox.report(PolicyChanged(policy.version), now=now)

    def _apply(self, changes: tuple[MemberChange, ...], now: float) -> None:
        self.directory.follow(changes)
        for change in changes:
            member, key = change.member, change.member.key
            self._are_routes_stale = self._is_plan_stale = True
            if key == self.key:
                self._follow_ourselves(change, now)
                continue
            name = member.certificate.name
            if change.after is None:
                self.neighbours.remove(key, now=now)
                self.reach.forget(key)
                self._sessions.discard(key)
                gone = MemberGone(name, key, change.why.value)
                self.outbox.report(gone, now=now)
            elif change.before is None:
                if Role.STOCK not in member.certificate.roles:
                    self.neighbours.add(key, now=now)
                self.outbox.report(MemberJoined(name, key), now=now)
            else:
                self.outbox.report(MemberChanged(name, key), now=now)
        if changes:
            self._tell_conflicts(now)

    def _follow_ourselves(self, change: MemberChange, now: float) -> None:
        text = ""
        if change.after is None and change.why is not Standing.LEFT:
            text = f"this node is no member any more: {change.why.value}"
        self.tell_health("membership", text, now=now)

    def _tell_conflicts(self, now: float) -> None:
        pairs = self.membership.outdone()
        text = "; ".join(
            f"{one.certificate.name} ({PublicKey(one.key)}) is left out: "
            f"{other.certificate.name} ({PublicKey(other.key)}) has its name or address"
            for one, other in pairs[:MAX_CONFLICTS]
        )
        self.tell_health("conflicts", text, now=now)

    def _end_step(self, now: float) -> None:
        """Do once what the step made necessary."""
        self._stay_above(now)
        if self._are_routes_stale:
            self._are_routes_stale = False
            if self.roads.refresh(now=now):
                self._is_plan_stale = True
                self.outbox.report(RoutesChanged(), now=now)

    def _stay_above(self, now: float) -> None:
        """Outdo a later word of ours from a state that we have lost."""
        for known in self.records.members_of(self.key):
            if not self.own.is_ours(known.key, known.certificate.signing_key):
                continue  # somebody certified another's signing key for our name
            if known.data == self.own.data:
                continue
            if self.own.raise_above(known.version, now=now):
                self._announce(now, self._wall)
