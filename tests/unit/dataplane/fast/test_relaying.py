"""What the compiled ways do with relay channels, and what they leave to the reference.

That both do the same is `tests.property.test_channels_agree`.
"""

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec import virtio
from meshnode.dataplane.fast.channels import Channel, NumbersOfChannels
from meshnode.dataplane.fast.relaying import Forwarder
from meshnode.dataplane.fast.taps import Tap
from meshnode.errors import DropReason
from meshnode.forwarding import OpenChannel, PathHeard, SetEndpoint, SetStandby
from meshnode.types import Path, Source
from tests.inner_packets import udp_packet
from tests.property.test_channels_agree import (
    BACK,
    BEHIND,
    BEHIND_INDEX,
    FROM_BEHIND,
    LIMITED,
    ONWARD,
    OTHER,
    OURS,
    Crossing,
    wrapped,
)
from tests.property.test_engines_agree import drain
from tests.unit.dataplane.reference.halves import BORN_AT, SLOT, seal_data

Make = Callable[[str], Crossing]


@pytest.fixture
def cross() -> Any:
    """Make crossings of a role that are closed at the end."""
    with ExitStack() as stack:
        yield lambda role: Crossing("fast", role, stack)


def _from_behind(first: int, count: int, channel: int = OURS) -> list[bytes]:
    return [
        wrapped(channel, seal_data(FROM_BEHIND, first + number, index=BEHIND_INDEX))
        for number in range(count)
    ]


def _forbid(crossing: Crossing, name: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError(name)

    setattr(crossing.engine, name, fail)


def test_batch_is_forwarded_without_python(cross: Make) -> None:
    """With the other number in each datagram, and counted."""
    crossing = cross("ingress")
    _forbid(crossing, "_receive_exception")
    crossing.send(0, [wrapped(ONWARD, bytes(1000))] * 40, to_beside=False)
    crossing.pump()
    assert drain(crossing.hosts[2]) == [wrapped(0xFFFF0001, bytes(1000))] * 40
    assert crossing.engine.relayed == (40, 40 * 1008)


def test_flood_of_unknown_channels_costs_one_look_a_round(cross: Make) -> None:
    """The first of a round may have been opened just now; the rest are dropped."""
    crossing = cross("ingress")
    seen = []
    engine: Any = crossing.engine
    usual = engine._receive_exception
    engine._receive_exception = lambda now: (seen.append(now), usual(now))
    for number in range(30):
        crossing.send(3, [wrapped(1000 + number, bytes(60))], to_beside=False)
    crossing.pump()
    assert crossing.engine.drops[DropReason.UNKNOWN_CHANNEL] == 30
    assert len(seen) == 1


def test_batches_of_many_peers_leave_in_order(cross: Make) -> None:
    """More than fit one call, to and fro."""
    crossing = cross("ingress")
    _forbid(crossing, "_receive_exception")
    for number in range(70):
        crossing.send(0, [wrapped(ONWARD, bytes((number,)))], to_beside=False)
    crossing.send(2, [wrapped(BACK, b"x")], to_beside=False)
    crossing.pump()
    assert [one[8] for one in drain(crossing.hosts[2])] == list(range(70))
    assert drain(crossing.peer) == [wrapped(8, b"x")]


def test_allowance_is_spent_by_both_ways(cross: Make) -> None:
    """A batch that is the reference's takes from the same quota."""
    crossing = cross("ingress")
    channel = crossing.engine._half.table.channels.find(LIMITED)
    crossing.send(0, [wrapped(LIMITED, bytes(1392))] * 40, to_beside=False)
    crossing.pump()
    assert len(drain(crossing.hosts[2])) == 40
    assert channel.take(10, 1400, now=BORN_AT + 1) == 6
    assert channel.take(10, 1400, now=BORN_AT + 1) == 0


def test_what_the_kernel_refuses_is_handed_to_the_socket(cross: Make) -> None:
    """A descriptor that takes nothing: the reference has the right one."""
    crossing = cross("ingress")
    engine: Any = crossing.engine
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as wrong:
        engine._forwarder.set_place(2, crossing.paths[2], wrong.fileno())
        crossing.send(0, [wrapped(ONWARD, bytes(1000))] * 3, to_beside=False)
        crossing.pump()
    assert drain(crossing.hosts[2]) == [wrapped(0xFFFF0001, bytes(1000))] * 3
    assert crossing.engine.drops[DropReason.SEND_ERROR] == 0


@pytest.mark.parametrize(("segments", "tails"), [(False, True), (True, False)])
def test_limits_of_the_socket_hold(cross: Make, segments: bool, tails: bool) -> None:
    """What it does not take as it is goes the socket's way, in order."""
    crossing = cross("ingress")
    engine: Any = crossing.engine
    engine._follow_switches = lambda: None
    engine._forwarder.can_segment = segments
    engine._forwarder.takes_tails = tails
    sent = [wrapped(ONWARD, bytes((n,)) * 500) for n in range(5)]
    crossing.send(0, [*sent, wrapped(ONWARD, b"tail")], to_beside=False)
    crossing.send(0, [wrapped(ONWARD, b"last")], to_beside=False)
    crossing.pump()
    contents = [one[8:] for one in drain(crossing.hosts[2])]
    assert contents == [*(one[8:] for one in sent), b"tail", b"last"]


def test_data_behind_a_relay_is_opened_without_python(cross: Make) -> None:
    """Once the session is known to be used."""
    crossing = cross("ingress")
    crossing.send(1, _from_behind(0, 1), to_beside=False)
    crossing.pump()
    _forbid(crossing, "_receive_exception")
    crossing.send(1, _from_behind(1, 19), to_beside=False)
    crossing.pump()
    assert len(crossing.packets()) == 20
    crossing.engine.reports()
    assert crossing.view.read(BEHIND).received_packets == 20


def test_other_channel_is_told_once_and_then_compiled(cross: Make) -> None:
    """The peer stays where it is; what comes by it later has no consequences."""
    crossing = cross("ingress")
    crossing.send(1, _from_behind(0, 1), to_beside=False)
    crossing.pump()
    crossing.engine.reports()
    crossing.send(1, _from_behind(1, 2, OTHER), to_beside=False)
    crossing.pump()
    heard = PathHeard(BEHIND, Path(endpoint_of(OTHER)))
    assert heard in crossing.engine.reports()
    _forbid(crossing, "_receive_exception")
    crossing.send(1, _from_behind(3, 4, OTHER), to_beside=False)
    crossing.send(1, _from_behind(7, 2), to_beside=False)
    crossing.pump()
    assert len(crossing.packets()) == 9
    assert heard not in crossing.engine.reports()


def test_frame_is_told_with_the_channel_it_came_by(cross: Make) -> None:
    """By the compiled way as by the reference's."""
    crossing = cross("ingress")
    crossing.send(1, _from_behind(0, 1), to_beside=False)
    crossing.pump()
    crossing.engine.reports()
    _forbid(crossing, "_receive_exception")
    frame = seal_data(b"\1frame", 1, index=BEHIND_INDEX)
    crossing.send(1, [wrapped(OURS, frame)], to_beside=False)
    crossing.pump()
    told = crossing.engine.reports()
    assert [one.path for one in told if hasattr(one, "frame")] == [
        Path(endpoint_of(OURS))
    ]


def test_socket_beside_receives_without_python(cross: Make) -> None:
    """After the first datagram has told where the peer came to."""
    crossing = cross("ingress")
    sent = [seal_data(udp_packet(4, b"x"), number) for number in range(9)]
    crossing.send(0, sent[:1], to_beside=True)
    crossing.pump()
    peer = crossing.engine._half.table.peers[SLOT]
    assert peer.path.source.port == crossing.beside[1]
    _forbid(crossing, "_receive_exception")
    crossing.send(0, sent[1:], to_beside=True)
    crossing.pump()
    assert len(crossing.packets()) == 9


@pytest.mark.parametrize("is_beside", [False, True])
def test_two_ways_get_the_same_ciphertext(cross: Make, is_beside: bool) -> None:
    """One of them behind a relay, in a burst of many, by either socket."""
    crossing = cross("egress")
    direct = crossing.path
    if is_beside:
        source = Source("127.0.0.1", 0, crossing.beside[1])
        direct = Path(direct.remote, source)
    crossing.apply(SetEndpoint(SLOT, Path(endpoint_of(OURS))), SetStandby(SLOT, direct))
    _forbid(crossing, "_send_exception")
    header = virtio.HEADER.pack(1, virtio.GSO_UDP_L4, 0, 1000, 20, 6)
    crossing.kernel.send(header + udp_packet(4, bytes(20_500)))
    crossing.pump()
    by_relay, straight = drain(crossing.hosts[1]), drain(crossing.peer)
    assert len(straight) == 21
    assert by_relay == [wrapped(0xFFFFFFFF, one) for one in straight]


def test_channel_keeps_its_rate_when_it_is_renewed() -> None:
    """And begins its quota anew."""
    channel = Channel(OpenChannel(1, 2, 3, 4, rate=1_000_000, quota=100_000))
    assert channel.take(100, 1000, now=5.0) == 65
    assert channel.take(1, 1000, now=5.0) == 0
    channel.renew(OpenChannel(1, 2, 3, 4, rate=1_000_000, quota=3000))
    assert channel.take(9, 1000, now=5.0) == 0
    assert channel.take(9, 1000, now=5.01) == 3
    assert channel.take(9, 1000, now=6.0) == 0


def test_slots_and_sockets_beyond_the_memory_are_refused() -> None:
    """Nothing is written outside of it."""
    forwarder = Forwarder(4, lambda *_: None, Tap(None))
    for slot in (-1, 4):
        with pytest.raises(IndexError):
            forwarder.set_place(slot, None, -1)
    numbers = NumbersOfChannels()
    numbers.put(1, Channel(OpenChannel(1, 2, 3)))
    numbers.put(1, None)
    assert 1 not in numbers
    assert forwarder.relayed == (0, 0)
    assert not any(forwarder.drops())
