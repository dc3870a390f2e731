"""Relays as a node has them: what it asks for, and what it does for others."""

import random
from types import SimpleNamespace
from typing import cast

from meshnode.channels import endpoint_of
from meshnode.codec.messages import Message, Ping, Pong
from meshnode.codec.records import Endpoints, RelayHint, Role
from meshnode.mesh.directory import Directory
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.relays import Relays, RelayWay
from meshnode.types import Datagram, Endpoint, Path
from tests.unit.mesh.node_parts import SETTINGS
from tests.unit.mesh.relay_parts import ChannelTunnels, handshake

USER, RELAY, OTHER = (bytes((n,)) * 32 for n in range(3))
ROLES = {USER: Role.NONE, RELAY: Role.RELAY, OTHER: Role.NONE}


class FakeDirectory:
    """Three members, one of whom is a relay."""

    def member(self, key: bytes) -> object:
        """Return as much of a member as is asked for."""
        roles = ROLES.get(key)
        return roles if roles is None else SimpleNamespace(certificate=_with(roles))

    def keys_with_role(self, role: Role) -> tuple[bytes, ...]:
        """Return who has the role."""
        return tuple(key for key, roles in ROLES.items() if role in roles)


def _with(roles: Role) -> object:
    return SimpleNamespace(roles=roles)


class Three:
    """Their relays, and what they say to each other."""

    def __init__(self) -> None:
        self.tunnels = {key: ChannelTunnels() for key in ROLES}
        self.outboxes = {key: Outbox() for key in ROLES}
        self.said: dict[bytes, Endpoints] = {}
        self.calls: list[tuple[bytes, bytes, bytes]] = []
        self.relays = {key: self.of(key) for key in ROLES}

    def of(self, key: bytes) -> Relays:
        """Return the relays of one of them."""
        return Relays(
            key,
            tunnels=self.tunnels[key],
            directory=cast(Directory, FakeDirectory()),
            said_by=lambda key, now: self.said.get(key),
            outbox=self.outboxes[key],
            settings=SETTINGS,
            keepalive=lambda: 25,
            entropy=random.Random(key).randbytes,
            on_call=lambda origin, data, now: self.calls.append((key, origin, data)),
        )

    def run(self, now: float) -> list[Message]:
        """Let what is due happen, and everything arrive at once; return it."""
        for relays in self.relays.values():
            relays.handle_deadline(now=now)
        heard: list[Message] = []
        while True:
            letters = [
                (peer, to, message)
                for peer, tunnels in self.tunnels.items()
                for to, message in tunnels.taken()
            ]
            if not letters:
                return heard
            for peer, to, message in letters:
                heard.append(message)
                if isinstance(message, Ping):
                    pong = Pong(message.nonce, None)
                    self.relays[peer].receive_pong(to, pong, now=now + 0.02)
                else:
                    self.relays[to].receive(peer, message, now=now)


def test_the_nearest_relay_is_measured_and_kept_in_touch_with() -> None:
    """It is what others are told."""
    three = Three()
    user = three.relays[USER]
    assert user.best() == ()
    user.relays_changed(now=0.0)
    three.run(1.0)
    assert user.best() == (RelayHint(RELAY, 20),)
    assert user.homes == (RELAY,)
    assert (user.keepalive(RELAY), user.keepalive(OTHER)) == (25, 0)
    three.said[OTHER] = Endpoints(OTHER, 1, (), relays=(RelayHint(RELAY, 5),))
    user.forget(RELAY, now=2.0)
    assert user.best() == ()


def test_a_channel_from_member_to_member() -> None:
    """Its first datagrams arrive with the question, and the answer goes back by it."""
    three = Three()
    user, relay, other = (three.relays[key] for key in ROLES)
    user.want(OTHER, now=0.0)
    (endpoint,) = user.ways(OTHER)
    assert user.take_changes() == {OTHER}
    first = Datagram(handshake(1), Path(endpoint))
    assert user.carry(first, now=0.0) is None
    three.run(0.1)
    (received,) = three.outboxes[OTHER].received
    (back,) = other.ways(USER)
    assert received == Datagram(handshake(1), Path(back))
    assert relay.forwarded == 1
    assert len(three.tunnels[RELAY].channels) == 2
    assert user.describe(OTHER) == (
        RelayWay(endpoint, (RELAY,), user_trip(user), True),
    )
    for one, way in ((user, endpoint), (other, back)):
        carried = one.carry(Datagram(handshake(2), Path(way)), now=1.0)
        assert carried is not None
        assert carried.data[:4] == b"\5\0\0\0"
    user.drop(OTHER, now=2.0)
    three.run(2.0)
    assert [user.ways(OTHER), other.ways(USER), relay.forwarded] == [(), (), 0]
    assert not any(tunnels.channels for tunnels in three.tunnels.values())


def user_trip(relays: Relays) -> float | None:
    """Return the milliseconds that its way says."""
    (way,) = relays.describe(OTHER)
    return way.milliseconds


def test_datagrams_to_addresses_are_sent_as_they_are() -> None:
    """And none to a channel that is not ours."""
    user = Three().relays[USER]
    plain = Datagram(b"x", Path(Endpoint("192.0.2.1", 1)))
    assert user.carry(plain, now=0.0) is plain
    assert user.carry(Datagram(handshake(1), Path(endpoint_of(9))), now=0.0) is None
