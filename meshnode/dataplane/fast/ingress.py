"""The receiving pump of the fast engine."""

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from meshnode.codec.coalesce import Coalescer
from meshnode.codec.forwarding import encode_command
from meshnode.codec.wireguard import DATA_TYPE
from meshnode.crypto.transport import Arena
from meshnode.dataplane.fast.mirror import MirroredRoutes, MirroredSessions
from meshnode.dataplane.fast.receiving import DROPS, EMPTY, GONE, WAITING, Receiver
from meshnode.dataplane.fast.sessions import OpenSession
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.reference.device import TunDevice, check_gone
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.udp import UdpSocket
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import DropReason
from meshnode.forwarding import (
    Command,
    ProgramComplete,
    RemovePeer,
    Report,
    SetEndpoint,
    SetLink,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.types import Datagram
from meshnode.wireguard.constants import MAX_PEERS

ROUNDS_PER_PUMP = 2
BATCHES_PER_PUMP = 32 * ROUNDS_PER_PUMP
"""Batches taken before commands are looked at again."""

_REASONS = tuple([DropReason[name] for name in DROPS])


class FastIngress:
    """UDP → open → TUN; an `interface.IngressEngine`."""

    def __init__(self, resources: WorkerResources) -> None:
        self._half = OpenHalf(
            resources.generation,
            IngressRecorder(resources.traffic),
            make_session=OpenSession,
            make_routes=MirroredRoutes,
        )
        self._sessions = MirroredSessions()
        self._half.table.sessions = cast(dict[int, Any], self._sessions)
        self._coalescer = Coalescer(udp=resources.has_udp_offload)
        self._device = TunDevice(resources.device)
        self._receiver = Receiver(
            self._device.fileno(), MAX_PEERS, resources.has_udp_offload
        )
        self._receiver.set_sessions(self._sessions.table)
        self._routes: object = None
        self._roaming = resources.roaming
        if self._roaming is not None:
            self._roaming.setblocking(False)
        self._sockets: dict[int, UdpSocket] = {}
        self.use_sockets(resources.sockets)

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many packets were dropped, by reason, since the start."""
        return self._half.drops

    def obey_first(self, catch_up: Callable[[], object]) -> None:
        """Call *catch_up* before a session is taken for unknown."""
        self._half.catch_up = catch_up

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command."""
        self._half.apply(command, now=now)
        self._mirror(command)

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors of the UDP sockets."""
        return tuple(self._sockets)

    def pump(self, descriptor: int, *, now: float) -> None:
        """Receive what waits in one socket, a bounded number of batches."""
        receiver = self._receiver
        sock = self._sockets[descriptor]
        for _ in range(ROUNDS_PER_PUMP):
            stop = receiver.pump(descriptor, now)
            while stop == WAITING:
                self._receive_exception(sock, now)
                stop = receiver.pump(descriptor, now)
            if stop == GONE:
                check_gone(OSError(receiver.error, "writing to the TUN device"))
            elif stop == EMPTY:
                break
        self._note(now)

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Receive by *sockets* from now on and close the earlier ones."""
        for earlier in self._sockets.values():
            earlier.close()
        opened = [UdpSocket(sock) for sock in sockets]
        self._sockets = {sock.fileno(): sock for sock in opened}

    def handshakes(self) -> list[Datagram]:
        """Return and forget the handshake messages for control."""
        return self._half.handshakes()

    def reports(self) -> list[Report]:
        """Return and forget what control must be told."""
        return self._half.reports()

    def close(self) -> None:
        """Close the device and the sockets."""
        self.use_sockets(())
        self._device.close()

    # --- the exceptions ---

    def _receive_exception(self, sock: UdpSocket, now: float) -> None:
        """Let the reference take the batch that waits."""
        data, segment_size, path = self._receiver.batch
        half = self._half
        if len(data) == segment_size and data[:1] and data[0] != DATA_TYPE:
            message = bytes(data)
            if half.admit(message, path.remote.host, path.remote.port, now=now):
                half.pass_up(Datagram(message, path))
            return
        arena = Arena(len(data))
        arena.data[:] = data
        half.receive_burst(arena, len(data), segment_size, path, now=now)
        self._tell_moves()
        for packet in half.packets_to_deliver():
            self._coalescer.add(packet)
        self._coalescer.finish()
        for frame in self._coalescer.frames():
            if not self._device.write(frame):
                half.drops[DropReason.DEVICE_DOWN] += 1

    def _tell_moves(self) -> None:
        for move in self._half.moves():
            if isinstance(move, SetEndpoint):
                self._receiver.set_origin(move.slot, move.path)
            if self._roaming is not None:
                # A full link loses nothing: control tells egress the same, later.
                with contextlib.suppress(OSError):
                    self._roaming.send(encode_command(move))

    def _note(self, now: float) -> None:
        """Hand over what the compiled way saw."""
        half = self._half
        for facts in self._receiver.received():
            half.note_received(*facts)
        for slot, frame in self._receiver.control_frames():
            half.take_frame(slot, frame, now=now)
        for reason, count in zip(_REASONS, self._receiver.drops(), strict=True):
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
        self._receiver.set_origin(slot, None if peer is None else peer.path)
