"""Channels that others ask for to us: which we take, and how many."""

from collections.abc import Callable
from typing import Final

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec.early_calls import EARLY_CALL_TYPE
from meshnode.codec.messages import RelayAccept, RelayClose, RelayOffer, RelayReason
from meshnode.codec.records import Role
from meshnode.codec.wireguard import message_type
from meshnode.mesh.budgets import Budgets
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import PathTunnels
from meshnode.mesh.relay_client import RelayClient
from meshnode.mesh.relay_server import LEASE, Roles, serves_as_relay
from meshnode.mesh.relay_ways import INTRODUCTION_TYPE, Way, Ways
from meshnode.types import Datagram, Path

MAX_OF_RELAY: Final = 256
"""Channels that one relay may offer to us."""

MAX_OF_ORIGIN: Final = 2
"""Of these, channels of one member; a further one takes the place of the oldest."""

MAX_OFFERED: Final = 2048
"""Channels that are offered to us, in all."""

GRACE: Final = 10.0
"""Seconds that we keep a channel longer than its relay says it does."""

OFFER_RATE: Final = 50.0
OFFER_BURST: Final = 256.0
"""Offers of one relay, a second and at once; more are not answered."""


class RelayOffers:
    """Takes offers of relays, and makes ways of them.

    Args:
        key: our WireGuard key.
        ways: where they go.
        client: asks about them later.
        tunnels: carry the answers.
        roles: of members.
        outbox: takes the datagrams that came along, as received ones.
        on_call: takes early calls of members, and when they came.
    """

    def __init__(
        self,
        key: bytes,
        *,
        ways: Ways,
        client: RelayClient,
        tunnels: PathTunnels,
        roles: Roles,
        outbox: Outbox,
        on_call: Callable[[bytes, bytes, float], None],
    ) -> None:
        self._key = key
        self._ways = ways
        self._client = client
        self._tunnels = tunnels
        self._roles = roles
        self._outbox = outbox
        self._on_call = on_call
        self._budgets = Budgets(rate=OFFER_RATE, burst=OFFER_BURST)

    def receive_offer(self, peer: bytes, offer: RelayOffer, *, now: float) -> None:
        """Take a channel of which *peer* is the relay, or hear that it is there still.

        Our answer goes before whatever its datagrams make us say.
        """
        if not self._budgets.spend(peer, 1.0, now=now):
            return
        way = self._known(peer, offer)
        reason = self._refusal(peer, offer, way)
        if reason is not None:
            refusal = RelayClose(offer.channel, reason)
            self._tunnels.send(peer, refusal, now=now)
            if reason is RelayReason.UNKNOWN_TARGET:
                self._meet(offer, now)
            return
        if way is None:
            self._make_room(peer, offer.origin, now)
            way = self._ways.add(offer.origin, (peer,), label=offer.channel, now=now)
        way.ends_at = now + LEASE + GRACE
        way.tries = 0
        accept = RelayAccept(offer.channel, way.channel)
        self._tunnels.send(peer, accept, now=now)
        self._client.answered(way, now=now)
        path = Path(way.endpoint)
        for data in offer.datagrams:
            if message_type(data) == EARLY_CALL_TYPE:
                self._on_call(offer.origin, data, now)
            else:
                self._outbox.receive(Datagram(data, path), now=now)

    def _meet(self, offer: RelayOffer, now: float) -> None:
        """Let a member introduce itself that we have not heard of yet."""
        for data in offer.datagrams:
            if message_type(data) == INTRODUCTION_TYPE:
                path = Path(endpoint_of(offer.channel))
                self._outbox.receive(Datagram(data, path), now=now)

    def _known(self, peer: bytes, offer: RelayOffer) -> Way | None:
        for way in self._ways.of(offer.origin):
            if way.is_offered and (way.relay, way.label) == (peer, offer.channel):
                return way
        return None

    def _refusal(
        self, peer: bytes, offer: RelayOffer, way: Way | None
    ) -> RelayReason | None:
        origin = self._roles(offer.origin)
        if not serves_as_relay(self._roles(peer)):
            return RelayReason.UNWILLING
        if origin is None or Role.STOCK in origin:
            return RelayReason.UNKNOWN_TARGET
        if offer.origin in (self._key, peer):
            return RelayReason.LOOP
        path = self._tunnels.path_of(peer)
        if path is not None and channel_of(path):
            return RelayReason.NO_PATH
        if way is None and self._is_full(peer):
            return RelayReason.NO_CAPACITY
        return None

    def _is_full(self, peer: bytes) -> bool:
        offered = [way for way in self._ways if way.is_offered]
        of_peer = sum(way.relay == peer for way in offered)
        return len(offered) >= MAX_OFFERED or of_peer >= MAX_OF_RELAY

    def _make_room(self, peer: bytes, origin: bytes, now: float) -> None:
        """Close the oldest of a member's channels by one relay, if they are many."""
        same = [
            way for way in self._ways.of(origin) if way.is_offered and way.relay == peer
        ]
        same.sort(key=lambda way: way.began_at)
        while len(same) >= MAX_OF_ORIGIN:
            self._client.close(same.pop(0), RelayReason.CLOSED, now=now)
