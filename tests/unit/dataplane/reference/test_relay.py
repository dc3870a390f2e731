"""Relay channels on the way in: what goes on, what is for us, and what is neither."""

import random

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.channels import encode_header, wrap
from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddPeer,
    CloseChannel,
    Command,
    ControlReceived,
    EndpointMoved,
    OpenChannel,
    PathHeard,
    ProgramComplete,
    RemovePeer,
    Report,
    Reset,
    SetEndpoint,
    SetIdentity,
    SetLink,
)
from meshnode.types import Datagram, Endpoint, Path, Source
from tests.inner_packets import ip_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    PATH,
    SLOT,
    program,
    seal_data,
    session,
    start_session,
    traffic_memory,
)
from tests.unit.dataplane.test_gate import OURS, message

NOW = BORN_AT + 1
RELAY, NEXT = SLOT + 1, SLOT + 2
RELAY_PATH = Path(Endpoint("198.51.100.1", 51820))
NEXT_PATH = Path(Endpoint("198.51.100.2", 51820))
PACKET = ip_packet(4, 99, bytes(80))

OURS_BY_RELAY = OpenChannel(7, RELAY, 70)
BEHIND = Path(endpoint_of(7))
ONWARD = OpenChannel(8, RELAY, 80, onward=NEXT)
PEERS = (
    AddPeer(RELAY),
    SetEndpoint(RELAY, RELAY_PATH),
    AddPeer(NEXT),
    SetEndpoint(NEXT, NEXT_PATH),
)


class Ingress:
    """A receiving half with a session with one peer, and two more to relay between."""

    def __init__(self) -> None:
        table, self.view = traffic_memory()
        self.half = OpenHalf(1, IngressRecorder(table))
        self.apply(*program(), *start_session(session()), SetIdentity(OURS))
        self.apply(*PEERS, OURS_BY_RELAY, ONWARD)
        self.half.reports()

    def apply(self, *commands: Command) -> None:
        """Obey commands."""
        for command in commands:
            self.half.apply(command, now=NOW)

    def receive(self, *datagrams: bytes, path: Path = RELAY_PATH) -> None:
        """Take datagrams one by one."""
        for datagram in datagrams:
            self.half.receive(datagram, path, now=NOW)

    def receive_burst(
        self, data: bytes | bytearray, segment_size: int, path: Path = RELAY_PATH
    ) -> None:
        """Take datagrams in one buffer, as the kernel coalesces them."""
        arena = Arena(65535)
        arena.data[: len(data)] = data
        self.half.receive_burst(arena, len(data), segment_size, path, now=NOW)

    def dropped(self) -> dict[DropReason, int]:
        """Return and forget the drop counters that are not 0."""
        drops = {reason: count for reason, count in self.half.drops.items() if count}
        self.half.drops.update(dict.fromkeys(DropReason, 0))
        return drops

    def forwarded(self) -> list[Burst]:
        """Return what goes on to others."""
        return self.half.bursts_to_forward()

    def told(self, *kinds: type[Report]) -> list[Report]:
        """Return the reports of these kinds since the last call."""
        return [one for one in self.half.reports() if isinstance(one, kinds)]


@pytest.fixture
def ingress() -> Ingress:
    """A half with two channels."""
    return Ingress()


def by_channel(data: bytes, channel: int = 7) -> bytes:
    """Return a datagram as a relay sends it."""
    return encode_header(channel) + data


# --- for others ---


def test_a_datagram_goes_on_under_the_next_number(ingress: Ingress) -> None:
    """Nothing else of it changes, and it is counted; nobody here is told."""
    content = random.Random(1).randbytes(99)
    ingress.receive(by_channel(content, 8))
    [burst] = ingress.forwarded()
    assert burst == Burst(NEXT_PATH, 107, bytearray(by_channel(content, 80)))
    assert ingress.half.relayed == (1, 107)
    assert ingress.dropped() == {}
    assert ingress.half.reports() == []
    assert ingress.forwarded() == []


def test_a_burst_goes_on_as_one(ingress: Ingress) -> None:
    """With its shorter end, so that one segmented send carries it."""
    data = random.Random(2).randbytes(44 * 1452 + 100)
    ingress.receive_burst(wrap(data, 1452, 8), 1460)
    [burst] = ingress.forwarded()
    assert burst == Burst(NEXT_PATH, 1460, wrap(data, 1452, 80))
    assert burst.count == 45
    assert ingress.half.relayed == (45, len(data) + 45 * 8)


def test_a_mixed_burst_is_sorted(ingress: Ingress) -> None:
    """What is for us, for others and for nobody may come in one receive."""
    inner = seal_data(PACKET, 0)
    pieces = [
        by_channel(inner, 8),
        by_channel(inner, 7),
        by_channel(inner, 9),
        by_channel(inner, 8),
        seal_data(ip_packet(4, 99, bytes(88)), 1),
    ]
    ingress.receive_burst(b"".join(pieces), len(pieces[0]))
    assert [burst.count for burst in ingress.forwarded()] == [1, 1]
    assert len(ingress.half.packets_to_deliver()) == 2
    assert ingress.dropped() == {DropReason.UNKNOWN_CHANNEL: 1}


def test_only_who_asked_may_use_a_channel(ingress: Ingress) -> None:
    """From its own address and port; from where else it comes, it is dropped."""
    for path in (PATH, NEXT_PATH, Path(Endpoint("198.51.100.1", 1))):
        ingress.receive(by_channel(bytes(40), 8), path=path)
    ingress.receive(by_channel(bytes(40), 7), path=PATH)
    assert ingress.forwarded() == []
    assert ingress.dropped() == {DropReason.CHANNEL_SOURCE: 4}
    here = Source("192.0.2.200", 3)
    ingress.receive(by_channel(bytes(40), 8), path=Path(RELAY_PATH.remote, here))
    assert len(ingress.forwarded()) == 1


def test_channels_do_not_nest(ingress: Ingress) -> None:
    """Neither from a peer that is behind one, nor to one, nor inside of another."""
    ingress.receive(by_channel(by_channel(bytes(40), 8), 7))
    assert ingress.dropped() == {DropReason.BAD_TYPE: 1}
    ingress.apply(SetEndpoint(NEXT, BEHIND))
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.dropped() == {DropReason.NO_ENDPOINT: 1}
    ingress.apply(SetEndpoint(RELAY, Path(endpoint_of(8))))
    ingress.receive(by_channel(bytes(40), 8))
    ingress.receive(by_channel(bytes(40), 8), path=Path(endpoint_of(8)))
    assert ingress.dropped() == {DropReason.CHANNEL_SOURCE: 2}
    assert ingress.forwarded() == []


def test_a_peer_that_is_nowhere_gets_nothing(ingress: Ingress) -> None:
    """And one that was nowhere asked for nothing."""
    ingress.apply(SetEndpoint(NEXT, None))
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.dropped() == {DropReason.NO_ENDPOINT: 1}
    ingress.apply(SetEndpoint(RELAY, None))
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.dropped() == {DropReason.CHANNEL_SOURCE: 1}


def test_a_channel_ends_with_its_peers_and_by_command(ingress: Ingress) -> None:
    """And begins only with peers that are there."""
    ingress.apply(CloseChannel(7), RemovePeer(NEXT))
    ingress.receive(by_channel(bytes(40), 7), by_channel(bytes(40), 8))
    ingress.apply(ONWARD)
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.dropped() == {DropReason.UNKNOWN_CHANNEL: 3}


def test_what_is_over_the_limit_is_dropped(ingress: Ingress) -> None:
    """The part of a burst that fits goes on; the command repeated gives new quota."""
    command = OpenChannel(8, RELAY, 80, NEXT, quota=5000)
    ingress.apply(command)
    data = wrap(bytes(10 * 992), 992, 8)
    ingress.receive_burst(data, 1000)
    assert [burst.count for burst in ingress.forwarded()] == [5]
    ingress.receive_burst(data, 1000)
    assert ingress.forwarded() == []
    assert ingress.dropped() == {DropReason.CHANNEL_LIMIT: 15}
    assert ingress.half.relayed == (5, 5000)
    ingress.apply(command)
    ingress.receive_burst(data, 1000)
    assert [burst.count for burst in ingress.forwarded()] == [5]


def test_waiting_commands_are_obeyed_first(ingress: Ingress) -> None:
    """A channel is told of before anything comes by it, but perhaps read later."""
    ingress.apply(CloseChannel(8))
    ingress.half.catch_up = lambda: ingress.apply(ONWARD)
    ingress.receive(by_channel(bytes(40), 8))
    assert len(ingress.forwarded()) == 1


def test_channels_are_part_of_the_program(ingress: Ingress) -> None:
    """They stay in use until the new one is whole, which has only its own."""
    ingress.apply(Reset(1), SetLink(1420, True), *PEERS)
    ingress.receive(by_channel(bytes(40), 8))
    assert len(ingress.forwarded()) == 1
    ingress.apply(ProgramComplete())
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.dropped() == {DropReason.UNKNOWN_CHANNEL: 1}
    ingress.apply(Reset(1), *PEERS, ONWARD, ProgramComplete())
    ingress.receive(by_channel(bytes(40), 8))
    assert len(ingress.forwarded()) == 1


def test_nothing_goes_on_while_the_link_is_down(ingress: Ingress) -> None:
    """As nothing is received either."""
    ingress.apply(SetLink(1420, False))
    ingress.receive(by_channel(bytes(40), 8))
    assert ingress.forwarded() == []
    assert ingress.dropped() == {DropReason.DEVICE_DOWN: 1}


# --- for us ---


def test_what_ends_here_is_received_from_the_channel(ingress: Ingress) -> None:
    """A peer that was nowhere is there now; only its own bytes count."""
    ingress.apply(SetEndpoint(SLOT, None))
    inner = seal_data(PACKET, 0)
    ingress.receive(by_channel(inner))
    assert ingress.half.packets_to_deliver() == [PACKET]
    assert SetEndpoint(SLOT, BEHIND) in ingress.half.moves()
    assert ingress.told(EndpointMoved) == [EndpointMoved(SLOT, BEHIND)]
    assert ingress.view.read(SLOT).received_bytes == len(inner)
    assert ingress.forwarded() == []


def test_a_burst_for_us_is_opened_where_it_is(ingress: Ingress) -> None:
    """All of it, and the shorter last."""
    packets = [PACKET] * 4 + [PACKET[:0]]
    sealed = b"".join(seal_data(one, n) for n, one in enumerate(packets))
    size = len(seal_data(PACKET, 0))
    ingress.receive_burst(wrap(sealed, size, 7), size + 8)
    assert ingress.half.packets_to_deliver() == [PACKET] * 4
    ingress.half.reports()
    assert ingress.view.read(SLOT).received_packets == 5
    assert ingress.dropped() == {}


def test_handshakes_go_up_with_the_channel(ingress: Ingress) -> None:
    """And through the same gate."""
    initiation = message(1)
    ingress.receive(by_channel(initiation), by_channel(initiation[:-1]))
    assert ingress.half.handshakes() == [Datagram(initiation, BEHIND)]
    assert ingress.dropped() == {DropReason.BAD_LENGTH: 1}


@pytest.mark.parametrize("content", [b"", b"\4", bytes(31)])
def test_empty_contents_are_dropped(ingress: Ingress, content: bytes) -> None:
    """Whatever the bytes behind them in the buffer are."""
    ingress.receive(by_channel(content))
    [(_, count)] = ingress.dropped().items()
    assert count == 1
    assert ingress.half.reports() == []


def test_a_frame_says_by_which_path_it_came(ingress: Ingress) -> None:
    """Whichever the peer's own is."""
    frame = b"\1\2\0ab"
    ingress.receive(by_channel(seal_data(frame, 0)))
    ingress.receive(seal_data(frame, 1), path=PATH)
    paths = [one.path for one in ingress.told(ControlReceived)]  # type: ignore[union-attr]
    assert paths == [BEHIND, PATH]


# --- who moves, and who is only heard ---


def test_from_an_endpoint_to_a_channel_nobody_moves(ingress: Ingress) -> None:
    """Control hears it once, though both are in use at a time."""
    for counter in range(0, 6, 2):
        ingress.receive(by_channel(seal_data(PACKET, counter)))
        ingress.receive(seal_data(PACKET, counter + 1), path=PATH)
    assert ingress.told(PathHeard, EndpointMoved) == [PathHeard(SLOT, BEHIND)]
    assert not [one for one in ingress.half.moves() if isinstance(one, SetEndpoint)]
    assert len(ingress.half.packets_to_deliver()) == 6


def test_from_a_channel_nobody_moves(ingress: Ingress) -> None:
    """Neither to another channel nor to an endpoint; each is heard once."""
    ingress.apply(OpenChannel(6, NEXT, 60), SetEndpoint(SLOT, BEHIND))
    other = Path(endpoint_of(6))
    for counter in range(0, 9, 3):
        ingress.receive(by_channel(seal_data(PACKET, counter)))
        second = by_channel(seal_data(PACKET, counter + 1), 6)
        ingress.receive(second, path=NEXT_PATH)
        ingress.receive(seal_data(PACKET, counter + 2), path=PATH)
    heard = [PathHeard(SLOT, other), PathHeard(SLOT, PATH)]
    assert ingress.told(PathHeard, EndpointMoved) == heard
    assert len(ingress.half.packets_to_deliver()) == 9


def test_control_that_decided_hears_anew(ingress: Ingress) -> None:
    """It set the path, to the same or to another, or started over."""
    ingress.receive(by_channel(seal_data(PACKET, 0)))
    ingress.apply(SetEndpoint(SLOT, PATH))
    ingress.receive(by_channel(seal_data(PACKET, 1)))
    ingress.apply(*program(), *PEERS, OURS_BY_RELAY, ProgramComplete())
    ingress.apply(*PEERS, OURS_BY_RELAY)
    ingress.receive(by_channel(seal_data(PACKET, 2)))
    assert ingress.told(PathHeard) == [PathHeard(SLOT, BEHIND)] * 3


def test_between_endpoints_a_peer_moves_as_ever(ingress: Ingress) -> None:
    """Where it was heard by a channel meanwhile or not."""
    ingress.receive(by_channel(seal_data(PACKET, 0)))
    ingress.receive(seal_data(PACKET, 1), path=NEXT_PATH)
    assert ingress.told(EndpointMoved) == [EndpointMoved(SLOT, NEXT_PATH)]


def test_what_does_not_authenticate_is_not_heard(ingress: Ingress) -> None:
    """A relay can change where nobody is by nothing that it makes up."""
    ingress.receive(by_channel(seal_data(PACKET, 0)[:-1] + b"\0"))
    assert ingress.dropped() == {DropReason.BAD_TAG: 1}
    assert ingress.half.reports() == []
