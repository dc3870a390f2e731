"""Two workers of the fast engine in one direction: what they share of a session."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from meshnode.codec.virtio import PLAIN
from meshnode.dataplane.engines import open_engine
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.shared_sessions import RECORD_WORDS
from meshnode.dataplane.traffic import ControlView, TrafficTable, record_bytes
from meshnode.errors import DropReason
from meshnode.forwarding import Command, RemovePeer
from meshnode.types import Endpoint, Path
from tests.inner_packets import ip_packet, udp_packet
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    INDEX,
    SLOT,
    open_data,
    program,
    seal_data,
    session,
    start_session,
)

PLACE = 3
FIRST_WORD = PLACE * RECORD_WORDS


class Several:
    """Two workers of a *role*, each with a kernel, between them and one peer."""

    def __init__(self, role: str, stack: ExitStack) -> None:
        self.words = memoryview(bytearray(8 * RECORD_WORDS * 8)).cast("Q")
        memory = self.words.cast("B")
        traffic = TrafficTable(bytearray(8 * record_bytes(2)), workers=2)
        self.view = ControlView(traffic)
        self.peer = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        self.peer.bind(("127.0.0.1", 0))
        self.peer.settimeout(20)
        self.kernels: list[socket.socket] = []
        self.addresses: list[Any] = []
        self.engines: list[Any] = []
        for number in range(2):
            device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kernel.setblocking(False)
            self.kernels.append(stack.enter_context(kernel))
            ours = socket.socket(type=socket.SOCK_DGRAM)
            ours.bind(("127.0.0.1", 0))
            self.addresses.append(ours.getsockname())
            resources = WorkerResources(
                1,
                (device.detach(),),
                (ours,),
                traffic,
                number=number,
                sessions=memory,
            )
            engine = getattr(open_engine("fast"), role)(resources)
            stack.callback(engine.close)
            self.engines.append(engine)
        path = Path(Endpoint(*self.peer.getsockname()))
        shared = replace(session(), place=PLACE)
        self.apply(*program(path=path), *start_session(shared))

    def apply(self, *commands: Command) -> None:
        """Let both obey."""
        for command in commands:
            for engine in self.engines:
                engine.apply(command, now=BORN_AT)

    def pump(self, number: int) -> None:
        """Let one of them take what waits."""
        engine = self.engines[number]
        for descriptor in engine.descriptors():
            engine.pump(descriptor, now=BORN_AT + 1)
        engine.reports()  # what went the reference's way is noted only now

    def holders(self) -> int:
        """Return the bits of who holds the session."""
        return self.words[FIRST_WORD]


@pytest.fixture(params=["egress", "ingress"])
def role(request: pytest.FixtureRequest) -> str:
    """A direction."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def several(role: str) -> Iterator[Several]:
    """Two workers."""
    with ExitStack() as stack:
        yield Several(role, stack)


@pytest.mark.parametrize("role", ["egress"])
def test_no_counter_is_used_by_both(several: Several) -> None:
    """Whoever sends next, and whichever way a packet takes through a worker."""
    for number in (0, 1, 1, 0, 1):
        several.kernels[number].send(PLAIN + udp_packet(4, b"hello"))
        several.pump(number)
    counters = [open_data(several.peer.recv(2000))[0] for _ in range(5)]
    assert sorted(counters) == [0, 1, 2, 3, 4]
    assert several.view.read(SLOT).sent_packets == 5


@pytest.mark.parametrize("role", ["ingress"])
def test_no_datagram_is_accepted_by_both(several: Several) -> None:
    """A replay to another worker is one."""
    packet = ip_packet(4, 99, bytes(80))
    for counter in range(3):
        for number in (counter % 2, 1 - counter % 2):
            several.peer.sendto(seal_data(packet, counter), several.addresses[number])
            several.pump(number)
    arrived = [kernel.recv(2000) for kernel in several.kernels]
    assert arrived == [PLAIN + packet] * 2
    assert several.kernels[0].recv(2000) == PLAIN + packet
    for kernel in several.kernels:
        with pytest.raises(BlockingIOError):
            kernel.recv(2000)
    replays = [engine.drops[DropReason.REPLAY] for engine in several.engines]
    assert replays == [1, 2]
    assert several.view.read(SLOT).received_packets == 3


def test_each_marks_what_it_holds_and_lets_it_go(several: Several, role: str) -> None:
    """By the bit of its direction and number, whatever the others do."""
    first = 0 if role == "egress" else 16
    assert several.holders() == 0b11 << first
    several.engines[0].apply(RemovePeer(SLOT), now=BORN_AT)
    assert several.holders() == 0b10 << first
    several.words[FIRST_WORD] |= 1 << 40
    several.engines[1].apply(RemovePeer(SLOT), now=BORN_AT)
    assert several.holders() == 1 << 40


def test_nothing_of_other_places_is_touched(several: Several) -> None:
    """A record is the session's alone."""
    end = FIRST_WORD + RECORD_WORDS
    assert not any(several.words[:FIRST_WORD])
    assert not any(several.words[end:])
    assert INDEX not in several.words
