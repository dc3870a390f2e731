"""The rules about what comes in: I2 (deliveries), I3 (endpoints), I4 (answers)."""

import ipaddress
from typing import TYPE_CHECKING

from meshnode.codec import ip
from meshnode.codec.wireguard import (
    COOKIE_REPLY_TYPE,
    INITIATION_SIZE,
    INITIATION_TYPE,
    RESPONSE_SIZE,
    RESPONSE_TYPE,
    message_type,
)
from meshnode.errors import BadPacket
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    RemoveAllowedIps,
    RemovePeer,
    SetEndpoint,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.simulation.application import parse_inner
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.invariants_relays import content_of, is_relayed
from meshnode.simulation.trace import Flight, authentic_part, describe
from meshnode.types import Path, Prefix
from meshnode.wireguard.cookie import has_valid_mac1, mac1_key

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World


_Names = frozenset[str | None]
_NOBODY: _Names = frozenset()


class DeliveredOnce(Invariant):
    """A packet comes out of the tunnel once, from where its source is allowed."""

    rule = (
        "I2: no inner packet is delivered twice, or from a source outside the "
        "sender's allowed IPs"
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._delivered: set[int] = set()
        # By host: the peer in each slot, the owners of each prefix, and the owners
        # before of those that just moved, while commands may be under way.
        self._names: dict[str, dict[int, str | None]] = {}
        self._owners: dict[str, dict[Prefix, _Names]] = {}
        self._unsettled: dict[str, dict[Prefix, _Names]] = {}

    def started(self, host: "SimulatedHost") -> None:
        """Take the prefixes from the configuration."""
        peers = host.supervisor.configured.peers
        names = {peer.slot: self._world.name_of(peer.public_key) for peer in peers}
        self._names[host.name] = {**names}
        self._unsettled[host.name] = {}
        self._owners[host.name] = {
            prefix: frozenset((names[peer.slot],))
            for peer in peers
            for prefix in peer.allowed_ips
        }

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Follow the moves of prefixes."""
        names, owners = self._names[host.name], self._owners[host.name]
        before = dict(owners)
        match command:
            case AddPeer(slot):
                names[slot] = host.name_of_slot(slot)
            case AddAllowedIps(slot, prefixes):
                owners.update(dict.fromkeys(prefixes, frozenset((names[slot],))))
            case RemoveAllowedIps(slot, prefixes):
                for prefix in prefixes:
                    if owners.get(prefix) == frozenset((names[slot],)):
                        del owners[prefix]
            case SharePrefix(prefix, _, accept):
                owners[prefix] = frozenset([names[slot] for slot in accept])
            case UnsharePrefix(prefix):
                owners.pop(prefix, None)
            case RemovePeer(slot):
                for prefix, names_there in before.items():
                    owners[prefix] = names_there - {names[slot]}
        for prefix, owner in before.items():
            if owners.get(prefix, _NOBODY) != owner:
                self._unsettled[host.name][prefix] = owner

    def settled(self, host: "SimulatedHost") -> None:
        """Commands that arrived leave no doubt about who owns a prefix."""
        if self._unsettled[host.name] and (
            host.workers is None or host.workers.is_quiet
        ):
            self._unsettled[host.name].clear()

    def delivered(self, host: "SimulatedHost", packet: bytes) -> None:
        """Check number, form and source of a packet."""
        try:
            whole = ip.true_length(packet) == len(packet)
        except BadPacket:
            whole = False
        if not whole:
            self.fail(host, f"a malformed packet was delivered: {packet.hex()}")
        inner = parse_inner(packet)
        if inner.number in self._delivered:
            self.fail(host, f"packet {inner.number} was delivered twice")
        self._delivered.add(inner.number)
        self._check_source(host, packet, inner.sender)

    def _check_source(self, host: "SimulatedHost", packet: bytes, sender: int) -> None:
        source = ip.source(packet)
        allowed = _match(self._owners[host.name], source) | _match(
            self._unsettled[host.name], source
        )
        real = next(h.name for h in self._world.hosts.values() if h.index == sender)
        if real not in allowed:
            address = ipaddress.ip_address(source)
            self.fail(host, f"{real} got through with the source {address}")


def _match(owners: dict[Prefix, _Names], source: bytes) -> _Names:
    """Match the longest prefix in the plainest way there is."""
    bits, number = 8 * len(source), int.from_bytes(source, "big")
    version = 4 if bits == 32 else 6
    best, best_owners = -1, _NOBODY
    for prefix, names in owners.items():
        if prefix.version != version or prefix.length <= best or not names:
            continue
        shift = bits - prefix.length
        if number >> shift == prefix.network >> shift:
            best, best_owners = prefix.length, names
    return best_owners


class NothingForged(Invariant):
    """Only bytes that a host made are accepted, and each of them once."""

    rule = "I2: nothing forged, damaged or replayed is accepted"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._accepted: dict[str, set[bytes]] = {}

    def started(self, host: "SimulatedHost") -> None:
        """A node that forgot everything may take an old initiation once more."""
        self._accepted[host.name] = set()

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """So may one that forgot the peer."""
        if isinstance(command, RemovePeer):
            self._accepted[host.name] = set()

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Check what was accepted."""
        what = describe(flight.data)
        if flight.origin is None:
            self.fail(host, f"accepted {what} that no host made")
        if message_type(flight.data) == COOKIE_REPLY_TYPE:
            self.fail(host, "a cookie reply counted as authenticated traffic")
        part = authentic_part(flight.data)
        if part in self._accepted[host.name]:
            self.fail(host, f"accepted {what} of {flight.origin} twice")
        self._accepted[host.name].add(part)


class EndpointsAuthenticated(Invariant):
    """A peer's endpoint moves to where it spoke from, or where it was configured."""

    rule = "I3: an endpoint changes only on authenticated packets"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._spoke_from: dict[str, set[tuple[str, Path]]] = {}
        self._pending: list[tuple[int, Path]] = []
        self._configuring = False

    def started(self, host: "SimulatedHost") -> None:
        """Forget who spoke from where."""
        self._spoke_from[host.name] = set()

    def configuring(self, host: "SimulatedHost", *, active: bool) -> None:
        """While it is configured, an endpoint may become anything."""
        self._configuring = active

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Note that an endpoint moves; whether it may is known when all settled."""
        if not isinstance(command, SetEndpoint) or self._configuring:
            return
        # Without a source it is the same endpoint, and the kernel chooses.
        if command.path is not None and command.path.source is not None:
            self._pending.append((command.slot, command.path))

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Remember where an accepted datagram came from."""
        if flight.origin is not None:
            path = host.path_of(flight)
            self._spoke_from[host.name].add((flight.origin, path))

    def settled(self, host: "SimulatedHost") -> None:
        """Check the moves of the step."""
        pending, self._pending = self._pending, []
        for slot, path in pending:
            name = host.name_of_slot(slot)
            if name is None or (name, path) in self._spoke_from[host.name]:
                continue
            self.fail(host, f"{name} moved to {path.remote}, where it never spoke from")


class NoAmplification(Invariant):
    """Who did not authenticate gets less than it sent, and nothing on a bad mac1."""

    rule = (
        "I4: no unauthenticated input causes more bytes out than in, or any bytes on "
        "a bad mac1"
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._caused: int | None = None
        self._arriving = b""
        self._is_answered = False

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """Begin to count."""
        self._caused, self._arriving, self._is_answered = 0, flight.data, False

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Count what the datagram at hand causes; a relay's sending on is no answer."""
        if self._caused is not None:
            self._caused += len(flight.data)
            self._is_answered |= not _is_sent_on(self._arriving, flight.data)

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """Compare."""
        caused, self._caused = self._caused or 0, None
        if accepted or not caused:
            return
        what = describe(flight.data)
        if caused > len(flight.data):
            self.fail(host, f"{caused} bytes out for {len(flight.data)} of {what}")
        if self._is_answered and not self._may_be_answered(host, flight.data):
            self.fail(host, f"{caused} bytes out for {what} without a valid mac1")

    def _may_be_answered(self, host: "SimulatedHost", data: bytes) -> bool:
        data = content_of(data)
        sizes = {INITIATION_TYPE: INITIATION_SIZE, RESPONSE_TYPE: RESPONSE_SIZE}
        if sizes.get(message_type(data)) != len(data):
            return False
        return has_valid_mac1(mac1_key(host.public_key.raw), data)


def _is_sent_on(arrived: bytes, sent: bytes) -> bool:
    """Whether a relay changed nothing of what came but the number."""
    return (
        is_relayed(arrived)
        and is_relayed(sent)
        and content_of(arrived) == content_of(sent)
    )
