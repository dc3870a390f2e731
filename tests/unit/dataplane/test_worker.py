"""The process loop: commands first, packets, reports that wait, and the end."""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from meshnode.codec.datagram import decode_datagram
from meshnode.codec.forwarding import decode_report, encode_command
from meshnode.dataplane import worker
from meshnode.dataplane.interface import DeviceGoneError
from meshnode.dataplane.switches import Switch
from meshnode.dataplane.waiting import Waiter
from meshnode.dataplane.worker import COUNTERS_BYTES, RELAYED_AT, SOCKETS, WorkerEnd
from meshnode.errors import DropReason
from meshnode.forwarding import (
    AddPeer,
    Command,
    ControlReceived,
    DropStaged,
    EndpointMoved,
    NeedSession,
    PreferSession,
    Report,
    SendKeepalive,
    SetEndpoint,
)
from meshnode.offloads import AUTO, OFF, READS, STATES, TUN_TCP
from meshnode.types import Datagram, Endpoint, Path

PATH = Path(Endpoint("192.0.2.1", 51820))
OTHER_PATH = Path(Endpoint("192.0.2.2", 51820))
PATIENCE = 20.0


class FakeEngine:
    """Reads bytes from a descriptor as packets, and notes what happens.

    `b"!"` is the end of the device.
    """

    def __init__(self, device: socket.socket) -> None:
        self.drops = dict.fromkeys(DropReason, 0)
        self.switches: list[Switch] = []
        self.relayed = 0, 0
        self.device = device
        self.log: list[object] = []
        self.outgoing: list[Report] = []
        self.messages: list[Datagram] = []
        self.on_command: Callable[[Command], None] = lambda command: None
        self.is_closed = False
        self._waiter = Waiter()
        self.catch_up: Callable[[], object] = lambda: None

    def obey_first(self, catch_up: Callable[[], object]) -> None:
        """Keep it for a test to call."""
        self.catch_up = catch_up

    def apply(self, command: Command, *, now: float) -> None:
        """Note a command."""
        self.log.append(command)
        self.on_command(command)

    def descriptors(self) -> Sequence[int]:
        """Read from the device."""
        return (self.device.fileno(),)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Wait for the device, too."""
        return self._waiter.wait({**links, self.device.fileno(): select.POLLIN})

    def pump(self, descriptor: int, *, now: float) -> None:
        """Note a packet."""
        packet = os.read(descriptor, 100)
        self.log.append(packet)
        if packet == b"!":
            raise DeviceGoneError("gone")
        self.drops[DropReason.NO_ROUTE] += 1

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Take the first socket for the device from now on."""
        self.device.close()
        self.device = sockets[0]
        self.log.append(len(sockets))

    def reports(self) -> list[Report]:
        """Hand over the reports a test has put here."""
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def handshakes(self) -> list[Datagram]:
        """Hand over the messages a test has put here."""
        messages, self.messages = self.messages, []
        return messages

    def close(self) -> None:
        """Note the end."""
        self.is_closed = True
        self.device.close()


class Rig:
    """A worker in a thread, and the far ends of all its links."""

    def __init__(self) -> None:
        kind = socket.SOCK_SEQPACKET
        device, self.device = socket.socketpair(socket.AF_UNIX, kind)
        self.program, self._worker_program = socket.socketpair(socket.AF_UNIX, kind)
        self.up, self._worker_up = socket.socketpair(socket.AF_UNIX, kind)
        for link in (self.program, self.up):
            link.settimeout(PATIENCE)
        self.engine = FakeEngine(device)
        self.counters = bytearray(COUNTERS_BYTES)
        self.end: list[WorkerEnd] = []
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def _run(self) -> None:
        self.end.append(
            worker.run_ingress(
                self.engine,
                self._worker_program,
                self._worker_up,
                counters=memoryview(self.counters),
                clock=lambda: 5.0,
            )
        )

    def send(self, *commands: Command) -> None:
        """Send commands."""
        for command in commands:
            self.program.send(encode_command(command))

    def next_report(self) -> Report:
        """Wait for a report."""
        return decode_report(self.program.recv(65536))

    def finish(self) -> WorkerEnd:
        """Wait for the end."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.end[0]

    def close(self) -> None:
        """End the worker and close everything."""
        self.program.close()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        for link in (self._worker_program, self.up, self._worker_up, self.device):
            link.close()
        self.engine.device.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A worker that has not been started."""
    made = Rig()
    yield made
    made.close()


def answer_with(rig: Rig, *reports: Report) -> None:
    """Let the engine report after the next command."""
    rig.engine.on_command = lambda command: rig.engine.outgoing.extend(reports)


def test_commands_come_before_packets(rig: Rig) -> None:
    """What control has said by then holds for the packet."""
    rig.send(AddPeer(1), AddPeer(2))
    rig.device.send(b"packet")
    rig.device.send(b"!")
    rig.start()
    assert rig.finish() is WorkerEnd.DEVICE_GONE
    assert rig.engine.log == [AddPeer(1), AddPeer(2), b"packet", b"!"]
    assert rig.engine.is_closed


def test_a_closed_link_ends_the_worker(rig: Rig) -> None:
    """With nobody to obey there is nothing to do; the engine is closed."""
    rig.start()
    rig.send(AddPeer(1))
    rig.program.close()
    assert rig.finish() is WorkerEnd.CHANNEL_CLOSED
    assert rig.engine.log == [AddPeer(1)]
    assert rig.engine.is_closed


def test_reports_reach_control(rig: Rig) -> None:
    """In order, one message each."""
    answer_with(rig, NeedSession(1), EndpointMoved(2, PATH), NeedSession(3))
    rig.start()
    rig.send(AddPeer(1))
    reports = [rig.next_report() for _ in range(3)]
    assert reports == [NeedSession(1), EndpointMoved(2, PATH), NeedSession(3)]


def test_reports_wait_for_control(rig: Rig) -> None:
    """A full link loses nothing and blocks nothing; equal reports wait once."""
    many = [NeedSession(slot) for slot in range(3000)]
    moves: list[Report] = [EndpointMoved(1, PATH), EndpointMoved(1, OTHER_PATH)]
    done = threading.Event()

    def react(command: Command) -> None:
        if isinstance(command, AddPeer):
            rig.engine.outgoing += [*many, *moves, *many]
        elif isinstance(command, DropStaged):
            rig.engine.outgoing.append(NeedSession(4000))
        else:
            done.set()

    rig.engine.on_command = react
    rig.start()
    rig.send(AddPeer(1), DropStaged(1))
    # The worker goes on obeying while its reports wait.
    rig.send(SendKeepalive(1))
    assert done.wait(PATIENCE)
    seen: list[Report] = []
    while NeedSession(4000) not in seen:
        seen.append(rig.next_report())
    assert set(seen) == {*many, EndpointMoved(1, OTHER_PATH), NeedSession(4000)}
    assert seen[:3000] == many
    assert len(seen) == len(many) + 2


def test_new_sockets_arrive_beside_a_message(rig: Rig) -> None:
    """Their descriptors replace the ones polled."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rig.start()
    with ours, theirs:
        socket.send_fds(rig.program, [SOCKETS], [theirs.fileno()])
        ours.send(b"by the new socket")
        ours.send(b"!")
        assert rig.finish() is WorkerEnd.DEVICE_GONE
    assert rig.engine.log == [1, b"by the new socket", b"!"]


def test_handshakes_go_up(rig: Rig) -> None:
    """They leave by their own link, with their path."""
    wanted = [Datagram(b"one", PATH), Datagram(b"two", OTHER_PATH)]
    rig.engine.messages = list(wanted)
    rig.start()
    rig.send(AddPeer(1))
    assert [decode_datagram(rig.up.recv(1000)) for _ in range(2)] == wanted


def test_handshakes_are_dropped_when_control_is_busy(rig: Rig) -> None:
    """A full link costs messages, which are counted, and never the worker's time."""
    rig.engine.messages = [Datagram(bytes(148), PATH)] * 5000
    rig.start()
    rig.send(AddPeer(1))
    arrived = 1
    rig.up.recv(1000)
    rig.device.send(b"!")
    assert rig.finish() is WorkerEnd.DEVICE_GONE
    rig.up.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while rig.up.recv(1000):
            arrived += 1
    words = memoryview(rig.counters).cast("Q")
    dropped = words[list(DropReason).index(DropReason.QUEUE_FULL)]
    assert 0 < arrived < 5000
    assert arrived + dropped == 5000


def test_drops_are_published(rig: Rig) -> None:
    """The shared counters show every reason in its place."""
    rig.start()
    for _ in range(3):
        rig.device.send(b"packet")
    answer_with(rig, NeedSession(1))
    rig.device.send(b"packet")
    rig.send(AddPeer(1))
    rig.next_report()
    rig.device.send(b"!")
    rig.finish()
    words = list(memoryview(rig.counters).cast("Q"))
    wanted = [0] * len(words)
    wanted[list(DropReason).index(DropReason.NO_ROUTE)] = 4
    assert words == wanted


def test_what_was_forwarded_is_published(rig: Rig) -> None:
    """Datagrams and bytes, whenever there are more of them."""
    rig.start()
    rig.engine.relayed = 3, 4000
    for number in range(2):
        # The second turn begins when the first was published.
        answer_with(rig, NeedSession(number + 2))
        rig.send(AddPeer(number + 2))
        rig.next_report()
    rig.device.send(b"!")
    rig.finish()
    words = list(memoryview(rig.counters).cast("Q"))
    assert words[RELAYED_AT:] == [3, 4000]


def test_offloads_are_published(rig: Rig) -> None:
    """At the start, when one is lowered, and when new sockets begin anew."""
    at = len(DropReason) + 2 * list(STATES).index(TUN_TCP)
    words = memoryview(rig.counters).cast("Q")
    switch = Switch(TUN_TCP, OFF)
    rig.engine.switches = [switch]
    rig.start()
    wait_for(lambda: list(words[at : at + 2]) == [2, 0])
    rig.engine.switches = [lowered] = [Switch(TUN_TCP, AUTO)]
    lowered.lower(READS, "a test")
    rig.device.send(b"packet")
    wait_for(lambda: list(words[at : at + 2]) == [1, 1])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rig.engine.switches = [Switch(TUN_TCP, AUTO)]
    socket.send_fds(rig.program, [SOCKETS], [ours.fileno()])
    wait_for(lambda: list(words[at : at + 2]) == [0, 0])
    ours.close()
    theirs.send(b"!")
    rig.finish()
    theirs.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the worker's thread has done something."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_egress_needs_no_handshake_link(rig: Rig) -> None:
    """The sending direction runs by the same loop."""
    rig.device.send(b"!")
    end = worker.run_egress(rig.engine, rig._worker_program)
    assert end is WorkerEnd.DEVICE_GONE


def test_control_frames_that_control_does_not_read_are_bounded(rig: Rig) -> None:
    """Beyond 256 they are dropped and counted; other reports still have their place."""
    frames = [ControlReceived(1, b"\1" + bytes((n >> 8, n & 255))) for n in range(600)]
    rig.engine.outgoing = [*frames, frames[0], NeedSession(7)]
    rig.start()
    rig.send(AddPeer(0))
    got: list[Report] = []
    while NeedSession(7) not in got:
        got.append(rig.next_report())
    assert got == [*frames[:256], NeedSession(7)]
    rig.program.close()
    rig.finish()
    counts = memoryview(rig.counters).cast("Q")
    full = counts[list(DropReason).index(DropReason.CONTROL_FULL)]
    assert full == 600 - 256


def test_room_for_control_frames_comes_back(rig: Rig) -> None:
    """What was read makes place; equal frames that wait are one."""
    frames = [ControlReceived(1, b"\1" + bytes((n,))) for n in range(200)]
    rig.engine.outgoing = [*frames, *frames]
    rig.start()
    for _ in range(3):
        rig.send(AddPeer(0))
        assert [rig.next_report() for _ in range(200)] == frames
        rig.engine.outgoing = list(frames)
    rig.program.close()
    rig.finish()
    assert not any(rig.counters)


def test_the_roaming_link_says_where_and_under_what_and_nothing_else() -> None:
    """Egress hears from ingress what the reply to a packet depends on."""
    kind = socket.SOCK_SEQPACKET
    device, _far_device = socket.socketpair(socket.AF_UNIX, kind)
    program, far_program = socket.socketpair(socket.AF_UNIX, kind)
    roaming, ingress = socket.socketpair(socket.AF_UNIX, kind)
    engine = FakeEngine(device)
    wanted = [SetEndpoint(3, PATH), PreferSession(3, 7)]
    for command in (AddPeer(3), wanted[0], DropStaged(3), wanted[1]):
        ingress.send(encode_command(command))

    def end_with_the_last(command: Command) -> None:
        if command == wanted[-1]:
            far_program.close()

    engine.on_command = end_with_the_last
    end = worker.run_egress(engine, program, roaming=roaming)
    assert end is WorkerEnd.CHANNEL_CLOSED
    assert engine.log == wanted
    for link in (program, roaming, ingress, _far_device):
        link.close()
