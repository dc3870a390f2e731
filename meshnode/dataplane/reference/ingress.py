"""The receiving pump of the reference engine: UDP datagrams in, TUN frames out."""

import contextlib
import errno
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshnode.channels import is_channel_host
from meshnode.codec.channels import CHANNEL_TYPE
from meshnode.codec.coalesce import Coalescer
from meshnode.codec.forwarding import encode_command
from meshnode.codec.tap import UNDERLAY_IN
from meshnode.codec.virtio import GSO_NONE, GSO_UDP_L4, PLAIN, TCP, UDP, segments
from meshnode.codec.wireguard import DATA_TYPES
from meshnode.crypto.transport import Arena
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.reference.device import TunDevice
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.sockets import Sockets
from meshnode.dataplane.reference.udp import RECEIVE_BYTES, UdpSocket
from meshnode.dataplane.switches import Switch
from meshnode.dataplane.tap import Tap, open_tap
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.dataplane.waiting import Waiter
from meshnode.errors import DropReason
from meshnode.forwarding import Command, PreferSession, Report, SetEndpoint
from meshnode.offloads import FULL, READS, TUN_TCP, TUN_UDP
from meshnode.types import Datagram, Path

RECEIVES_PER_PUMP = 32
"""Receives before commands are looked at again; about 10 ms of full ones."""

IN_PLACE = DATA_TYPES | {CHANNEL_TYPE}
"""The types that are handled where they were received, many at a time."""


class ReferenceIngress:
    """UDP → open → TUN; an `interface.IngressEngine`.

    *options* are those of `OpenHalf`, for an engine that has a faster way beside ours.
    """

    def __init__(
        self, resources: WorkerResources, *, tap: Tap | None = None, **options: Any
    ) -> None:
        self._tap = open_tap(resources) if tap is None else tap
        recorder = IngressRecorder(resources.traffic, resources.number)
        self._half = OpenHalf(
            resources.generation,
            recorder,
            workers=resources.traffic.workers,
            tap=self._tap,
            **options,
        )
        self._offloads = offloads = resources.offloads
        self._merging = {
            TCP: Switch(TUN_TCP, offloads.tun_tcp),
            UDP: Switch(TUN_UDP, offloads.tun_udp),
        }
        self._coalescer = Coalescer(self._merged())
        self._device = TunDevice(resources.queues[0])
        self._arena = Arena(RECEIVE_BYTES)
        self._roaming = resources.roaming
        for link in self._roaming:
            link.setblocking(False)
        self._waiter = Waiter()
        self._sockets = Sockets((), offloads)
        self._by_descriptor: dict[int, UdpSocket] = {}
        self.use_sockets(resources.sockets)

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many packets were dropped, by reason, since the start."""
        return self._half.drops

    @property
    def switches(self) -> Sequence[Switch]:
        """How far the sockets coalesce what comes, and we what the device gets.

        And how far they segment what goes on to others.
        """
        coalescing = [sock.coalescing for sock in self._sockets]
        segmentation = [sock.segmentation for sock in self._sockets]
        return [*coalescing, *self._merging.values(), *segmentation]

    @property
    def relayed(self) -> tuple[int, int]:
        """How many datagrams went on to others, and their bytes together."""
        return self._half.relayed

    def obey_first(self, catch_up: Callable[[], object]) -> None:
        """Call *catch_up* before a session is taken for unknown."""
        self._half.catch_up = catch_up

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command."""
        self._half.apply(command, now=now)

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors of the UDP sockets."""
        return tuple(self._by_descriptor)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Sleep until a socket or one of *links* is ready; return those that are."""
        return self._waiter.wait(
            {**links, **dict.fromkeys(self._by_descriptor, select.POLLIN)}
        )

    def pump(self, descriptor: int, *, now: float) -> None:
        """Receive what waits in one socket, up to `RECEIVES_PER_PUMP` times."""
        sock = self._by_descriptor[descriptor]
        half, arena = self._half, self._arena
        self._tap.refresh()
        for _ in range(RECEIVES_PER_PUMP):
            received = sock.receive_into(arena)
            if received is None:
                break
            length, segment_size, origin = received
            if is_channel_host(origin[0][0]):
                half.drops[DropReason.CHANNEL_SOURCE] += 1
                continue
            if length == segment_size and arena.data[0] not in IN_PLACE:
                # A path costs more than what most of a flood deserves.
                data = bytes(memoryview(arena.data)[:length])
                if self._tap.sides:
                    self._tap.note(UNDERLAY_IN, data, path=sock.path_of(origin))
                if half.admit(data, *origin[0][:2], now=now):
                    half.pass_up(Datagram(data, sock.path_of(origin)))
                continue
            self._take_burst(length, segment_size, sock.path_of(origin), now)
        self._finish_frame()
        self._tap.publish()

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Receive by *sockets* from now on and close the earlier ones."""
        self._sockets.close()
        # Who receives does not wait until what it forwards finds room.
        self._sockets = Sockets(sockets, self._offloads, wait_ms=0)
        self._by_descriptor = {sock.fileno(): sock for sock in self._sockets}

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

    def _take_burst(
        self, length: int, segment_size: int, path: Path, now: float
    ) -> None:
        """Open what is in the arena, and deliver it once egress knows of moves."""
        self._half.receive_burst(self._arena, length, segment_size, path, now=now)
        for burst in self._half.bursts_to_forward():
            refused = self._sockets.send(burst)
            self._half.drops[DropReason.SEND_ERROR] += refused
        for move in self._half.moves():
            self._tell_move(move)
        for packet in self._half.packets_to_deliver():
            self._coalescer.add(packet)
        self._write_frames()

    def _tell_move(self, move: SetEndpoint | PreferSession) -> None:
        if not self._roaming:
            return
        message = encode_command(move)
        for link in self._roaming:
            # A full link loses nothing: control tells egress the same, later.
            with contextlib.suppress(OSError):
                link.send(message)

    def _finish_frame(self) -> None:
        self._coalescer.finish()
        self._write_frames()

    def _write_frames(self) -> None:
        for frame in self._coalescer.frames():
            code = self._device.write(frame)
            if code == errno.EINVAL and frame[0][1] != GSO_NONE:
                self._write_singly(b"".join(frame))
            elif code:
                self._half.drops[DropReason.DEVICE_DOWN] += 1

    def _write_singly(self, frame: bytes) -> None:
        """Write the packets of a refused frame; if they pass, learn from it."""
        codes = [self._device.write((PLAIN, packet)) for packet in segments(frame)]
        refused = len(codes) - codes.count(0)
        self._half.drops[DropReason.DEVICE_DOWN] += refused
        if not refused:
            self._stop_merging(UDP if frame[1] == GSO_UDP_L4 else TCP)

    def _stop_merging(self, protocol: int) -> None:
        name = "UDP" if protocol == UDP else "TCP"
        reason = f"frames of many {name} packets are refused; receiving is slower"
        self._merging[protocol].lower(READS, reason)
        self._coalescer.protocols = self._merged()

    def _merged(self) -> tuple[int, ...]:
        """Return the protocols whose packets the device takes many in a frame."""
        return tuple(p for p, one in self._merging.items() if one.state == FULL)
