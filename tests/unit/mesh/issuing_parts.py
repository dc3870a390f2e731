"""A founded network with an issuer at work, and tunnels that only take notes."""

import random
from dataclasses import dataclass, field

from meshnode.codec.messages import JoinReply, JoinRequest, Message
from meshnode.codec.records import Endpoints, Member, Role, Route
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.admission import Admissions
from meshnode.mesh.certifier import Certifier
from meshnode.mesh.directory import Directory
from meshnode.mesh.documents import create_endpoints, create_member_record
from meshnode.mesh.founding import FounderKeys, Founding, found_network
from meshnode.mesh.introduction import (
    JoinerIntroduction,
    introduce_joiner,
    open_introduction,
)
from meshnode.mesh.invites import Grant, Invite, Invites
from meshnode.mesh.issued import IssuedLedger
from meshnode.mesh.issuing import Issuing
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.membership import Membership
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import (
    KeepInvite,
    KeepIssued,
    SharedPrefix,
    TunnelPeer,
)
from meshnode.mesh.record_set import RecordSet
from meshnode.mesh.relays import RelayWay
from meshnode.mesh.trust import Trust, VerifiedMember
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint, Path, Prefix

WALL = 1_800_000_000
NOW = 1000.0
DAY = 86400
YEAR = 365 * DAY
GRANT = Grant("", ("staff",), (), Role.NONE, YEAR)


@dataclass
class FakeTunnels:
    """Does nothing, and remembers what it was asked."""

    peers: dict[bytes, TunnelPeer] = field(default_factory=dict)
    sent: list[tuple[bytes, Message]] = field(default_factory=list)
    candidates: dict[bytes, tuple[Endpoint, ...]] = field(default_factory=dict)
    dropped: list[bytes] = field(default_factory=list)
    paths: dict[bytes, Endpoint] = field(default_factory=dict)
    sessions: set[bytes] = field(default_factory=set)
    sent_by: list[tuple[bytes, Message, Path]] = field(default_factory=list)
    standbys: dict[bytes, Path | None] = field(default_factory=dict)
    channels: dict[int, tuple[bytes, int, bytes | None]] = field(default_factory=dict)

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Remember the peer."""
        self.peers[peer.key] = peer

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Forget the peer."""
        self.peers.pop(key, None)

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Do nothing."""

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Remember the candidates."""
        self.candidates[key] = candidates

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Remember the message."""
        self.sent.append((key, message))

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Remember that it was dropped."""
        self.dropped.append(key)

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return what the test put into `paths`."""
        return self.paths.get(key)

    def has_session(self, key: bytes) -> bool:
        """Whether the test put it into `sessions`."""
        return key in self.sessions

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return none."""
        return ()

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Not used."""

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Do nothing."""

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Remember the message and its path."""
        self.sent_by.append((key, message, path))

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Remember the path."""
        self.paths.pop(key, None)
        if path is not None:
            self.paths[key] = path.remote

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Remember the path."""
        self.standbys[key] = path

    def open_channel(
        self,
        channel: int,
        key: bytes,
        label: int,
        *,
        onward: bytes | None = None,
        rate: int = 0,
        quota: int = 0,
        now: float,
    ) -> None:
        """Remember the channel: from whom, with which label, to whom."""
        self.channels[channel] = (key, label, onward)

    def close_channel(self, channel: int, *, now: float) -> None:
        """Forget the channel."""
        self.channels.pop(channel, None)

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def is_wanted(self, key: bytes) -> bool:
        """Say yes: whoever is dialled is dialled for users."""
        return True

    def is_watched(self, key: bytes) -> bool:
        """Say no: all traffic is told."""
        return False

    def last_received(self, key: bytes) -> float:
        """Say never."""
        return NEVER

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return none."""
        return {}

    def last_data_sent(self, key: bytes) -> float:
        """Say never."""
        return NEVER

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Say none."""
        return 0, 0

    def drain(self) -> list[tuple[bytes, Message]]:
        """Return what was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent


class Host:
    """A host's two key pairs."""

    def __init__(self, rng: random.Random) -> None:
        self.private = PrivateKey(rng.randbytes(32))
        self.key = self.private.public_key().raw
        self.signing = SigningKey(rng.randbytes(32))

    def endpoints(
        self, network_id: bytes, version: int, *candidates: Endpoint
    ) -> bytes:
        """Return its signed endpoint record."""
        endpoints = Endpoints(self.key, version, candidates)
        return create_endpoints(self.signing, network_id, endpoints)


class Office:
    """The founder of a network, with all that an issuer needs.

    `restart` makes it anew from what its outbox was told to keep.
    """

    def __init__(
        self,
        rng: random.Random,
        cidr: str = "10.9.0.0/16",
        groups: tuple[str, ...] = ("staff", "ops"),
    ) -> None:
        self.rng = rng
        self.founder = Host(rng)
        self.authority = SigningKey(rng.randbytes(32))
        self.issuing_key = SigningKey(rng.randbytes(32))
        self.founding: Founding = found_network(
            "home",
            Prefix.parse(cidr),
            "founder",
            FounderKeys(
                self.founder.key,
                self.founder.signing.public,
                self.authority,
                self.issuing_key,
            ),
            groups=groups,
            serial=rng.randbytes(16),
            wall=WALL,
        )
        self.network_id = self.founding.network_id
        self.kept_invites: dict[bytes, bytes] = {}
        self.kept_issued: dict[bytes, bytes] = {}
        self.trust = Trust(self.network_id)
        self.trust.add_charter(self.founding.charter)
        self.records = RecordSet()
        self.membership = Membership(self.records)
        self.directory = Directory(
            self.membership,
            self.records,
            self.trust,
            issuing_key=self.issuing_key.public,
        )
        self.restart()
        self.enrol(self.founder, self.founding.certificate)

    def restart(self) -> None:
        """Forget all but what was kept."""
        self.tunnels = FakeTunnels()
        self.outbox = Outbox()
        self.invites = Invites(self.outbox, self.kept_invites.items())
        self.ledger = IssuedLedger(self.kept_issued.items())
        self.admissions = Admissions(
            tunnels=self.tunnels,
            private_key=self.founder.private,
            network_id=self.network_id,
            invites=self.invites,
            is_member=lambda key: self.directory.member(key) is not None,
        )
        self.certifier = Certifier(
            trust=self.trust,
            signing_key=self.issuing_key,
            issuer=self.founding.issuer,
            directory=self.directory,
            ledger=self.ledger,
        )
        self.issuing = Issuing(
            self.certifier,
            directory=self.directory,
            admissions=self.admissions,
            invites=self.invites,
            ledger=self.ledger,
            outbox=self.outbox,
            entropy=self.rng.randbytes,
        )

    def store(self) -> int:
        """Do what the shell does with the outbox; return how many changes it had."""
        for change in self.outbox.changes:
            if isinstance(change, KeepInvite):
                self.kept_invites[change.key] = change.data
            elif isinstance(change, KeepIssued):
                self.kept_issued[change.serial] = change.data
        count = len(self.outbox.changes)
        self.outbox.changes.clear()
        self.outbox.events.clear()
        return count

    def state(self) -> tuple[object, ...]:
        """Return everything a refusal must leave alone."""
        return (
            tuple(self.outbox.changes),
            tuple(self.outbox.events),
            self.invites.all(),
            len(self.ledger),
        )

    def invite(
        self, *, uses: int = 1, expires: int = WALL + DAY, grant: Grant = GRANT
    ) -> PrivateKey:
        """Open an invite and return its private half."""
        private = PrivateKey(self.rng.randbytes(32))
        self.invites.create(
            private.public_key().raw,
            grant,
            uses=uses,
            expires=expires,
            now=NOW,
            wall=WALL,
        )
        return private

    def open_invite(self, private: PrivateKey) -> Invite:
        """Return the invite with this private half."""
        invite = self.invites.get(private.public_key().raw)
        assert invite is not None
        return invite

    def introduction(
        self, invite: PrivateKey, host: Host, *, until: int = WALL + 600
    ) -> JoinerIntroduction:
        """Return how *host* introduces itself."""
        data = introduce_joiner(
            network_id=self.network_id,
            invite_private=invite,
            issuer_key=self.founder.key,
            joiner_key=host.key,
            until=until,
            ephemeral=self.rng.randbytes(32),
        )
        opened = open_introduction(data, self.founder.private)
        assert isinstance(opened, JoinerIntroduction)
        return opened

    def request(self, invite: PrivateKey, host: Host, name: str) -> JoinRequest:
        """Return what *host* asks in its session."""
        return create_join_request(
            host.signing,
            self.network_id,
            wireguard_key=host.key,
            invite_key=invite.public_key().raw,
            name=name,
        )

    def join(
        self, invite: PrivateKey, host: Host, name: str, *, wall: int = WALL
    ) -> Message:
        """Let *host* do all it takes to join; return the answer."""
        introduction = self.introduction(invite, host, until=wall + 600)
        self.admissions.admit(introduction, now=NOW, wall=wall)
        request = self.request(invite, host, name)
        return self.issuing.join(request, host.key, now=NOW, wall=wall)

    def enrol(
        self,
        host: Host,
        certificate: bytes,
        *,
        issuer: bytes = b"",
        version: int = 1,
        routes: tuple[Route, ...] = (),
        wall: int = WALL,
    ) -> VerifiedMember:
        """Let everybody know *host*'s member record; *issuer* b"" is the founder."""
        record = create_member_record(
            host.signing,
            self.network_id,
            certificate=certificate,
            issuer=issuer or self.founding.issuer,
            member=Member(version, routes),
        )
        member = self.trust.verify_member(record, wall=wall)
        merge = self.records.offer(member, wall=float(wall))
        self.directory.follow(self.membership.update(merge, wall=float(wall)))
        return member

    def add_member(self, name: str, roles: Role = Role.NONE) -> Host:
        """Return a new member that everybody knows."""
        host = Host(self.rng)
        grant = Grant(name, (), (), roles, YEAR)
        reply = self.join(self.invite(grant=grant), host, name)
        assert isinstance(reply, JoinReply)
        self.enrol(host, reply.certificate)
        return host

    def revoke(self, data: bytes, *, wall: int = WALL) -> None:
        """Let everybody know a revocation."""
        revocation = self.trust.verify_revocation(data)
        merge = self.records.offer(revocation, wall=float(wall))
        self.directory.follow(self.membership.update(merge, wall=float(wall)))


class NoRelays:
    """Relays where nobody relays."""

    are_known: bool = False
    endpoints: tuple[Endpoint, ...] = ()

    def want(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def drop(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return what a test has set; none."""
        return self.endpoints

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return none."""
        return ()
