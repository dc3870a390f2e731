"""The parts of a mesh node, made and connected with each other.

What flows between them is `meshnode.mesh.node`'s to say.
"""

from typing import Final

from meshnode.codec.early_calls import (
    EarlyCall,
    decode_early_call,
    encode_early_call,
)
from meshnode.codec.messages import ProbeKey, ProbeMe
from meshnode.codec.records import Mapping, Role
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.ciphers import Ciphers
from meshnode.mesh.clock import WallMark
from meshnode.mesh.contacts import Contacts
from meshnode.mesh.detours import Detours
from meshnode.mesh.directory import Directory
from meshnode.mesh.health import OwnerHealth
from meshnode.mesh.hop_calibration import HopCalibration
from meshnode.mesh.mapping_lifetime import MappingLifetime
from meshnode.mesh.membership import Membership, Standing
from meshnode.mesh.narrow_paths import NarrowPaths
from meshnode.mesh.nat_view import Helper, NatView
from meshnode.mesh.neighbours import Neighbours
from meshnode.mesh.office import Office
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.own_record import OwnRecord
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_size import PathSizes
from meshnode.mesh.paths import Paths
from meshnode.mesh.pings import Pings
from meshnode.mesh.ports import PathTunnels, StoredState
from meshnode.mesh.probe_requests import ProbeRequests
from meshnode.mesh.probes import Probes
from meshnode.mesh.punch_sockets import SearchSockets
from meshnode.mesh.punching import Puncher, Where
from meshnode.mesh.reach import Reach
from meshnode.mesh.record_set import RecordSet
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.relays import Relays
from meshnode.mesh.renewal import Renewal
from meshnode.mesh.roads import Roads
from meshnode.mesh.settings import NodeIdentity, NodeSettings
from meshnode.mesh.sync import Sync
from meshnode.mesh.trust import Trust, ula_prefix
from meshnode.ports import Entropy
from meshnode.types import Datagram, Endpoint

_SERVING: Final = Role.RENDEZVOUS | Role.RELAY


class NodeParts:
    """One of each part.

    Args:
        identity: who we are.
        settings: what the administrator decided.
        stored: what an earlier run kept.
        tunnels: the sessions below.
        entropy: random bytes.
        now: boottime seconds.

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
    ) -> None:
        self.identity = identity
        self.key = identity.private_key.public_key().raw
        self.tunnels = tunnels
        self.outbox = Outbox()
        self.clock = WallMark(stored.wall_mark, self.outbox, now=now)
        self.trust = _open_trust(identity, stored)
        self.records = RecordSet()
        self.membership = Membership(self.records)
        self.directory = Directory(
            self.membership,
            self.records,
            self.trust,
            issuing_key=identity.issuing.key.public if identity.issuing else b"",
        )
        self.office = self._open_office(stored, entropy)
        self.own = OwnRecord(
            identity, trust=self.trust, stored=stored, outbox=self.outbox
        )
        self.neighbours = Neighbours(self.key, entropy)
        self.sync = Sync(
            self.key,
            trust=self.trust,
            records=self.records,
            neighbours=self.neighbours,
            tunnels=tunnels,
            outbox=self.outbox,
            clock=self.clock,
            entropy=entropy,
        )
        charter = self.trust.charter
        overlay = (charter.cidr, ula_prefix(identity.network_id))
        self.relays = Relays(
            self.key,
            tunnels=tunnels,
            directory=self.directory,
            said_by=lambda key, now: self.reach.said_by(key, now=now),
            outbox=self.outbox,
            settings=settings,
            keepalive=lambda: self.lifetime.keepalive,
            entropy=entropy,
            on_call=self._take_early_call,
        )
        self.reach = Reach(
            key=self.key,
            signing_key=identity.signing_key,
            trust=self.trust,
            directory=self.directory,
            overlay=overlay,
            tunnels=tunnels,
            outbox=self.outbox,
            neighbours=lambda: (*self.neighbours.chosen, *self.contacts.keys),
            relays=self.relays,
            call_early=self._call_early,
            wants_seen=self._wants_seen,
            entropy=entropy,
            stored=stored,
        )
        self.contacts = Contacts(
            self.key,
            tunnels=tunnels,
            set_static=lambda key, endpoints, now: self.reach.dialler.set_static(
                key, endpoints, now=now
            ),
            greet=lambda key, now: self.sync.greet(key, now=now),
            is_member=lambda key: self.membership.by_key(key) is not None,
            is_revoked=self.is_revoked,
            entropy=entropy,
        )
        self.detours = Detours(
            homes=self._tls_homes,
            dialler=self.reach.dialler,
            tunnels=tunnels,
            entropy=entropy,
        )
        self.renewal = Renewal(
            key=self.key,
            trust=self.trust,
            tunnels=tunnels,
            issuer_keys=lambda: self.directory.keys_with_role(Role.ISSUER),
            outbox=self.outbox,
            entropy=entropy,
            issuing=self.office.issuing if self.office else None,
        )
        self.owners = OwnerHealth(tunnels, entropy)
        self.narrow = NarrowPaths(tunnels, entropy, base=settings.mtu)
        self.sizes = PathSizes(
            tunnels,
            entropy,
            base=settings.mtu,
            largest=settings.max_mtu,
            note_probe=self.narrow.note_probe,
        )
        self.roads = Roads(
            key=self.key,
            network=charter.name,
            overlay=overlay,
            membership=self.membership,
            tunnels=tunnels,
            health=self.owners,
            sizes=self.packet_sizes,
            settings=settings,
            keepalive=self.relays.keepalive,
        )
        self.pings = Pings(tunnels, entropy)
        self.ciphers = Ciphers(tunnels, settings.ciphers)
        self.probes = Probes(entropy)
        self.sockets = SearchSockets()
        self.nat_view = NatView(
            probes=self.probes,
            sockets=self.sockets,
            send=self._send_probe,
            helpers=self._helpers,
            ask_key=self._ask_probe_key,
            port=lambda: settings.listen_port,
            is_local=lambda seen: self.reach.is_local(seen),
        )
        self.hops = HopCalibration(
            probes=self.probes,
            sockets=self.sockets,
            send=self._send_probe,
            helpers=self._helpers,
            ask=self._ask_probe,
        )
        self.lifetime = MappingLifetime(
            probes=self.probes,
            sockets=self.sockets,
            send=self._send_probe,
            helpers=self._helpers,
            ask=lambda key, to, now: self._ask_probe(key, to, None, now),
            place=lambda: self.nat_view.place,
        )
        self.probe_requests = ProbeRequests(
            tunnels=tunnels,
            probes=self.probes,
            send=self._send_probe,
            is_member=lambda key: self.membership.by_key(key) is not None,
            serves=self._serves,
        )
        self.puncher = Puncher(
            tunnels=tunnels,
            probes=self.probes,
            sockets=self.sockets,
            send=self._send_probe,
            where=self._where,
            recount=lambda now: self.nat_view.recount(now=now),
            usable=lambda endpoints: self.reach.dialler.usable(endpoints),
            opener_hops=lambda: self.hops.hops,
            record_of=lambda key, now: self.reach.said_by(key, now=now),
            on_found=lambda key, path, now: self.paths.found(key, path, now=now),
            on_heard=lambda key, path, now: self.paths.found(key, path, now=now),
            entropy=entropy,
            rate=settings.bindings_per_second,
        )
        self.paths = Paths(
            self.key,
            tunnels,
            entropy,
            relays=self.relays,
            seeker=self.puncher,
            kind_of=self._kind_of,
            candidates=lambda key, now: self.reach.dialler.safe_of(key, now=now),
            is_public=lambda key: self.reach.dialler.is_public(key),
        )

    def packet_sizes(self) -> dict[bytes, int]:
        """Return who is sent packets of another size than the base, and of which."""
        return {**self.sizes.proven(), **self.narrow.narrowed()}

    def packet_size(self, key: bytes) -> int:
        """Return how large packets to the member with *key* may be, in bytes."""
        narrow = self.narrow.size_for(key)
        return self.sizes.size_for(key) if narrow == self.narrow.base else narrow

    def is_revoked(self, key: bytes) -> bool:
        """Whether a revocation that counts names this WireGuard key or its records."""
        if self.membership.standing(key) is Standing.REVOKED:
            return True
        return self.directory.is_revoked(key)

    def _send_probe(self, datagram: Datagram, now: float) -> None:
        self.outbox.send(datagram, now=now)

    def _ask_probe_key(self, key: bytes, now: float) -> None:
        self.tunnels.send(key, ProbeKey(self.probes.key, True), now=now)

    def _ask_probe(
        self, key: bytes, to: Endpoint, by: bytes | None, now: float
    ) -> None:
        self.tunnels.send(key, ProbeMe(self.probes.key, to, by), now=now)

    def _where(self) -> Where:
        """Return where others are told to probe us."""
        candidates = self.reach.own_candidates()
        seen = None if self.detours.watch.is_blocked else self.nat_view.seen
        return Where(candidates, seen, self.nat_view.latest)

    def _serves(self, key: bytes) -> bool:
        member = self.membership.by_key(key)
        return member is not None and bool(member.certificate.roles & _SERVING)

    def _wants_seen(self, seen: Endpoint) -> bool:
        """Whether others are told where a member sees us.

        Where each sees another port, the address is known by the first of them.
        """
        if self.nat_view.hint.mapping is not Mapping.ENDPOINT_DEPENDENT:
            return True
        return all(one.host != seen.host for one in self.reach.own_candidates())

    def _call_early(self, key: bytes, now: float) -> None:
        """Have a member probe us while the handshake with it goes on."""
        _, record = self.reach.own_record
        version = self.puncher.open_early(key, now=now) if record else None
        if version is not None:
            call = encode_early_call(EarlyCall(version, record))
            self.relays.say(key, call, now=now)

    def _take_early_call(self, key: bytes, data: bytes, now: float) -> None:
        try:
            call = decode_early_call(data)
        except CodecError:
            return
        if self.reach.take_record(key, call.record, now=now):
            is_expected = call.version == self.reach.own_record[0]
            self.puncher.receive_early(key, is_expected=is_expected, now=now)

    def _helpers(self) -> tuple[Helper, ...]:
        """Return who can say how it sees us: members spoken to without a relay."""
        found: list[Helper] = []
        for role in (Role.RENDEZVOUS, Role.RELAY):
            for key in self.directory.keys_with_role(role):
                path = self.tunnels.path_of(key)
                if path is None or path.version != 4 or key == self.key:
                    continue
                helper = Helper(key, path)
                if self.tunnels.has_session(key) and helper not in found:
                    found.append(helper)
        return tuple(found)

    def _kind_of(self, key: bytes, endpoint: Endpoint) -> PathKind:
        """Return what kind a path is of that no channel is."""
        if self.reach.dialler.is_detour(endpoint):
            return PathKind.TLS
        is_near = self.reach.dialler.is_near(key, endpoint)
        return PathKind.LAN if is_near else PathKind.DIRECT

    def _tls_homes(self) -> tuple[bytes, ...]:
        """Return those that may serve TLS: contacts, relays and rendezvous."""
        keys = dict.fromkeys(
            (
                *self.contacts.keys,
                *self.directory.keys_with_role(Role.RELAY),
                *self.directory.keys_with_role(Role.RENDEZVOUS),
            )
        )
        return tuple([key for key in keys if key != self.key])

    def _open_office(self, stored: StoredState, entropy: Entropy) -> Office | None:
        if self.identity.issuing is None:
            return None
        return Office(
            self.identity.issuing,
            trust=self.trust,
            directory=self.directory,
            is_contact=lambda key: key in self.contacts.keys,
            private_key=self.identity.private_key,
            tunnels=self.tunnels,
            outbox=self.outbox,
            entropy=entropy,
            stored=stored,
        )


def _open_trust(identity: NodeIdentity, stored: StoredState) -> Trust:
    trust = Trust(identity.network_id)
    try:
        for envelope in (*identity.charters, *stored.charters):
            trust.add_charter(envelope)
    except RecordRefused as refusal:
        raise ConfigError(f"the network's charter is no good: {refusal}") from None
    return trust
