"""The receiving pump of the fast engine."""

import contextlib
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from meshnode.channels import is_channel_host
from meshnode.codec.tap import UNDERLAY_IN
from meshnode.codec.virtio import TCP, UDP
from meshnode.dataplane.fast.facts import Recorder
from meshnode.dataplane.fast.mirror import (
    MirroredChannels,
    MirroredRoutes,
    MirroredSessions,
)
from meshnode.dataplane.fast.receiving import DROPS, EMPTY, GONE, WAITING, Receiver
from meshnode.dataplane.fast.relaying import DROPS as RELAY_DROPS
from meshnode.dataplane.fast.relaying import Forwarder
from meshnode.dataplane.fast.sessions import OpenSession, SessionMemory
from meshnode.dataplane.fast.taps import Tap
from meshnode.dataplane.interface import Burst, DeviceGoneError, WorkerResources
from meshnode.dataplane.reference.device import check_gone
from meshnode.dataplane.reference.ingress import IN_PLACE, ReferenceIngress
from meshnode.dataplane.shared_sessions import ingress_holder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    Command,
    PreferSession,
    ProgramComplete,
    RemovePeer,
    SetEndpoint,
    SetLink,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.offloads import FULL, OFF
from meshnode.types import Datagram

ROUNDS_PER_PUMP = 2
BATCHES_PER_PUMP = 32 * ROUNDS_PER_PUMP
"""Batches taken before commands are looked at again."""

_REASONS = tuple([DropReason[name] for name in DROPS])
_RELAY_REASONS = tuple([DropReason[name] for name in RELAY_DROPS])


class FastIngress(ReferenceIngress):
    """UDP → open → TUN: the reference's pump, with the compiled way before it."""

    def __init__(self, resources: WorkerResources) -> None:
        memory = None
        if resources.sessions is not None:
            holder = ingress_holder(resources.number)
            memory = SessionMemory(resources.sessions, holder)
        recorder = Recorder(resources.traffic, False, resources.number)
        tap = Tap(resources.tap)
        self._forwarder = Forwarder(recorder.slots, self._send_refused, tap)
        self._receiver = Receiver(
            resources.queues[0], recorder, self._write_refused, self._forwarder, tap
        )
        super().__init__(
            resources,
            tap=tap,
            make_session=partial(OpenSession, memory=memory),
            make_routes=MirroredRoutes,
            make_channels=MirroredChannels,
        )
        sessions = MirroredSessions()
        self._half.table.sessions = cast(dict[int, Any], sessions)
        self._follow_switches()
        self._receiver.set_sessions(sessions.table)
        self._routes: object = None
        self._channels: object = None

    @property
    def relayed(self) -> tuple[int, int]:
        """How many datagrams went on to others, and their bytes together."""
        ours, others = self._forwarder.relayed, super().relayed
        return ours[0] + others[0], ours[1] + others[1]

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command."""
        super().apply(command, now=now)
        self._mirror(command)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Carry packets until one of *links* is ready, or somebody must be told."""
        ready = self._receiver.wait(links, self.descriptors())
        self._tell_news()
        return ready

    def pump(self, descriptor: int, *, now: float) -> None:
        """Receive what waits in one socket, a bounded number of batches."""
        receiver = self._receiver
        for _ in range(ROUNDS_PER_PUMP):
            stop = receiver.pump(descriptor, now)
            while stop == WAITING:
                self._receive_exception(now)
                stop = receiver.pump(descriptor, now)
            if stop == GONE:
                check_gone(OSError(receiver.error, "writing to the TUN device"))
            elif stop == EMPTY:
                break
        receiver.finish()
        self._tap.publish()
        self._tell_news()

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Speak by *sockets* from now on and close the earlier ones."""
        super().use_sockets(sockets)
        arrivals = self._receiver.arrivals
        arrivals.set_sockets({one.fileno(): one.port for one in self._sockets})
        for slot in self._half.table.peers:
            self._mirror_peer(slot)
        self._follow_switches()

    # --- the exceptions ---

    def _receive_exception(self, now: float) -> None:
        """Let the reference take the batch that waits."""
        data, segment_size, path = self._receiver.batch
        half = self._half
        if is_channel_host(path.remote.host):
            half.drops[DropReason.CHANNEL_SOURCE] += 1
            return
        if len(data) == segment_size and data[:1] and data[0] not in IN_PLACE:
            message = bytes(data)
            if self._tap.sides:
                self._tap.note(UNDERLAY_IN, message, path=path)
            if half.admit(message, path.remote.host, path.remote.port, now=now):
                half.pass_up(Datagram(message, path))
            return
        self._arena.data[: len(data)] = data
        self._take_burst(len(data), segment_size, path, now)
        for slot in half.heard():
            self._mirror_peer(slot)
        self._finish_frame()

    def _write_refused(self, frame: bytes) -> None:
        # A device that is gone says so again at the next write.
        with contextlib.suppress(DeviceGoneError):
            self._write_singly(frame)

    def _send_refused(self, slot: int, data: bytearray, segment_size: int) -> None:
        """Let the reference's socket send what the kernel did not take as it was."""
        path = self._half.table.direct_path(slot)
        if path is not None:
            refused = self._sockets.send(Burst(path, segment_size, data))
            self._half.drops[DropReason.SEND_ERROR] += refused
        self._follow_switches()

    def _stop_merging(self, protocol: int) -> None:
        super()._stop_merging(protocol)
        self._follow_switches()

    def _follow_switches(self) -> None:
        merged = self._merged()
        self._receiver.set_merged(TCP in merged, UDP in merged)
        states = {sock.segmentation.state for sock in self._sockets}
        self._forwarder.can_segment = OFF not in states
        self._forwarder.takes_tails = states <= {FULL}

    def _tell_move(self, move: SetEndpoint | PreferSession) -> None:
        if isinstance(move, SetEndpoint):
            self._mirror_peer(move.slot)
        super()._tell_move(move)

    def _tell_news(self) -> None:
        """Hand over what the compiled way saw."""
        half, receiver = self._half, self._receiver
        for slot in receiver.resumed():
            half.note_resumed(slot)
        for slot, frame, size, path in receiver.control_frames():
            half.take_frame(slot, frame, size, path, now=receiver.now)
        for reason, count in zip(_REASONS, receiver.drops(), strict=True):
            half.drops[reason] += count
        for reason, count in zip(_RELAY_REASONS, self._forwarder.drops(), strict=True):
            half.drops[reason] += count

    # --- the mirror ---

    def _mirror(self, command: Command) -> None:
        table = self._half.table
        routes = cast(MirroredRoutes, table.routes)
        if routes is not self._routes:
            self._routes = routes
            tables = routes.prefixes.tables
            self._receiver.set_routes(tables[4], tables[6])
        channels = cast(MirroredChannels, table.channels)
        if channels is not self._channels:
            self._channels = channels
            self._forwarder.set_channels(channels.numbers)
        match command:
            case SharePrefix() | UnsharePrefix():
                self._mirror_shares(routes)
            case RemovePeer(slot):
                self._mirror_shares(routes)
                self._mirror_peer(slot)
            case SetLink():
                self._receiver.is_up = table.is_up
            case ProgramComplete():
                self._mirror_shares(routes)
                for slot in table.peers:
                    self._mirror_peer(slot)
            case SetEndpoint(slot, _):
                self._mirror_peer(slot)

    def _mirror_shares(self, routes: MirroredRoutes) -> None:
        shared = routes.prefixes.shared
        self._receiver.set_accepted({at: one.accept for at, one in shared.items()})

    def _mirror_peer(self, slot: int) -> None:
        peer = self._half.table.peers.get(slot)
        paths = () if peer is None else (peer.path, *peer.heard)
        self._receiver.set_origin(slot, [path for path in paths if path is not None])
        path = self._half.table.direct_path(slot)
        sock = None if path is None else self._sockets.find(path)
        self._forwarder.set_place(slot, path, -1 if sock is None else sock.fileno())
