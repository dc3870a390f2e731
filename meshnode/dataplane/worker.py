"""The process loop around an engine: commands in, packets through, reports out.

All links are SOCK_SEQPACKET sockets, one message each. The program link brings
`forwarding.Command`, or `SOCKETS` with the descriptors of new UDP sockets beside it,
and takes `forwarding.Report`. What control does not take at once is kept and offered
again; it cannot pile up, for equal reports are kept once, of one peer's moves only the
last, and of control frames so many and no more. Handshake messages are dropped and
counted instead, when control is busy.

A peer is answered at once where it was heard from, and under the session that it began,
not after control had its say: before ingress delivers the packet that moved the peer or
confirmed the session, it tells every egress worker over its roaming link, by
`SetEndpoint` and `PreferSession` and nothing else. Control says the same afterwards, so
what that link loses is late and not lost.

The loop sleeps without a timeout: an idle worker never wakes.
"""

import enum
import errno
import select
import socket
import time
from collections.abc import Callable, Hashable, Iterable, Mapping

from meshnode.codec.datagram import encode_datagram
from meshnode.codec.forwarding import (
    MAX_MESSAGE_BYTES,
    decode_command,
    encode_report,
)
from meshnode.dataplane.interface import (
    MAX_WAITING_FRAMES,
    DeviceGoneError,
    EgressEngine,
    Engine,
    IngressEngine,
)
from meshnode.dataplane.switches import summarise
from meshnode.errors import DropReason
from meshnode.forwarding import (
    ControlReceived,
    EndpointMoved,
    PreferSession,
    Report,
    SetEndpoint,
)
from meshnode.offloads import STATES
from meshnode.types import Datagram

SOCKETS = b"sockets"
"""The message that brings descriptors of UDP sockets, the node's own first."""

MAX_SOCKETS = 8
"""The node's own pair, and those beside it."""

COMMANDS_PER_TURN = 256
"""Commands obeyed before packets are looked at again."""

_REASONS = tuple(DropReason)
RELAYED_AT = len(_REASONS) + 2 * len(STATES)
"""The word where the datagrams are counted that were forwarded, before their bytes."""

COUNTERS_BYTES = 8 * (RELAYED_AT + 2)
"""Size of one worker's counters: a 64-bit word a drop reason, in declaration order,
then two an offload: `switches.summarise`; then two of what was forwarded."""


_REFUSALS = (DropReason.QUEUE_FULL, DropReason.CONTROL_FULL)


class WorkerEnd(enum.Enum):
    """Why a worker came to its end."""

    CHANNEL_CLOSED = "channel closed"  # nobody is left to obey
    DEVICE_GONE = "device gone"  # the TUN device was deleted


def boottime() -> float:
    """Return the seconds since the host started, those of sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def run_egress(
    engine: EgressEngine,
    program: socket.socket,
    *,
    roaming: socket.socket | None = None,
    counters: memoryview | None = None,
    clock: Callable[[], float] = boottime,
) -> WorkerEnd:
    """Run the sending direction until the link closes or the device is gone.

    *roaming* brings the moves and the confirmed sessions that ingress workers saw.
    """
    worker = _Worker(engine, program, counters, clock, roaming)
    return worker.run(lambda: None)


def run_ingress(
    engine: IngressEngine,
    program: socket.socket,
    handshakes: socket.socket,
    *,
    counters: memoryview | None = None,
    clock: Callable[[], float] = boottime,
) -> WorkerEnd:
    """Run the receiving direction; *handshakes* takes messages of type 1–3 and 7."""
    worker = _Worker(engine, program, counters, clock)

    def pass_up() -> None:
        worker.refused_handshakes += _send_all(handshakes, engine.handshakes())

    handshakes.setblocking(False)
    engine.obey_first(worker.obey)
    return worker.run(pass_up)


def _send_all(link: socket.socket, datagrams: Iterable[Datagram]) -> int:
    """Send what the link takes; return how many datagrams it did not."""
    refused = 0
    for datagram in datagrams:
        try:
            link.send(encode_datagram(datagram))
        except OSError:
            # Full, or control is being replaced: the peer tries again.
            refused += 1
    return refused


class _ChannelClosedError(Exception):
    """The other end of the program link is gone."""


class _Worker:
    """What both directions have in common."""

    def __init__(
        self,
        engine: Engine,
        program: socket.socket,
        counters: memoryview | None,
        clock: Callable[[], float],
        roaming: socket.socket | None = None,
    ) -> None:
        self.refused_handshakes = 0
        self._engine = engine
        self._program = program
        self._counters = None if counters is None else counters.cast("B").cast("Q")
        self._clock = clock
        self._outbox = _Outbox(program)
        self._published = -1
        self._roaming = roaming
        program.setblocking(False)
        if roaming is not None:
            roaming.setblocking(False)

    def run(self, after_turn: Callable[[], None]) -> WorkerEnd:
        """Take turns until the end; call *after_turn* after each."""
        try:
            self._publish()
            while True:
                self._turn(self._engine.wait(self._links()))
                after_turn()
                self._publish()
        except _ChannelClosedError:
            return WorkerEnd.CHANNEL_CLOSED
        except DeviceGoneError:
            return WorkerEnd.DEVICE_GONE
        finally:
            self._engine.close()

    def _links(self) -> dict[int, int]:
        """Return what to wait for beside packets."""
        wants = select.POLLIN | (select.POLLOUT if self._outbox else 0)
        links = {self._program.fileno(): wants}
        if self._roaming is not None:
            links[self._roaming.fileno()] = select.POLLIN
        return links

    def _turn(self, ready: list[int]) -> None:
        """Commands first, then packets."""
        if self._program.fileno() in ready:
            self.obey()
        if self._roaming is not None and self._roaming.fileno() in ready:
            self._follow_moves(self._roaming)
        now = self._clock()
        # Those of sockets that a command replaced are none any more.
        for descriptor in self._engine.descriptors():
            if descriptor in ready:
                self._engine.pump(descriptor, now=now)
        self._outbox.put(self._engine.reports())
        self._outbox.send()

    def obey(self) -> None:
        """Obey the commands that wait."""
        for _ in range(COMMANDS_PER_TURN):
            try:
                message, descriptors, _, _ = socket.recv_fds(
                    self._program,
                    MAX_MESSAGE_BYTES,
                    MAX_SOCKETS,
                    socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                break
            except ConnectionError:
                raise _ChannelClosedError from None
            sockets = [socket.socket(fileno=number) for number in descriptors]
            if not message:
                raise _ChannelClosedError
            if message == SOCKETS:
                self._engine.use_sockets(sockets)
                self._published = -1
            else:
                self._engine.apply(decode_command(message), now=self._clock())

    def _follow_moves(self, roaming: socket.socket) -> None:
        """Send to where ingress heard the peers from, under what they began."""
        for _ in range(COMMANDS_PER_TURN):
            try:
                command = decode_command(roaming.recv(MAX_MESSAGE_BYTES))
            except BlockingIOError:
                return
            if isinstance(command, SetEndpoint | PreferSession):
                self._engine.apply(command, now=self._clock())

    def _publish(self) -> None:
        """Write down what changed since the last time, in shared memory."""
        if self._counters is None:
            return
        drops: Mapping[DropReason, int] = self._engine.drops
        refused = self.refused_handshakes, self._outbox.refused_frames
        switches, relayed = self._engine.switches, self._engine.relayed
        total = sum(drops.values()) + sum(refused) + sum(s.lowered for s in switches)
        total += relayed[0]
        if total == self._published:
            return
        self._published = total
        for number, reason in enumerate(_REASONS):
            self._counters[number] = drops[reason]
        for reason, count in zip(_REFUSALS, refused, strict=True):
            self._counters[_REASONS.index(reason)] += count
        for number, word in enumerate((*summarise(switches), *relayed), len(_REASONS)):
            self._counters[number] = word


class _Outbox:
    """Reports that control has not taken yet, in order.

    `refused_frames` counts the control frames that found no room.
    """

    def __init__(self, link: socket.socket) -> None:
        self.refused_frames = 0
        self._frames = 0
        self._link = link
        self._waiting: dict[Hashable, Report] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, reports: Iterable[Report]) -> None:
        """Add reports; one that says the same or better replaces a waiting one."""
        for report in reports:
            key: Hashable = report
            if isinstance(report, EndpointMoved):
                key = (EndpointMoved, report.slot)
            elif isinstance(report, ControlReceived) and key not in self._waiting:
                if self._frames == MAX_WAITING_FRAMES:
                    self.refused_frames += 1
                    continue
                self._frames += 1
            self._waiting[key] = report

    def send(self) -> None:
        """Send what the link takes now.

        Raises:
            _ChannelClosedError: if nobody will ever read it.
        """
        while self._waiting:
            key = next(iter(self._waiting))
            try:
                self._link.send(encode_report(self._waiting[key]))
            except BlockingIOError:
                return
            except ConnectionError:
                raise _ChannelClosedError from None
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return
                raise
            self._frames -= isinstance(self._waiting.pop(key), ControlReceived)
