"""Tunnels that note channels, and a user of relays over them."""

import random
import struct

from meshnode.codec.messages import Message, RelayOffer, RelayOpened
from meshnode.codec.records import Role
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.relay_choice import Route
from meshnode.mesh.relay_client import RelayClient
from meshnode.mesh.relay_offers import RelayOffers
from meshnode.mesh.relay_watch import RelayWatch
from meshnode.mesh.relay_ways import Way, Ways
from meshnode.ports import NEVER
from meshnode.types import Endpoint, Path
from tests.mesh_wire import Mailbox

Installed = tuple[bytes, int, bytes | None]
"""From whom, under which number it goes on, and to whom: None for us."""


class ChannelTunnels(Mailbox):
    """A mailbox that keeps channels by number, and paths and traffic as they are set.

    `grants` counts how often a channel was opened, renewals included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels: dict[int, Installed] = {}
        self.grants: dict[int, int] = {}
        self.paths: dict[bytes, Endpoint] = {}
        self.received: dict[bytes, float] = {}
        self.data_sent: dict[bytes, float] = {}

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return what was set."""
        return self.paths.get(key, Endpoint("192.0.2.1", 1))

    def last_received(self, key: bytes) -> float:
        """Return what was set."""
        return self.received.get(key, NEVER)

    def last_data_sent(self, key: bytes) -> float:
        """Return what was set."""
        return self.data_sent.get(key, NEVER)

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Not used."""

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Take the path."""
        self.paths.pop(key, None)
        if path is not None:
            self.paths[key] = path.remote

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Not used."""

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
        """Keep the channel."""
        self.channels[channel] = (key, label, onward)
        self.grants[channel] = self.grants.get(channel, 0) + 1

    def close_channel(self, channel: int, *, now: float) -> None:
        """Forget the channel."""
        self.channels.pop(channel, None)


US, OTHER, R, S, T = (bytes((n,)) * 32 for n in range(5))
LEASE = 300


def handshake(kind: int, size: int = 148) -> bytes:
    """Return bytes that look like a message of this type."""
    return struct.pack("<I", kind) + bytes(size - 4)


class RelayUser:
    """What of a node uses relays, with a clock of its own."""

    def __init__(self) -> None:
        entropy = random.Random(2).randbytes
        self.tunnels = ChannelTunnels()
        self.outbox = Outbox()
        self.relays = [R, S, T]
        self.roles = {OTHER: Role.NONE, R: Role.RELAY, S: Role.RELAY, T: Role.NONE}
        self.ways = Ways(self.tunnels, ChannelNumbers(entropy))
        self.silent: list[bytes] = []
        self.calls: list[tuple[bytes, bytes]] = []
        self.client = RelayClient(
            self.ways,
            tunnels=self.tunnels,
            choose=lambda key, used, now: tuple(
                [Route((relay,), 1.0) for relay in self.relays]
            ),
            outbox=self.outbox,
            on_silent=lambda relay, now: self.silent.append(relay),
            entropy=entropy,
        )
        self.offers = RelayOffers(
            US,
            ways=self.ways,
            client=self.client,
            tunnels=self.tunnels,
            roles=self.roles.get,
            outbox=self.outbox,
            on_call=lambda origin, data, now: self.calls.append((origin, data)),
        )
        self.watch = RelayWatch(self.ways, self.client, tunnels=self.tunnels)
        self.now = 0.0

    def run(self, until: float) -> list[tuple[float, bytes, Message]]:
        """Let time pass; return what is sent meanwhile, and when."""
        sent = []
        while True:
            moments = [self.client.next_deadline(), self.watch.next_deadline()]
            due = min([d.at for d in moments if d], default=until + 1)
            if due > until:
                self.now = until
                return sent
            self.now = max(self.now, due)
            self.watch.handle_deadline(now=self.now)
            self.client.handle_deadline(now=self.now)
            sent += [(self.now, *one) for one in self.tunnels.taken()]

    def way_by(self, relay: bytes) -> Way:
        """Return the way by this relay."""
        return next(way for way in self.ways.of(OTHER) if way.relay == relay)

    def answer(self, relay: bytes, label: int = 9, lease: int = LEASE) -> None:
        """Let a relay answer the question for its channel."""
        way = self.way_by(relay)
        message = RelayOpened(way.channel, label, lease)
        self.client.receive_opened(way, message, now=self.now)

    def order(self) -> list[bytes]:
        """Return the relays of our ways, the best first."""
        return [way.relay for way in self.ways.of(OTHER)]

    def offer(self, channel: int, *data: bytes, relay: bytes = R) -> list[Message]:
        """Let a relay offer a channel; return our answers."""
        offered = RelayOffer(OTHER, channel, data)
        self.offers.receive_offer(relay, offered, now=self.now)
        return [message for _, message in self.tunnels.taken()]
