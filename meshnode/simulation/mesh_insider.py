"""A member with a valid certificate that lies in every way its keys allow.

Its own node runs as all others do; what it does besides goes over its sessions, or
in introductions, as anybody's with the same keys could. It has seen every record that
its node ever held, and may say them again.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.message_bytes import encode_message
from meshnode.codec.messages import (
    Accepts,
    Chunk,
    Digests,
    Fetch,
    Found,
    Hello,
    JoinRequest,
    LargestSize,
    Leaf,
    Lookup,
    Message,
    Ping,
    Publish,
    Push,
    RenewRequest,
    SizeProven,
    Want,
)
from meshnode.codec.record_bytes import parse_member_record, serialise_envelope
from meshnode.codec.records import Endpoints, Kind, Member, Revocation, Route
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.documents import (
    create_endpoints,
    create_member_record,
    create_revocation,
)
from meshnode.mesh.introduction import introduce_member
from meshnode.mesh.trust import VerifiedMember
from meshnode.simulation.links import damage
from meshnode.simulation.mesh_host import MeshHome
from meshnode.simulation.population import Population
from meshnode.types import Endpoint, Path, Prefix

if TYPE_CHECKING:
    from meshnode.simulation.mesh_world import MeshWorld

_REMEMBERED: Final = 300
_FLOOD: Final = 150
_BAD_PLACES: Final = (
    Endpoint("127.0.0.1", 51820),
    Endpoint("10.77.0.1", 51820),
    Endpoint("169.254.1.1", 51820),
    Endpoint("::1", 51820),
    Endpoint("fe80::1", 51820),
)
_WANTED: Final = (
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "10.77.0.0/16",
    "192.168.0.0/16",
    "192.168.7.0/25",
    "::ffff:0:0/96",
    "224.0.0.0/4",
)


class Insider:
    """Lies for the member *name* of *world*."""

    def __init__(self, world: "MeshWorld", name: str, random: Random) -> None:
        self.name = name
        self._world = world
        self._random = random
        self._records: dict[bytes, None] = {}
        self._strangers = Population(random)
        self._kinds: tuple[Callable[[MeshHome], None], ...] = (
            self.hijack,
            self.forge,
            self.replay,
            self.equivocate,
            self.poison,
            self.revoke_others,
            self.speak_nonsense,
            self.speak_of_another_network,
            self.flood,
            self.spoof,
        )

    def strike(self) -> None:
        """Do one hostile thing at random, if its node runs and has a victim."""
        home = self._home
        if home.node is None or home.host.is_frozen:
            return
        for record in home.node.records:
            self._records[record.data] = None
        while len(self._records) > _REMEMBERED:
            del self._records[next(iter(self._records))]
        victims = [other for other in self._world.homes.values() if other is not home]
        if victims:
            self._random.choice(self._kinds)(self._random.choice(victims))

    @property
    def _home(self) -> MeshHome:
        return self._world.homes[self.name]

    # --- lies ---

    def hijack(self, victim: MeshHome) -> None:
        """Announce what the certificate does not hold: others' addresses, and all."""
        prefixes = [Prefix.parse(text) for text in _WANTED]
        prefixes.append(Prefix(4, int.from_bytes(victim.ipv4, "big"), 32))
        chosen = self._random.sample(prefixes, self._random.randint(1, 4))
        routes = tuple(Route(prefix, 0, 255) for prefix in chosen)
        self._push(victim, self._own_word(routes))

    def forge(self, victim: MeshHome) -> None:
        """Say goodbye for another, or damage its record."""
        other = self._any_other()
        if other is None:
            return
        if self._random.random() < 0.5:
            self._push(victim, damage(other.data, self._random))
            return
        last = Member(2**40, has_left=True)
        forged = _word(self._signing_key, self._world.network_id, other.data, last)
        self._push(victim, forged)

    def replay(self, victim: MeshHome) -> None:
        """Push old records: versions that were replaced, members that were revoked."""
        if self._records:
            known = list(self._records)
            for data in self._random.sample(known, min(8, len(known))):
                self._push(victim, data)

    def equivocate(self, victim: MeshHome) -> None:
        """Say two things in one version, to two members."""
        homes = [home for home in self._world.homes.values() if home is not self._home]
        own = self._home.running.own
        subnets, version = own.certificate.subnets, own.version + 1
        for metric, home in enumerate((victim, self._random.choice(homes))):
            routes = tuple(Route(subnet, metric) for subnet in subnets[:1])
            self._push(home, self._own_word(routes, version=version))

    def poison(self, victim: MeshHome) -> None:
        """Publish endpoints where others are, or nobody can be."""
        others = [home.host.endpoint for home in self._world.homes.values()]
        places = (*self._random.sample(_BAD_PLACES, 4), *others[:4])
        wall = int(self._home.wall)
        data = create_endpoints(
            self._signing_key,
            self._world.network_id,
            Endpoints(self._home.key, wall + self._random.randint(0, 60), places[:8]),
        )
        self._say(victim, Publish(data))
        self._say(victim, Found(self._home.key, data))
        self._say(victim, Found(victim.key, data))

    def revoke_others(self, victim: MeshHome) -> None:
        """Revoke a member without being anybody's authority."""
        wall = int(self._home.wall)
        revocation = Revocation(victim.key, wall, wall + 10**6, "because")
        data = create_revocation(self._signing_key, self._world.network_id, revocation)
        self._push(victim, data)

    def speak_nonsense(self, victim: MeshHome) -> None:
        """Send control frames that are none, and damaged ones."""
        random = self._random
        frame = encode_message(self._any_message(victim))
        bombs = (
            b"\x01",
            b"\x01\xff\xff" + random.randbytes(40),
            b"\x01\x05\x00\xdd\xff\xff\xff\xff",
            b"\x01\x90\x01" + b"\x91" * 400,
            b"\x01" + damage(frame[1:], random)[:1100],
        )
        life = self._home.life
        control = self._home.host.control
        if life is None or control is None:
            return
        control.engine.send_control(
            PublicKey(victim.key), random.choice(bombs), now=self._home.host.now
        )
        self._home.host.settle()

    def speak_of_another_network(self, victim: MeshHome) -> None:
        """Push and introduce a member of a network that the insider founded."""
        record = self._strangers.word(self._strangers.add())
        self._push(victim, record)
        self._introduce(victim, record)

    def flood(self, victim: MeshHome) -> None:
        """Send 150 messages at once."""
        life = self._home.life
        if life is None:
            return
        for _ in range(_FLOOD):
            life.tunnels.send(
                victim.key, self._any_message(victim), now=self._home.host.now
            )
        self._home.host.settle()

    def spoof(self, victim: MeshHome) -> None:
        """Send inner packets with the sources of others."""
        for home in self._world.homes.values():
            self._world.send(self.name, victim.host.name, source=home.ipv4)

    # --- means ---

    @property
    def _signing_key(self) -> SigningKey:
        return self._home.identity.signing_key

    def _own_word(
        self, routes: tuple[Route, ...], *, version: int | None = None
    ) -> bytes:
        own = self._home.running.own
        member = Member(own.version + 1 if version is None else version, routes)
        return _word(self._signing_key, self._world.network_id, own.data, member)

    def _any_other(self) -> VerifiedMember | None:
        records = [
            record
            for record in self._home.running.records
            if isinstance(record, VerifiedMember) and record.key != self._home.key
        ]
        return self._random.choice(records) if records else None

    def _any_message(self, victim: MeshHome) -> Message:
        random = self._random
        return random.choice(
            (
                Hello(random.randbytes(8), 3, 1, 0, wants_answer=True),
                Hello(bytes(8), 0, 16, 2**31, wants_answer=True),
                Digests(b"", tuple(random.randbytes(8) for _ in range(16))),
                Leaf(b"", ((random.randbytes(8), random.randbytes(8)),)),
                Want(tuple(random.randbytes(8) for _ in range(16))),
                Fetch(Kind.CHARTER, 1, 0),
                Chunk(Kind.POLICY, 2**31, 0, 60_000, random.randbytes(900)),
                Ping(random.randbytes(8)),
                Lookup(random.randbytes(32)),
                Lookup(victim.key),
                RenewRequest(random.randbytes(8)),
                JoinRequest(random.randbytes(32), random.randbytes(32), "x", bytes(64)),
                Push((random.randbytes(600),)),
                Accepts((8, 77), (random.randrange(2**32),)),
                Accepts((4,), self._sessions_with(victim)),
                Accepts((8,), self._sessions_with(victim)),
                LargestSize(random.randint(1280, 65_455)),
                SizeProven(random.randbytes(8), random.choice((8920, 1284))),
            )
        )

    def _sessions_with(self, victim: MeshHome) -> tuple[int, ...]:
        life = self._home.life
        return (life.tunnels.sessions_of(victim.key) if life else ()) or (1,)

    def _push(self, victim: MeshHome, record: bytes) -> None:
        self._say(victim, Push((record,)))
        if self._random.random() < 0.2:
            self._introduce(victim, record)

    def _introduce(self, victim: MeshHome, record: bytes) -> None:
        try:
            data = introduce_member(
                record, victim.key, ephemeral=self._random.randbytes(32)
            )
        except ValueError:
            return  # too long for a datagram
        self._home.host.send(data, Path(victim.host.endpoint))

    def _say(self, victim: MeshHome, message: Message) -> None:
        life = self._home.life
        if life is not None and len(encode_message(message)) <= 1203:
            life.send(victim.key, message)


def _word(
    signing_key: SigningKey, network_id: bytes, base: bytes, member: Member
) -> bytes:
    """Return the record *base* with another word in it, signed by whoever."""
    record = parse_member_record(base)
    return create_member_record(
        signing_key,
        network_id,
        certificate=serialise_envelope(record.certificate),
        issuer=b"" if record.issuer is None else serialise_envelope(record.issuer),
        member=member,
    )
