"""A simulated world whose hosts make a mesh: founded, joined, administered.

    world = MeshWorld(seed)
    world.found("a")
    world.join("b", world.invite("a"))      # takes virtual time
    world.enlist("c", "d")                  # the same for several, and waits
    world.send("b", "c")                    # a request between overlay addresses

Keys of the authority and of issuers are here: whoever runs the world is the
administrator of the network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from meshnode.codec.records import Kind, Policy, Role, Route
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.crypto.transport import can_use
from meshnode.hostplan import Announced
from meshnode.mesh.delegation import revoke_by_authority, succeed_charter
from meshnode.mesh.documents import create_policy
from meshnode.mesh.founding import FounderKeys, found_network
from meshnode.mesh.invites import Grant
from meshnode.mesh.joining import JoinResult
from meshnode.mesh.node import MeshNode
from meshnode.mesh.ports import KeepRecord
from meshnode.mesh.prefixes import host_prefix
from meshnode.mesh.record_set import identity_of
from meshnode.mesh.routes import ACCEPT_ALL
from meshnode.mesh.settings import IssuerIdentity, NodeIdentity, NodeSettings
from meshnode.mesh.token import Token
from meshnode.mesh.trust import Trust, overlay_ipv6, ula_prefix
from meshnode.simulation.clock import Clock
from meshnode.simulation.control import MTU
from meshnode.simulation.host import PORT, SimulatedHost
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_host import MeshHome
from meshnode.simulation.mesh_invariants import mesh_invariants
from meshnode.simulation.mesh_joiner import JoinAttempt
from meshnode.simulation.world import World
from meshnode.types import Cipher, Endpoint, Prefix

CIDR: Final = Prefix.parse("10.77.0.0/16")
DAY: Final = 86400
ANY_ROLE: Final = Role.RENDEZVOUS | Role.RELAY | Role.ISSUER | Role.EXIT | Role.POLICY

FASTER: Final = (Cipher.AES_256_GCM,) if can_use(Cipher.AES_256_GCM) else ()
"""What members may prefer. A processor without AES plays other lives of its seeds."""

JOIN_WITHIN: Final = 60.0
"""Virtual seconds in which hosts that are let in are members."""


@dataclass(slots=True)
class Candidate:
    """A host that wants to be a member: its signing key, on disk before it asks."""

    signing_key: SigningKey
    routes: tuple[Route, ...] = ()
    accept: tuple[Prefix, ...] = ACCEPT_ALL
    ciphers: tuple[Cipher, ...] = ()
    max_mtu: int = 0
    attempts: int = 0


class MeshWorld(World):
    """A world with one mesh in it.

    `homes` are the members by their host's name, `authority` the key that signs for
    the network.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        link: Link | None = None,
        keep: int | None = None,
        rules: Callable[[World], list[Invariant]] = mesh_invariants,
    ) -> None:
        super().__init__(seed, link=link, keep=keep, rules=rules)
        self.homes: dict[str, MeshHome] = {}
        self.authority = SigningKey(self.random.randbytes(32))
        self.issuing = SigningKey(self.random.randbytes(32))
        self.trust: Trust | None = None
        self._candidates: dict[str, Candidate] = {}
        self._policies = 0

    @property
    def network_id(self) -> bytes:
        """The network's id; it is founded."""
        assert self.trust is not None
        return self.trust.network_id

    @property
    def overlay(self) -> tuple[Prefix, ...]:
        """The network's own prefixes, none before it is founded."""
        if self.trust is None:
            return ()
        return (self.trust.charter.cidr, ula_prefix(self.network_id))

    def charters(self) -> tuple[bytes, ...]:
        """Return the chain of all charters that were ever signed."""
        assert self.trust is not None
        return self.trust.chain()

    # --- members ---

    def found(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        subnets: tuple[Prefix, ...] = (),
        routes: tuple[Route, ...] = (),
        accept: tuple[Prefix, ...] = ACCEPT_ALL,
        ciphers: tuple[Cipher, ...] = (),
        max_mtu: int = 0,
        lifetime: int = 365 * DAY,
        cidr: Prefix = CIDR,
    ) -> MeshHome:
        """Let a new host found the network, and start its node."""
        host = self.build_host(name, clock=clock)
        signing = SigningKey(self.random.randbytes(32))
        founding = found_network(
            "simulated",
            cidr,
            name,
            FounderKeys(
                wireguard_key=host.public_key.raw,
                signing_key=signing.public,
                authority=self.authority,
                issuing=self.issuing,
            ),
            own_subnets=subnets,
            serial=self.random.randbytes(16),
            wall=int(host.clock.wall_time(self.now)),
            lifetime=lifetime,
        )
        self.trust = Trust(founding.network_id)
        self.trust.add_charter(founding.charter)
        identity = NodeIdentity(
            founding.network_id,
            host.private_key,
            signing,
            founding.certificate,
            founding.issuer,
            (founding.charter,),
            IssuerIdentity(self.issuing, founding.issuer),
        )
        settings = _settings(routes, accept, ciphers, max_mtu)
        home = MeshHome(host, identity, settings, {})
        self._move_in(home)
        return home

    def invite(
        self,
        issuer: str,
        *,
        uses: int = 1,
        lifetime: int = 90 * DAY,
        roles: Role = Role.NONE,
        subnets: tuple[Prefix, ...] = (),
        groups: tuple[str, ...] = (),
        expires_in: float = DAY,
    ) -> Token:
        """Let the issuer make an invite.

        Raises:
            ConfigError: if it may not grant that.
        """
        home = self.homes[issuer]
        office = home.running.office
        assert office is not None
        grant = Grant("", groups, subnets, roles, lifetime)
        office.certifier.check_grant(grant)
        private = PrivateKey(self.random.randbytes(32))
        wall = int(home.wall)
        office.invites.create(
            private.public_key().raw,
            grant,
            uses=uses,
            expires=wall + int(expires_in),
            now=home.host.now,
            wall=wall,
        )
        home.host.settle()
        places = [str(Endpoint(a, PORT)) for a in home.host.addresses.values()]
        return Token(
            network_id=home.running.trust.network_id,
            invite_private=private,
            issuer_key=home.key,
            endpoints=tuple(places),
            expires=wall + int(expires_in),
            network="simulated",
        )

    def prepare(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        slowness: float = 0.0,
        routes: tuple[Route, ...] = (),
        accept: tuple[Prefix, ...] = ACCEPT_ALL,
        ciphers: tuple[Cipher, ...] = (),
        max_mtu: int = 0,
    ) -> SimulatedHost:
        """Add a host that can join, and will announce *routes* then."""
        host = self.build_host(name, clock=clock, slowness=slowness)
        key = SigningKey(self.random.randbytes(32))
        self._candidates[name] = Candidate(key, routes, accept, ciphers, max_mtu)
        return host

    def join(self, name: str, token: Token) -> JoinAttempt:
        """Let a prepared host ask to join; its node starts as soon as it may."""
        host, candidate = self.hosts[name], self._candidates[name]
        candidate.attempts += 1
        return JoinAttempt(
            host,
            token,
            name,
            candidate.signing_key,
            candidate.attempts,
            partial(self._admit, host, token),
        )

    def enlist(self, *names: str, by: str = "", **grant: object) -> None:
        """Let hosts join by an invite of *by*, else the founder, and wait for it.

        Names of no host yet become one. *grant* is that of `invite`.

        Raises:
            Unreached: if not all are members within 60 s.
        """
        issuer = by or next(iter(self.homes))
        token = self.invite(issuer, uses=len(names), **grant)  # type: ignore[arg-type]
        for name in names:
            if name not in self.hosts:
                self.prepare(name)
            self.join(name, token)
        self.run_until(
            lambda: all(name in self.homes for name in names),
            within=JOIN_WITHIN,
            what=f"{', '.join(names)} are members",
        )

    # --- what the administrator does ---

    def revoke(self, name: str, *, at: str) -> None:
        """Let an authority revoke a member, told to the node *at*."""
        home = self.homes[at]
        wall = int(home.wall)
        data = revoke_by_authority(
            home.running.trust,
            self.authority,
            self.homes[name].key,
            reason="stolen",
            until=wall + 400 * DAY,
            wall=wall,
        )
        self.hosts[name].note("is revoked")
        home.running.publish(data, now=home.host.now, wall=home.wall)
        home.host.settle()

    def apply_policy(self, text: str, *, at: str) -> int:
        """Put a policy in force at the node *at*; return its version."""
        home = self.homes[at]
        self._policies += 1
        data = create_policy(
            self.authority,
            home.identity.network_id,
            Policy(self._policies, text),
        )
        home.running.publish_policy(data, now=home.host.now, wall=home.wall)
        home.host.settle()
        return self._policies

    def roll_charter(self, *, at: str) -> int:
        """Publish a charter with one more authority at *at*; return its version."""
        assert self.trust is not None
        home = self.homes[at]
        known = self.trust.charter.authorities
        # The oldest of the added ones goes, the founder's stays: issuers stand on it.
        kept = known[:1] + known[-2:] if len(known) > 2 else known
        added = SigningKey(self.random.randbytes(32)).public
        envelope = succeed_charter(
            self.trust,
            self.authority,
            authorities=(*dict.fromkeys(kept), added),
            wall=int(home.wall),
        )
        home.running.publish_charter(envelope, now=home.host.now, wall=home.wall)
        home.host.settle()
        return self.trust.charter.version

    # --- the members at work ---

    def address(self, name: str, version: int = 4) -> bytes:
        """Return the packed overlay address of a member."""
        home = self.homes[name]
        if version == 6:
            return overlay_ipv6(home.identity.network_id, home.key)
        return home.ipv4

    def send(
        self,
        one: str,
        other: str | bytes,
        *,
        version: int = 4,
        source: bytes | None = None,
        size: int = 100,
    ) -> int | None:
        """Let a member send a request to another, or to a packed address.

        Returns its number, or None if the sender's routes do not lead into the
        tunnel. *source* is by default the sender's overlay address.
        """
        home = self.homes[one]
        if isinstance(other, str):
            destination = self.address(other, version)
        else:
            destination = other
            version = 4 if len(other) == 4 else 6
        if not home.leads_into_tunnel(host_prefix(destination)):
            return None
        application = home.host.application
        number = application.request_between(
            source or self.address(one, version), destination, now=self.now, size=size
        )
        home.host.settle()
        return number

    def running(self) -> list[MeshHome]:
        """Return the homes whose node runs and whose machine is awake."""
        return [
            home
            for home in self.homes.values()
            if home.node is not None and not home.host.is_frozen
        ]

    def nodes(self, names: Iterable[str]) -> list[MeshNode]:
        """Return the running nodes of these members."""
        return [self.homes[name].running for name in names]

    def views(self, names: Iterable[str]) -> set[tuple[bytes, int, int, int]]:
        """Return the different views that members have: one if all are equal.

        A view is digest and count of the records, and the versions of charter and
        policy.
        """
        return {
            (*node.records.tree.root, *node.sync.library.versions)
            for node in self.nodes(names)
        }

    # --- becoming a member ---

    def _admit(self, host: SimulatedHost, token: Token, result: JoinResult) -> None:
        """Write what `meshnode join` writes, and start the node."""
        candidate = self._candidates.pop(host.name)
        trust = Trust(token.network_id)
        for charter in result.charters:
            trust.add_charter(charter)
        issuer = trust.verify_member(result.issuer_record, wall=None)
        identity = NodeIdentity(
            token.network_id,
            host.private_key,
            candidate.signing_key,
            result.certificate,
            result.issuer,
            result.charters,
        )
        places = tuple(Endpoint.parse(place) for place in token.endpoints)
        settings = _settings(
            candidate.routes, candidate.accept, candidate.ciphers, candidate.max_mtu
        )
        home = MeshHome(
            host,
            identity,
            settings,
            {token.issuer_key: places},
        )
        kept = KeepRecord(identity_of(issuer), Kind.MEMBER, issuer.data)
        home.disk.apply([kept])
        self._move_in(home)

    def _move_in(self, home: MeshHome) -> None:
        self.homes[home.host.name] = home
        home.host.supervisor.switch_on()


def _settings(
    routes: tuple[Route, ...],
    accept: tuple[Prefix, ...],
    ciphers: tuple[Cipher, ...],
    max_mtu: int,
) -> NodeSettings:
    return NodeSettings(
        interface="mesh0",
        table=10_900,
        fwmark=0x6D6E,
        mtu=MTU,
        listen_port=PORT,
        accept=accept,
        routes=routes,
        announced=tuple(Announced(route.prefix) for route in routes),
        ciphers=ciphers,
        max_mtu=max_mtu,
    )
