"""Whole mesh nodes over tunnels in memory, with one clock and a disk for each.

A message arrives if each end has the other as a peer, which stands for a handshake;
the introduction that goes before one arrives first. Nothing else is left out: what a
node keeps is what it finds when it is started again.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from meshnode.codec.messages import JoinReply, Message
from meshnode.codec.records import Role, Route
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.hostplan import HostPlan
from meshnode.mesh.events import MeshEvent
from meshnode.mesh.founding import FounderKeys, found_network
from meshnode.mesh.introduction import introduce_joiner, introduce_member
from meshnode.mesh.invites import Grant
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.node import MeshNode
from meshnode.mesh.ports import (
    DropRecord,
    KeepCharter,
    KeepInvite,
    KeepIssued,
    KeepOwn,
    KeepPolicy,
    KeepRecord,
    KeepWallMark,
    SharedPrefix,
    StateChange,
    StoredState,
    TunnelPeer,
)
from meshnode.mesh.settings import IssuerIdentity, NodeIdentity, NodeSettings
from meshnode.ports import NEVER
from meshnode.types import Cipher, Endpoint, Path, Prefix

_E = TypeVar("_E")

WALL = 1_800_000_000
DAY = 86400
YEAR = 365 * DAY
SETTINGS = NodeSettings("mesh", 10900, 0x6D6E, 1420, 51820)
NOTHING = Grant("", (), (), Role.NONE, YEAR)


class Disk:
    """What a node kept."""

    def __init__(self) -> None:
        self._records: dict[bytes, tuple[int, bytes]] = {}
        self._charters: dict[int, bytes] = {}
        self._invites: dict[bytes, bytes] = {}
        self._issued: dict[bytes, bytes] = {}
        self._rest = StoredState()

    @property
    def state(self) -> StoredState:
        """What a node finds that starts."""
        return replace(
            self._rest,
            records=tuple(self._records.values()),
            charters=tuple(self._charters.values()),
            invites=tuple(self._invites.items()),
            issued=tuple(self._issued.items()),
        )

    def forget_own(self) -> None:
        """Lose our own word, as a host that was set back to an old backup."""
        self._rest = replace(self._rest, own=b"", own_version=0)
        self._records.clear()

    def keep(self, changes: list[StateChange]) -> None:
        """Do what the state store does."""
        for change in changes:
            match change:
                case KeepRecord(id, kind, data):
                    self._records[id] = (kind, data)
                case DropRecord(id):
                    self._records.pop(id, None)
                case KeepCharter(version, data):
                    self._charters[version] = data
                case KeepPolicy(_, data):
                    self._rest = replace(self._rest, policy=data)
                case KeepOwn(version, data):
                    self._rest = replace(self._rest, own=data, own_version=version)
                case KeepWallMark(at):
                    self._rest = replace(self._rest, wall_mark=at)
                case KeepInvite(key, data):
                    self._invites[key] = data
                case KeepIssued(serial, data):
                    self._issued[serial] = data


class Wires:
    """The tunnels of one host: peers, and what is sent to them."""

    def __init__(self, world: "World", key: bytes) -> None:
        self.peers: dict[bytes, TunnelPeer] = {}
        self.shared: tuple[SharedPrefix, ...] = ()
        self.sent: list[tuple[bytes, Message]] = []
        self.candidates: dict[bytes, tuple[Endpoint, ...]] = {}
        self.paths: dict[bytes, Endpoint] = {}
        self.sessions: set[bytes] = set()
        self.dropped: list[bytes] = []
        self.indices: dict[bytes, tuple[int, ...]] = {}
        self.ciphers: dict[tuple[bytes, int], Cipher] = {}
        self.probes: list[tuple[bytes, Message]] = []
        self._world = world
        self._key = key

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Take the peer."""
        self.peers[peer.key] = peer

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Forget the peer and its session."""
        self.peers.pop(key, None)
        self.sessions.discard(key)

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Take what is shared."""
        self.shared = shared

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Take the candidates."""
        self.candidates[key] = candidates

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Put a message on its way."""
        self.sent.append((key, message))
        if key in self.peers:
            self._world.letters.append((self._key, key, message))

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Lose it: there is one path only, and nobody sees which."""

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Remember the path."""
        self.paths.pop(key, None)
        if path is not None:
            self.paths[key] = path.remote

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Do nothing."""

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
        """Do nothing."""

    def close_channel(self, channel: int, *, now: float) -> None:
        """Do nothing."""

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Note it."""
        self.dropped.append(key)

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return what a test put there."""
        return self.paths.get(key)

    def has_session(self, key: bytes) -> bool:
        """Whether anything went to the peer, or a test says so."""
        return key in self.sessions

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return what a test put there."""
        return self.indices.get(key, ())

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Note it."""
        self.probes.append((key, message))

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Note it."""
        self.ciphers[key, session] = cipher

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def is_wanted(self, key: bytes) -> bool:
        """Say yes: whoever is dialled is dialled for users."""
        return True

    def is_watched(self, key: bytes) -> bool:
        """Say no: all traffic is told."""
        return False

    def last_received(self, key: bytes) -> float:
        """Nothing."""
        return NEVER

    def last_data_sent(self, key: bytes) -> float:
        """Nothing."""
        return NEVER

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return none."""
        return {}

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Say none."""
        return 0, 0


class Computer:
    """One host: its keys, its disk, and its node while that runs."""

    def __init__(self, world: "World", name: str) -> None:
        rng = world.rng
        self.name = name
        self.private = PrivateKey(rng.randbytes(32))
        self.key = self.private.public_key().raw
        self.signing = SigningKey(rng.randbytes(32))
        self.disk = Disk()
        self.settings = SETTINGS
        self.identity: NodeIdentity | None = None
        self.events: list[MeshEvent] = []
        self.plans: list[HostPlan] = []
        self.wires = Wires(world, self.key)
        self._world = world
        self._node: MeshNode | None = None

    @property
    def node(self) -> MeshNode:
        """The node, which runs."""
        assert self._node is not None
        return self._node

    @property
    def is_running(self) -> bool:
        """Whether it is up."""
        return self._node is not None

    def start(self) -> MeshNode:
        """Start the node from what its disk has."""
        assert self.identity is not None
        self.wires = Wires(self._world, self.key)
        self._node = MeshNode(
            self.identity,
            self.settings,
            self.disk.state,
            tunnels=self.wires,
            entropy=self._world.rng.randbytes,
            now=self._world.now,
            wall=self._world.wall,
        )
        self._node.start(now=self._world.now, wall=self._world.wall)
        self.carry_out()
        return self._node

    def stop(self) -> None:
        """Let the node vanish; the disk stays."""
        self._node = None

    def carry_out(self) -> None:
        """Do what the shell does after every step."""
        outbox = self.node.outbox
        self.disk.keep(outbox.changes)
        outbox.changes = []
        outbox.datagrams.clear()
        self.events += outbox.events
        outbox.events.clear()
        plan = self.node.plan_to_apply()
        if plan is not None:
            self.plans.append(plan)

    def told(self, kind: type[_E]) -> list[_E]:
        """Return the events of this kind, and forget all."""
        found: list[_E] = [event for event in self.events if isinstance(event, kind)]
        self.events.clear()
        return found


class World:
    """A founded network: `founder` runs, others come by `add` or by hand.

    *began* is the wall second of its founding.
    """

    def __init__(self, rng: random.Random, *, began: int = WALL) -> None:
        self.rng = rng
        self.now = 1000.0
        self.began = began
        self.skew = 0.0
        self.computers: dict[bytes, Computer] = {}
        self.letters: deque[tuple[bytes, bytes, Message]] = deque()
        self.founder = self.host("founder")
        self.authority = SigningKey(rng.randbytes(32))
        self.secrets = [rng.randbytes(32)]
        self.issuing = SigningKey(self.secrets[0])
        self.founding = found_network(
            "home",
            Prefix.parse("10.9.0.0/16"),
            "founder",
            FounderKeys(
                self.founder.key,
                self.founder.signing.public,
                self.authority,
                self.issuing,
            ),
            own_subnets=(Prefix.parse("192.168.1.0/24"),),
            groups=("staff",),
            serial=rng.randbytes(16),
            wall=began,
        )
        self.network_id = self.founding.network_id
        issuer = IssuerIdentity(self.issuing, self.founding.issuer)
        self.founder.identity = self.identity_of(
            self.founder, self.founding.certificate, issuing=issuer
        )
        self.founder.start()

    @property
    def wall(self) -> float:
        """The wall clock of all hosts."""
        return self.began + self.now - 1000.0 + self.skew

    def host(self, name: str) -> Computer:
        """Return a new host that is no member."""
        computer = Computer(self, name)
        self.computers[computer.key] = computer
        return computer

    def identity_of(
        self,
        host: Computer,
        certificate: bytes,
        issuer: bytes | None = None,
        issuing: IssuerIdentity | None = None,
    ) -> NodeIdentity:
        """Return the identity of a host with this certificate."""
        return NodeIdentity(
            network_id=self.network_id,
            private_key=host.private,
            signing_key=host.signing,
            certificate=certificate,
            issuer=self.founding.issuer if issuer is None else issuer,
            charters=(self.founding.charter,),
            issuing=issuing,
        )

    def invite(self, grant: Grant = NOTHING, uses: int = 1) -> PrivateKey:
        """Open an invite of the founder."""
        private = PrivateKey(self.rng.randbytes(32))
        office = self.founder.node.office
        assert office is not None
        office.invites.create(
            private.public_key().raw,
            grant,
            uses=uses,
            expires=int(self.wall) + DAY,
            now=self.now,
            wall=int(self.wall),
        )
        return private

    def admit(self, host: Computer, invite: PrivateKey) -> None:
        """Let *host* introduce itself to the founder with the invite."""
        data = introduce_joiner(
            network_id=self.network_id,
            invite_private=invite,
            issuer_key=self.founder.key,
            joiner_key=host.key,
            until=int(self.wall) + 600,
            ephemeral=self.rng.randbytes(32),
        )
        self.founder.node.receive_introduction(data, now=self.now, wall=self.wall)
        self.founder.carry_out()

    def join(self, host: Computer, grant: Grant = NOTHING) -> JoinReply:
        """Let *host* become a member by an invite; it does not run yet."""
        invite = self.invite(grant)
        self.admit(host, invite)
        request = create_join_request(
            host.signing,
            self.network_id,
            wireguard_key=host.key,
            invite_key=invite.public_key().raw,
            name=host.name,
        )
        answers = self.say(host, self.founder, request)
        reply = next(one for one in answers if isinstance(one, JoinReply))
        self.letters.clear()  # they went to the command that joins
        host.identity = self.identity_of(host, reply.certificate, reply.issuer)
        host.disk.keep(
            [KeepRecord(bytes(8), 4, self.founder.node.own.data)]  # as the joiner does
        )
        return reply

    def add(
        self,
        name: str,
        grant: Grant = NOTHING,
        routes: tuple[Route, ...] = (),
    ) -> Computer:
        """Return a new member that runs and that everybody knows."""
        host = self.host(name)
        self.join(host, grant)
        host.settings = replace(SETTINGS, routes=routes)
        host.start()
        self.introduce(host, self.founder)
        self.run(1.0)
        return host

    def introduce(self, host: Computer, other: Computer) -> None:
        """Let *other* hear of *host*, as before a handshake."""
        data = introduce_member(
            host.node.own.data, other.key, ephemeral=self.rng.randbytes(32)
        )
        other.node.receive_introduction(data, now=self.now, wall=self.wall)
        other.carry_out()

    def say(
        self, sender: Computer, receiver: Computer, message: Message
    ) -> list[Message]:
        """Hand a frame to *receiver*; return what it sends back at once."""
        receiver.wires.sent.clear()
        receiver.node.receive_message(sender.key, message, now=self.now, wall=self.wall)
        receiver.carry_out()
        return [m for key, m in receiver.wires.sent if key == sender.key]

    def do(self, computer: Computer, act: Callable[[MeshNode], None]) -> None:
        """Let something happen to a node, and carry out what follows."""
        act(computer.node)
        computer.carry_out()

    def run(self, seconds: float) -> int:
        """Let time pass; return how often a node was woken by its deadline."""
        end, woken = self.now + seconds, 0
        while True:
            self.deliver()
            due = [
                (deadline.at, host)
                for host in self.computers.values()
                if host.is_running
                and (deadline := host.node.next_deadline(now=self.now, wall=self.wall))
            ]
            at, host = min(due, key=lambda one: one[0])
            if at > end:
                self.now = end
                return woken
            self.now = max(self.now, at)
            woken += 1
            host.node.handle_deadline(now=self.now, wall=self.wall)
            host.carry_out()

    def deliver(self) -> None:
        """Let all letters arrive whose ends know each other."""
        while self.letters:
            sender, receiver, message = self.letters.popleft()
            host, origin = self.computers[receiver], self.computers[sender]
            if not host.is_running:
                continue
            if sender not in host.wires.sessions and origin.is_running:
                self.introduce(origin, host)
            if sender not in host.wires.peers:
                continue
            for one, other in ((host, sender), (origin, receiver)):
                if other not in one.wires.sessions and one.is_running:
                    one.wires.sessions.add(other)
                    one.node.session_started(other, now=self.now, wall=self.wall)
                    one.carry_out()
            host.node.receive_message(sender, message, now=self.now, wall=self.wall)
            host.carry_out()
