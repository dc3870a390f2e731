"""The receiving pump of the fast engine."""

import contextlib
import select
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from meshnode.channels import is_channel_host
from meshnode.codec.virtio import TCP, UDP
from meshnode.dataplane.fast.facts import Recorder
from meshnode.dataplane.fast.mirror import (
    MirroredRoutes,
    MirroredSessions,
    is_plain,
)
from meshnode.dataplane.fast.receiving import DROPS, EMPTY, GONE, WAITING, Receiver
from meshnode.dataplane.fast.sessions import OpenSession, SessionMemory
from meshnode.dataplane.interface import DeviceGoneError, WorkerResources
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
from meshnode.types import Datagram

ROUNDS_PER_PUMP = 2
BATCHES_PER_PUMP = 32 * ROUNDS_PER_PUMP
"""Batches taken before commands are looked at again."""

_REASONS = tuple([DropReason[name] for name in DROPS])


class FastIngress(ReferenceIngress):
    """UDP → open → TUN: the reference's pump, with the compiled way before it."""

    def __init__(self, resources: WorkerResources) -> None:
        memory = None
        if resources.sessions is not None:
            holder = ingress_holder(resources.number)
            memory = SessionMemory(resources.sessions, holder)
        super().__init__(
            resources,
            make_session=partial(OpenSession, memory=memory),
            make_routes=MirroredRoutes,
        )
        sessions = MirroredSessions()
        self._half.table.sessions = cast(dict[int, Any], sessions)
        self._receiver = Receiver(
            resources.queues[0],
            Recorder(resources.traffic, False, resources.number),
            self._write_refused,
        )
        self._follow_switches()
        self._receiver.set_sessions(sessions.table)
        self._routes: object = None

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command."""
        super().apply(command, now=now)
        self._mirror(command)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Carry packets until one of *links* is ready, or somebody must be told."""
        own = [sock.fileno() for sock in self._sockets if not sock.port]
        beside = {sock.fileno(): select.POLLIN for sock in self._sockets if sock.port}
        ready = self._receiver.wait({**links, **beside}, tuple(own))
        self._tell_news()
        return ready

    def pump(self, descriptor: int, *, now: float) -> None:
        """Receive what waits in one socket, a bounded number of batches."""
        if self._by_descriptor[descriptor].port:
            super().pump(descriptor, now=now)
            return
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
        self._tell_news()

    # --- the exceptions ---

    def _receive_exception(self, now: float) -> None:
        """Let the reference take the batch that waits."""
        # Before a peer moves: what came earlier is told with where it was.
        self._tell_news()
        data, segment_size, path = self._receiver.batch
        half = self._half
        if is_channel_host(path.remote.host):
            half.drops[DropReason.CHANNEL_SOURCE] += 1
            return
        if len(data) == segment_size and data[:1] and data[0] not in IN_PLACE:
            message = bytes(data)
            if half.admit(message, path.remote.host, path.remote.port, now=now):
                half.pass_up(Datagram(message, path))
            return
        self._arena.data[: len(data)] = data
        self._take_burst(len(data), segment_size, path, now)
        self._finish_frame()

    def _write_refused(self, frame: bytes) -> None:
        # A device that is gone says so again at the next write.
        with contextlib.suppress(DeviceGoneError):
            self._write_singly(frame)

    def _stop_merging(self, protocol: int) -> None:
        super()._stop_merging(protocol)
        self._follow_switches()

    def _follow_switches(self) -> None:
        merged = self._merged()
        self._receiver.set_merged(TCP in merged, UDP in merged)

    def _tell_move(self, move: SetEndpoint | PreferSession) -> None:
        if isinstance(move, SetEndpoint):
            self._mirror_peer(move.slot)
        super()._tell_move(move)

    def _tell_news(self) -> None:
        """Hand over what the compiled way saw."""
        half, receiver = self._half, self._receiver
        for slot in receiver.resumed():
            half.note_resumed(slot)
        for slot, frame, size in receiver.control_frames():
            half.take_frame(slot, frame, size, now=receiver.now)
        for reason, count in zip(_REASONS, receiver.drops(), strict=True):
            half.drops[reason] += count

    # --- the mirror ---

    def _mirror(self, command: Command) -> None:
        table = self._half.table
        routes = cast(MirroredRoutes, table.routes)
        if routes is not self._routes:
            self._routes = routes
            tables = routes.prefixes.tables
            self._receiver.set_routes(tables[4], tables[6])
        match command:
            case SharePrefix() | UnsharePrefix():
                self._mirror_shares(routes)
            case RemovePeer(slot):
                self._mirror_shares(routes)
                self._receiver.set_origin(slot, None)
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
        path = None if peer is None else peer.path
        is_usual = path is not None and is_plain(path)
        self._receiver.set_origin(slot, path if is_usual else None)
