"""The sending pump of the reference engine: TUN frames in, UDP datagrams out."""

import select
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshnode.codec.virtio import PLAIN
from meshnode.dataplane.interface import Burst, WorkerResources
from meshnode.dataplane.reference.device import TunDevice
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.reference.sockets import Sockets
from meshnode.dataplane.switches import Switch
from meshnode.dataplane.tap import Tap, open_tap
from meshnode.dataplane.traffic import EgressRecorder
from meshnode.dataplane.waiting import Waiter
from meshnode.errors import DropReason
from meshnode.forwarding import Command, Report

FRAMES_PER_PUMP = 32
"""Frames read before commands are looked at again; about 10 ms of full-size ones."""


class ReferenceEgress:
    """TUN → seal → UDP; an `interface.EgressEngine`.

    *options* are those of `SealHalf`, for an engine that has a faster way beside ours.
    """

    def __init__(
        self, resources: WorkerResources, *, tap: Tap | None = None, **options: Any
    ) -> None:
        self._tap = open_tap(resources) if tap is None else tap
        recorder = EgressRecorder(resources.traffic, resources.number)
        self._half = SealHalf(resources.generation, recorder, tap=self._tap, **options)
        queues = [TunDevice(queue) for queue in resources.queues]
        self._device = queues[0]
        self._queues = {queue.fileno(): queue for queue in queues}
        self._waiter = Waiter()
        self._offloads = resources.offloads
        self._sockets = Sockets((), self._offloads)
        self.use_sockets(resources.sockets)

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many packets were dropped, by reason, since the start."""
        return self._half.drops

    @property
    def switches(self) -> Sequence[Switch]:
        """How far the sockets segment what is sent."""
        return [sock.segmentation for sock in self._sockets]

    @property
    def relayed(self) -> tuple[int, int]:
        """Nothing: what goes on to others is ingress's."""
        return 0, 0

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command, and send what it sets free.

        Raises:
            DeviceGoneError: if our host is to be told something and has no device.
        """
        self._tap.refresh()
        self._half.apply(command, now=now)
        self._send(self._half.bursts_to_send())
        self._tap.publish()
        self._return_packets()

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors of the TUN device's queues."""
        return tuple(self._queues)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Sleep until a queue or one of *links* is ready; return those that are."""
        own = dict.fromkeys(self._queues, select.POLLIN)
        return self._waiter.wait({**links, **own})

    def pump(self, descriptor: int, *, now: float) -> None:
        """Send what waits in one queue, up to `FRAMES_PER_PUMP` frames."""
        half, read = self._half, self._queues[descriptor].read
        self._tap.refresh()
        for _ in range(FRAMES_PER_PUMP):
            frame = read()
            if frame is None:
                break
            half.send_frame(frame, now=now)
            # Full bursts at once: the peer opens them while we seal the next.
            self._send(half.full_bursts())
        self._send(half.bursts_to_send())
        self._tap.publish()
        self._return_packets()

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Speak by *sockets* from now on and close the earlier ones."""
        self._sockets.close()
        self._sockets = Sockets(sockets, self._offloads)

    def reports(self) -> list[Report]:
        """Return and forget what control must be told."""
        return self._half.reports()

    def close(self) -> None:
        """Close the device and the sockets."""
        self.use_sockets(())
        for queue in self._queues.values():
            queue.close()

    def _return_packets(self) -> None:
        for packet in self._half.packets_to_return():
            self._device.write((PLAIN, packet))

    def _send(self, bursts: Iterable[Burst]) -> None:
        for burst in bursts:
            self._half.drops[DropReason.SEND_ERROR] += self._sockets.send(burst)
