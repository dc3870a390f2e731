"""Who of the parts takes a message of a member, and what follows from it.

`meshnode.mesh.node` has decided already that the sender may say it.
"""

from meshnode.codec.messages import (
    Accepts,
    CallMe,
    Chunk,
    Digests,
    Fetch,
    Found,
    Hello,
    JoinReply,
    JoinRequest,
    LargestSize,
    Leaf,
    Lookup,
    Message,
    Ping,
    Pong,
    ProbeKey,
    ProbeMe,
    ProbeThem,
    Publish,
    Published,
    Push,
    Refresh,
    Refused,
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    Renewed,
    RenewRequest,
    SizeProbe,
    SizeProven,
    Want,
)
from meshnode.codec.probes import ProbeKind
from meshnode.codec.records import Role
from meshnode.mesh.candidates import tellable
from meshnode.mesh.probes import Opened
from meshnode.mesh.record_set import Merge
from meshnode.mesh.steps import NodeSteps
from meshnode.mesh.sync import News
from meshnode.mesh.trust import VerifiedMember
from meshnode.types import Path


class NodeDispatch(NodeSteps):
    """The parts of a node, and what messages do with them."""

    def _is_ours(self, key: bytes) -> bool:
        """Whether the peer is one of the mesh, or may be."""
        member = self.membership.by_key(key)
        if member is None:
            return self.contacts.is_unknown(key)
        return Role.STOCK not in member.certificate.roles

    def _meet_introduced(self, news: tuple[News, ...], now: float) -> None:
        """Let who was introduced shake hands, which may be its next datagram."""
        for merge in news:
            for record in merge.kept if isinstance(merge, Merge) else ():
                if isinstance(record, VerifiedMember):
                    member = self.membership.by_key(record.key)
                    if member is not None:
                        self.roads.meet(member, now=now)

    def _gossip(self, key: bytes, message: Message, now: float) -> None:
        news = self.sync.receive(key, message, now=now, wall=self._wall)
        self._follow(news, now)

    def _dispatch(
        self, key: bytes, message: Message, path: Path | None, now: float, wall: int
    ) -> None:
        match message:
            case Hello() | Push() | Digests() | Leaf() | Want() | Fetch() | Chunk():
                self._gossip(key, message, now)
            case Ping(nonce):
                self._answer_ping(key, nonce, path, now)
            case Pong(nonce, seen):
                # What nobody asked for could make us tell others anything.
                if self.pings.receive(key, message, now=now):
                    self.reach.note_seen(seen, now=now, wall=wall)
                if self.relays.receive_pong(key, message, now=now):
                    self.reach.note_seen(seen, now=now, wall=wall)
                if self.owners.pong(key, nonce, now=now):
                    self._are_routes_stale = True
                if self.paths.receive_pong(key, nonce, path, now=now):
                    self.reach.note_seen(seen, now=now, wall=wall)
            case Publish() | Refresh() | Published() | Lookup() | Found():
                self.reach.receive(key, message, now=now, wall=wall)
                self._note_record(key, message, now)
            case JoinRequest() | RenewRequest():
                self._issue(key, message, now, wall)
            case Renewed():
                adopted = self.renewal.receive_renewed(key, message, now=now, wall=wall)
                self._renew(adopted, now)
            case ProbeKey(probe_key, wants_answer):
                self.probes.know(key, probe_key)
                if wants_answer:
                    answer = ProbeKey(self.probes.key, False)
                    self.tunnels.send(key, answer, now=now)
            case ProbeMe():
                self.probe_requests.receive_me(key, message, now=now)
            case ProbeThem():
                self.probe_requests.receive_them(key, message, now=now)
            case CallMe():
                self.puncher.receive_call(key, message, now=now)
            case Accepts():
                self.ciphers.receive(key, message, now=now)
            case LargestSize():
                self.sizes.receive_largest(key, message, now=now)
            case SizeProbe(_, size) if size <= self.narrow.base:
                self.narrow.receive_probe(key, message, now=now)
            case SizeProbe():
                self.sizes.receive_probe(key, message, now=now)
            case SizeProven(_, size) if size <= self.narrow.base:
                self.narrow.receive_proven(key, message, now=now)
            case SizeProven():
                self.sizes.receive_proven(key, message, now=now)
            case (
                RelayOpen()
                | RelayOffer()
                | RelayAccept()
                | RelayOpened()
                | RelayClose()
            ):
                self.relays.receive(key, message, now=now)
            case Refused():
                self.renewal.receive_refused(key, message)

    def _answer_ping(
        self, key: bytes, nonce: bytes, path: Path | None, now: float
    ) -> None:
        """Answer by the path that the ping came by: so the answer proves that one."""
        if path is None:
            pong = Pong(nonce, tellable(self.tunnels.path_of(key)))
            self.tunnels.send(key, pong, now=now)
            return
        pong = Pong(nonce, tellable(path.remote))
        self.tunnels.send_by(key, pong, path, now=now)
        if self._is_ours(key):
            self.paths.receive_ping(key, path, now=now)

    def _is_of_surroundings(self, opened: Opened, path: Path, now: float) -> bool:
        """Let who looks at our NATs see a probe; return whether it was for them."""
        if opened.probe.kind is ProbeKind.PING:
            self.hops.take_ping(opened, path, now=now)
            return self.lifetime.take_ping(opened, path, now=now)
        return (
            self.nat_view.take_pong(opened)
            or self.hops.take_pong(opened)
            or self.lifetime.take_pong(opened, now=now)
        )

    def _note_helper(self, key: bytes, now: float) -> None:
        """Look at our NATs if there is somebody new to see them."""
        if any(helper.key == key for helper in self._helpers()):
            self.nat_view.note_helper(now=now)

    def _note_record(self, key: bytes, message: Message, now: float) -> None:
        """Know how to speak to whom an endpoint record is about, before it does."""
        match message:
            case Publish():
                self.puncher.record_changed(key, now=now)
            case Found(about, _):
                # It may name relays that are near to the member.
                self.relays.look_again(now=now)
                self.puncher.record_changed(about, now=now)
            case Published(_, seen) if seen is not None:
                self.nat_view.note_seen(seen, now=now)

    def _issue(self, key: bytes, request: Message, now: float, wall: int) -> None:
        if self.office is None:
            return
        answer = self.office.answer(key, request, now=now, wall=wall)
        self.tunnels.send(key, answer, now=now)
        if isinstance(answer, JoinReply):
            # Whom to talk to first, once it is a member.
            self.tunnels.send(key, Push((self.own.data,)), now=now)

    def _renew(self, renewed: Renewed | None, now: float) -> None:
        if renewed is None:
            return
        if self.own.use_certificate(renewed.certificate, renewed.issuer):
            self._announce(now)
