"""Sealing and opening probes."""

import random

import pytest

from meshnode.codec.probes import NONCE_SIZE, PROBE_SIZE, ProbeKind
from meshnode.errors import BadPacket, DropReason
from meshnode.mesh.probes import Probes
from meshnode.types import Endpoint

ONE, OTHER, THIRD = (bytes([n]) * 32 for n in (1, 2, 3))
PLACE = Endpoint("192.0.2.1", 7)


@pytest.fixture
def pair(rng: random.Random) -> tuple[Probes, Probes]:
    """Two members that know each other."""
    one, other = Probes(rng.randbytes), Probes(rng.randbytes)
    one.know(OTHER, other.key)
    other.know(ONE, one.key)
    return one, other


def refused(probes: Probes, data: bytes) -> DropReason:
    """Return why *data* does not open."""
    with pytest.raises(BadPacket) as caught:
        probes.open(data)
    return caught.value.reason


def test_a_ping_and_its_pong(pair: tuple[Probes, Probes]) -> None:
    """The answer repeats the number and says where the ping came from."""
    one, other = pair
    number, ping = one.ping(OTHER)
    opened = other.open(ping)
    assert (opened.key, opened.probe.kind) == (ONE, ProbeKind.PING)
    pong = other.pong(ONE, opened.probe, PLACE)
    answer = one.open(pong).probe
    assert (answer.kind, answer.number, answer.seen) == (ProbeKind.PONG, number, PLACE)
    assert len(ping) == len(pong) == PROBE_SIZE


def test_a_zone_is_nobody_elses_business(pair: tuple[Probes, Probes]) -> None:
    """It means nothing on another host."""
    one, other = pair
    opened = other.open(one.ping(OTHER)[1])
    pong = other.pong(ONE, opened.probe, Endpoint("fe80::1", 7, 3))
    assert one.open(pong).probe.seen is None


def test_a_ping_opens_once_and_a_later_one_too(pair: tuple[Probes, Probes]) -> None:
    """A recorded one is worth nothing."""
    one, other = pair
    first, second = one.ping(OTHER)[1], one.ping(OTHER)[1]
    other.open(second)
    other.open(first)
    assert refused(other, first) is DropReason.REPLAY
    assert refused(other, second) is DropReason.REPLAY


def test_strangers_are_not_opened(rng: random.Random) -> None:
    """Neither before they are known nor after they are forgotten."""
    one, other = Probes(rng.randbytes), Probes(rng.randbytes)
    one.know(OTHER, other.key)
    assert refused(other, one.ping(OTHER)[1]) is DropReason.UNKNOWN_PEER
    other.know(ONE, one.key)
    other.open(one.ping(OTHER)[1])
    other.forget(ONE)
    assert refused(other, one.ping(OTHER)[1]) is DropReason.UNKNOWN_PEER


def test_a_probe_is_for_one_receiver_in_one_direction(
    pair: tuple[Probes, Probes], rng: random.Random
) -> None:
    """Sent back to its maker under the other's name it does not open."""
    one, other = pair
    _, ping = one.ping(OTHER)
    reflected = ping[:4] + other.key + ping[36:]
    assert refused(one, reflected) is DropReason.BAD_TAG
    third = Probes(rng.randbytes)
    third.know(ONE, one.key)
    assert refused(third, ping) is DropReason.BAD_TAG


def test_every_byte_counts(pair: tuple[Probes, Probes]) -> None:
    """A changed one is of a stranger, or does not open."""
    one, other = pair
    _, ping = one.ping(OTHER)
    for place in range(len(ping)):
        changed = bytearray(ping)
        changed[place] ^= 1
        assert refused(other, bytes(changed))
    assert refused(other, ping[:-1]) is DropReason.BAD_LENGTH
    other.open(ping)


def test_a_new_probe_key_takes_the_place_of_the_old_one(
    pair: tuple[Probes, Probes], rng: random.Random
) -> None:
    """Its numbers begin anew; the same key again changes nothing."""
    one, other = pair
    other.open(one.ping(OTHER)[1])
    again = Probes(rng.randbytes)
    again.know(OTHER, other.key)
    other.know(ONE, again.key)
    other.know(ONE, again.key)
    other.open(again.ping(OTHER)[1])
    assert refused(other, one.ping(OTHER)[1]) is DropReason.UNKNOWN_PEER


def test_nobody_takes_anothers_probe_key(pair: tuple[Probes, Probes]) -> None:
    """Who said it first has it; our own is nobody's."""
    one, other = pair
    other.know(THIRD, one.key)
    other.know(THIRD, other.key)
    assert not other.can_reach(THIRD)
    assert other.open(one.ping(OTHER)[1]).key == ONE


def test_keys_of_low_order_cannot_be_reached(rng: random.Random) -> None:
    """They are forgotten as soon as that is seen."""
    probes = Probes(rng.randbytes)
    probes.know(ONE, bytes(32))
    data = b"\6\0\0\0" + bytes(32 + NONCE_SIZE + 56)
    assert refused(probes, data) is DropReason.BAD_TAG
    assert not probes.can_reach(ONE)
    assert refused(probes, data) is DropReason.UNKNOWN_PEER
