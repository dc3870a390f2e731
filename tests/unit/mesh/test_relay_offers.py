"""Channels that others ask for to us."""

import pytest

from meshnode.codec.early_calls import EarlyCall, encode_early_call
from meshnode.codec.messages import (
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpened,
)
from meshnode.codec.records import Role
from meshnode.mesh.relay_offers import MAX_OF_ORIGIN, MAX_OF_RELAY
from meshnode.types import Datagram, Path
from tests.unit.mesh.relay_parts import LEASE, OTHER, US, R, RelayUser, S, T


@pytest.fixture(name="user")
def _user() -> RelayUser:
    return RelayUser()


def test_an_offer_is_accepted_before_what_comes_with_it(user: RelayUser) -> None:
    """Its datagrams are received as by the channel; repeated, it is the same one."""
    (accept,) = user.offer(3, b"hello")
    (way,) = user.ways.of(OTHER)
    assert accept == RelayAccept(3, way.channel)
    assert way.is_open
    assert user.tunnels.channels[way.channel] == (R, 3, None)
    assert user.outbox.received == [Datagram(b"hello", Path(way.endpoint))]
    assert user.offer(3) == [accept]
    assert len(user.ways) == 1
    user.run(400.0)
    assert len(user.ways) == 0


def test_an_offered_way_that_is_doubted_is_accepted_again(user: RelayUser) -> None:
    """The relay says that it is there, or knows nothing of it."""
    user.offer(3)
    (way,) = user.ways.of(OTHER)
    user.client.ask(way, now=user.now)
    assert user.tunnels.taken() == [(R, RelayAccept(3, way.channel))]
    opened = RelayOpened(way.channel, 3, LEASE)
    user.client.receive_opened(way, opened, now=user.now)
    assert user.run(100.0) == []
    user.client.ask(way, now=user.now)
    user.run(102.0)
    assert len(user.ways) == 0


@pytest.mark.parametrize(
    ("relay", "origin"),
    [(T, OTHER), (b"x" * 32, OTHER), (R, b"x" * 32), (R, R), (R, US)],
)
def test_others_are_refused(user: RelayUser, relay: bytes, origin: bytes) -> None:
    """Of who is no relay, and for who is no member."""
    user.offers.receive_offer(relay, RelayOffer(origin, 3, (b"x",)), now=0.0)
    ((to, message),) = user.tunnels.taken()
    assert (to, type(message)) == (relay, RelayClose)
    assert len(user.ways) == 0
    assert user.outbox.received == []


def test_offers_are_limited(user: RelayUser) -> None:
    """For each member by each relay the latest two; for each relay, and in all."""
    for channel in range(1, 6):
        user.offer(channel)
    labels = [way.label for way in user.ways.of(OTHER)]
    assert sorted(labels) == [4, 5]
    assert len(labels) == MAX_OF_ORIGIN
    user.now = 100.0
    for number in range(2 * MAX_OF_RELAY):
        user.now += 0.1
        origin = number.to_bytes(32, "big")
        user.roles[origin] = Role.NONE
        user.offers.receive_offer(R, RelayOffer(origin, 99, ()), now=user.now)
    assert len(user.ways) == MAX_OF_RELAY
    assert len(user.tunnels.channels) == MAX_OF_RELAY
    assert user.offer(3, relay=S)
    assert len(user.ways) == MAX_OF_RELAY + 1


def test_a_flood_of_offers_is_not_answered(user: RelayUser) -> None:
    """After some hundred; another relay's are."""
    answered = sum(bool(user.offer(3)) for _ in range(1000))
    assert answered == 256
    assert user.offer(3, relay=S)


def test_an_early_call_is_no_datagram(user: RelayUser) -> None:
    """It is said by who asks for the channel."""
    data = encode_early_call(EarlyCall(1, b"record"))
    user.offer(3, data, b"hello")
    assert user.calls == [(OTHER, data)]
    assert [one.data for one in user.outbox.received] == [b"hello"]


def test_who_is_not_known_yet_may_introduce_itself(user: RelayUser) -> None:
    """The offer is refused, and the next one will not be."""
    introduction = b"\x07\0\0\0 somebody"
    offer = RelayOffer(b"x" * 32, 3, (introduction, b"\x01\0\0\0"))
    user.offers.receive_offer(R, offer, now=0.0)
    assert [one.data for one in user.outbox.received] == [introduction]
    assert len(user.ways) == 0
