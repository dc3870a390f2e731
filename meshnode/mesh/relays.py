"""Relays, of both kinds: those that we use, and the one that we may be.

The part of a mesh node that knows channels; see docs/paths.md. `relay_homes` measures
relays, `relay_choice` ranks them, `relay_client` asks for channels and `relay_offers`
takes those that others ask for; `relay_ways` holds both, `relay_watch` doubts them, and
`relay_server` forwards for others.
"""

from collections.abc import Callable
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import (
    Message,
    Pong,
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.codec.records import Endpoints, RelayHint, Role
from meshnode.deadlines import Deadline, earliest
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.directory import Directory
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.relay_choice import Route, rank_routes
from meshnode.mesh.relay_client import RelayClient
from meshnode.mesh.relay_homes import HomeRelays
from meshnode.mesh.relay_offers import RelayOffers
from meshnode.mesh.relay_server import RelayServer, serves_as_relay
from meshnode.mesh.relay_watch import RelayWatch
from meshnode.mesh.relay_ways import Ways
from meshnode.mesh.settings import NodeSettings
from meshnode.ports import Entropy
from meshnode.types import Datagram, Endpoint
from meshnode.values import frozen

_BUSY: Final = (RelayReason.NO_CAPACITY, RelayReason.UNWILLING)


@frozen
class RelayWay:
    """A channel to a member: what stands for it, and the relays that it goes by.

    `milliseconds` is how long its last question took, if that is known; `is_open` says
    that the other end has answered.
    """

    endpoint: Endpoint
    relays: tuple[bytes, ...]
    milliseconds: float | None
    is_open: bool


class Relays:
    """Everything about relays of one node.

    Args:
        key: our WireGuard key.
        tunnels: the sessions and channels below.
        directory: who is a member, and who serves as a relay.
        said_by: gives a member's endpoint record at that moment, if we know it.
        outbox: takes datagrams.
        settings: whether we serve as a relay, and how much.
        keepalive: gives the seconds between keepalives to those that we stay with.
        entropy: random bytes.
        on_call: takes early calls of members, and when they came.
    """

    def __init__(
        self,
        key: bytes,
        *,
        tunnels: PathTunnels,
        directory: Directory,
        said_by: Callable[[bytes, float], Endpoints | None],
        outbox: Outbox,
        settings: NodeSettings,
        keepalive: Callable[[], int],
        entropy: Entropy,
        on_call: Callable[[bytes, bytes, float], None],
    ) -> None:
        self.settings = settings
        self._keepalive = keepalive
        self._key = key
        self._tunnels = tunnels
        self._directory = directory
        self._said_by = said_by
        numbers = ChannelNumbers(entropy)
        self._homes = HomeRelays(
            key, tunnels=tunnels, relays=self._relay_keys, entropy=entropy
        )
        self._ways = Ways(tunnels, numbers)
        self._client = RelayClient(
            self._ways,
            tunnels=tunnels,
            choose=self._choose,
            outbox=outbox,
            on_silent=lambda relay, now: self._homes.note_silent(relay, now=now),
            entropy=entropy,
        )
        self._offers = RelayOffers(
            key,
            ways=self._ways,
            client=self._client,
            tunnels=tunnels,
            roles=self._roles,
            outbox=outbox,
            on_call=on_call,
        )
        self._watch = RelayWatch(self._ways, self._client, tunnels=tunnels)
        self._server = RelayServer(
            key,
            tunnels=tunnels,
            numbers=numbers,
            roles=self._roles,
            is_willing=self._is_willing,
            limits=lambda: self.settings.relay_limits,
        )

    # --- ways to members ---

    def want(self, key: bytes, *, now: float) -> None:
        """Keep channels to this member by the best two relays, until `drop`."""
        self._client.want(key, now=now)
        self._watch.begin(key, now=now)

    def drop(self, key: bytes, *, now: float) -> None:
        """Nobody wants channels to this member any more."""
        self._client.drop(key, now=now)

    def say(self, key: bytes, data: bytes, *, now: float) -> None:
        """Send an early call to a member to which channels are asked for."""
        self._client.say(key, data, now=now)

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return the endpoints of our channels to a member, the best first.

        Those are among them that were asked for and not answered yet.
        """
        return tuple([way.endpoint for way in self._ways.of(key)])

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return the same with what is known of each."""
        return tuple(
            [
                RelayWay(way.endpoint, way.relays, way.milliseconds, way.is_open)
                for way in self._ways.of(key)
            ]
        )

    def take_changes(self) -> set[bytes]:
        """Return the members whose ways changed since this was asked last."""
        changed, self._ways.changed = self._ways.changed, set()
        return changed

    def carry(self, datagram: Datagram, *, now: float) -> Datagram | None:
        """Return what really to send of a datagram of control, None for nothing now.

        One to an address is sent as it is.
        """
        if not channel_of(datagram.path.remote):
            return datagram
        return self._ways.carry(datagram)

    # --- relays near to us ---

    def best(self) -> tuple[RelayHint, ...]:
        """Return the relays that others best reach us by, for our endpoint record."""
        return self._homes.best()

    def keepalive(self, key: bytes) -> int:
        """Return the seconds between keepalives to this member, 0 for none."""
        return self._keepalive() if key in self._homes.homes else 0

    @property
    def homes(self) -> tuple[bytes, ...]:
        """The relays that we stay in touch with."""
        return self._homes.homes

    @property
    def are_known(self) -> bool:
        """Whether any member but us may serve as a relay."""
        return bool(self._homes.others())

    @property
    def forwarded(self) -> int:
        """How many channels of others lead through us."""
        return len(self._server)

    # --- inputs ---

    def receive(self, peer: bytes, message: Message, *, now: float) -> None:
        """Take what a member says about channels."""
        match message:
            case RelayOpen():
                self._server.receive_open(peer, message, now=now)
            case RelayOffer(origin):
                self._offers.receive_offer(peer, message, now=now)
                self._watch.begin(origin, now=now)
            case RelayAccept():
                self._server.receive_accept(peer, message, now=now)
            case RelayOpened(channel) if self._server.owns(channel):
                self._server.receive_opened(peer, message, now=now)
            case RelayClose(channel) if self._server.owns(channel):
                self._server.receive_close(peer, message, now=now)
            case RelayOpened(channel) | RelayClose(channel):
                self._receive_of_ours(peer, message, channel, now)

    def receive_pong(self, peer: bytes, pong: Pong, *, now: float) -> bool:
        """Take the answer to a ping; return whether it was ours."""
        if not self._homes.receive_pong(peer, pong, now=now):
            return False
        self._client.look_again(now=now)
        return True

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Hear that packets go to this member, or wait for a session with it."""
        self._watch.traffic_resumed(key, now=now)

    def path_changed(self, key: bytes, *, now: float) -> None:
        """A member is spoken to elsewhere: measure it, if it is a relay."""
        if key in self._relay_keys():
            self._homes.path_changed(key, now=now)

    def relays_changed(self, *, now: float) -> None:
        """A member that may serve as a relay came, or we are at another place."""
        self._homes.measure_soon(now=now)
        self._client.look_again(now=now)

    def look_again(self, *, now: float) -> None:
        """More is known of where members are: see whether somebody lacks ways."""
        self._client.look_again(now=now)

    def forget(self, key: bytes, *, now: float) -> None:
        """Close everything with who is no member any more."""
        self._homes.forget(key)
        self._client.forget(key, now=now)
        self._watch.forget(key)
        self._server.forget(key, now=now)

    # --- time ---

    def handle_deadline(self, *, now: float) -> None:
        """Do what is due."""
        self._watch.handle_deadline(now=now)
        self._client.handle_deadline(now=now)
        self._homes.handle_deadline(now=now)
        self._server.handle_deadline(now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when something is due."""
        return earliest(
            self._watch.next_deadline(),
            self._client.next_deadline(),
            self._homes.next_deadline(),
            self._server.next_deadline(),
        )

    # --- the steps ---

    def _receive_of_ours(
        self, peer: bytes, message: Message, channel: int, now: float
    ) -> None:
        way = self._ways.at(channel, peer)
        if way is None:
            return
        if isinstance(message, RelayOpened):
            self._client.receive_opened(way, message, now=now)
        elif isinstance(message, RelayClose):
            if message.reason in _BUSY:
                self._homes.note_busy(peer, now=now)
            self._client.receive_close(way, now=now)

    def _relay_keys(self) -> tuple[bytes, ...]:
        keys = (
            *self._directory.keys_with_role(Role.RELAY),
            *self._directory.keys_with_role(Role.RENDEZVOUS),
        )
        return tuple(dict.fromkeys(keys))

    def _roles(self, key: bytes) -> Role | None:
        member = self._directory.member(key)
        return None if member is None else member.certificate.roles

    def _is_willing(self) -> bool:
        return self.settings.relay and serves_as_relay(self._roles(self._key))

    def _choose(
        self, key: bytes, in_use: tuple[tuple[bytes, ...], ...], now: float
    ) -> tuple[Route, ...]:
        said = self._said_by(key, now)
        ours = self._homes.measured
        heard = {one: self._said_by(one, now) for one in ours}
        others = [one for one in self._homes.others() if one != key]
        heard_from = [one for one in others if not self._homes.is_silent(one)]
        return rank_routes(
            heard_from or others,
            ours=ours,
            theirs=said.relays if said else (),
            between={one: record.relays for one, record in heard.items() if record},
            burdens=self._homes.burdens(now=now),
            in_use=in_use,
        )
