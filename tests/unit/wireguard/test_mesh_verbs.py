"""Paths and relay channels by public key: commands out, events in."""

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.forwarding import (
    CloseChannel,
    OpenChannel,
    PathHeard,
    SendControl,
    SetEndpoint,
    SetStandby,
)
from meshnode.types import Endpoint, Path
from meshnode.wireguard.config import PeerChange
from meshnode.wireguard.events import PathChanged, PeerHeard
from tests.unit.wireguard.engines import Node

ONE, TWO, STRANGER = (PrivateKey(bytes([n]) * 32).public_key() for n in (10, 11, 12))
PATH = Path(Endpoint("192.0.2.77", 7))


@pytest.fixture
def node():
    """A node with two peers, in slots 0 and 1."""
    made = Node(1)
    made.configure(PeerChange(ONE), PeerChange(TWO), private_key=made.key)
    made.up()
    return made


def commands(node):
    """Return what the data plane was told since the last time."""
    node.drain()
    return node.commands


def test_channels_are_part_of_the_program_until_they_are_closed(node):
    """A worker that starts anew is told of those that are open, and no others."""
    node.engine.open_channel(5, ONE, 6, now=node.now)
    node.engine.open_channel(7, ONE, 8, onward=TWO, rate=9, quota=10, now=node.now)
    to_us, onward = OpenChannel(5, 0, 6), OpenChannel(7, 0, 8, 1, 9, 10)
    assert commands(node) == [to_us, onward]
    program = list(node.engine.program())
    assert program[-2:] == [to_us, onward]
    for _ in range(2):
        node.engine.close_channel(5, now=node.now)
    assert commands(node) == [CloseChannel(5)]
    assert to_us not in list(node.engine.program())


def test_a_peer_that_goes_takes_its_ways_along(node):
    """Whoever gets its slot one day has none of them."""
    node.engine.open_channel(5, ONE, 6, now=node.now)
    node.engine.open_channel(7, TWO, 8, onward=ONE, now=node.now)
    for key in (ONE, TWO):
        node.engine.set_standby(key, PATH, now=node.now)
    node.configure(PeerChange(ONE, remove=True))
    program = list(node.engine.program())
    kept = [one for one in program if isinstance(one, OpenChannel | SetStandby)]
    assert kept == [SetStandby(1, PATH)]


def test_channels_of_strangers_are_not_opened(node):
    """Neither from them, nor to them."""
    node.engine.open_channel(5, STRANGER, 6, now=node.now)
    node.engine.open_channel(5, ONE, 6, onward=STRANGER, now=node.now)
    assert commands(node) == []


def test_a_proven_path_is_used_and_told(node):
    """And the same again is no news."""
    for _ in range(2):
        node.engine.set_path(ONE, PATH, now=node.now)
    assert commands(node) == [SetEndpoint(0, PATH)]
    assert PathChanged(0, ONE) in node.events
    node.engine.set_path(STRANGER, PATH, now=node.now)
    assert commands(node) == []


def test_frames_and_copies_go_by_a_path_of_their_own(node):
    """The path of the peer stays."""
    node.engine.send_control(ONE, b"\x01\x00\x00", path=PATH, now=node.now)
    node.engine.set_standby(ONE, PATH, now=node.now)
    node.engine.set_standby(ONE, None, now=node.now)
    node.engine.set_standby(STRANGER, PATH, now=node.now)
    assert commands(node) == [
        SendControl(0, b"\x01\x00\x00", PATH),
        SetStandby(0, PATH),
        SetStandby(0, None),
    ]
    assert node.engine.path_of(ONE) is None


def test_what_was_heard_by_another_kind_of_path_is_told(node):
    """It is for others to decide."""
    node.report(PathHeard(1, PATH))
    assert node.events == [PeerHeard(1, TWO, PATH)]
    assert node.engine.path_of(TWO) is None
