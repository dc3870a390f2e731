"""What every data-plane engine offers to the worker that runs it.

A worker owns one engine object, egress or ingress, and drives it so:

* `wait` for the links that bring commands, and for packets; an engine may carry packets
  meanwhile as long as nobody else has to know;
* `apply` each command as it comes; it takes effect at once, packets included;
* call `pump` for each of `descriptors` that is ready; a pump does a bounded amount of
  work, so commands are never shut out for long;
* after that, send on what `reports` (and, for ingress, `handshakes`) hand over.

Nothing else calls back, sleeps or keeps a deadline, so an idle worker never wakes.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from meshnode.dataplane.switches import Switch
from meshnode.dataplane.traffic import TrafficTable
from meshnode.errors import DropReason, HostError
from meshnode.forwarding import Command, Report
from meshnode.offloads import UNFORCED, Offloads
from meshnode.types import Datagram, Path
from meshnode.values import frozen

MAX_WAITING_FRAMES: Final = 256
"""Control frames that a worker keeps for control; more are dropped and counted."""


class DeviceGoneError(HostError):
    """The TUN device was deleted; the worker has nothing left to do."""


@frozen
class Burst:
    """Equal-sized datagrams for one path, one after the other; the last may be shorter.

    `data` holds 1–64 datagrams of `segment_size` bytes, 65,507 bytes at most. It
    belongs to the receiver: nobody writes it again. A probe is one datagram that goes
    whole or not at all, never in fragments.
    """

    path: Path
    segment_size: int
    data: bytearray
    is_probe: bool = False

    @property
    def count(self) -> int:
        """How many datagrams there are."""
        return -(-len(self.data) // self.segment_size)

    @property
    def has_short_tail(self) -> bool:
        """Whether the last of several is shorter."""
        return self.count > 1 and len(self.data) % self.segment_size != 0

    def without_tail(self) -> tuple["Burst", "Burst"]:
        """Return the equal datagrams, and the shorter one at the end."""
        at = len(self.data) // self.segment_size * self.segment_size
        tail = self.data[at:]
        return (
            Burst(self.path, self.segment_size, self.data[:at]),
            Burst(self.path, len(tail), tail),
        )

    def datagrams(self) -> list[bytes]:
        """Return the single datagrams, as the wire carries them."""
        size = self.segment_size
        return [
            bytes(self.data[at : at + size]) for at in range(0, len(self.data), size)
        ]


class Engine(Protocol):
    """What both directions have in common."""

    @property
    def drops(self) -> Mapping[DropReason, int]:
        """How many packets were dropped, by reason, since the start."""

    @property
    def switches(self) -> Sequence[Switch]:
        """How far this direction uses the offloads of its sockets and its device."""

    @property
    def relayed(self) -> tuple[int, int]:
        """How many datagrams were forwarded for others since the start, and bytes."""

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command of control; *now* is boottime seconds everywhere.

        Raises:
            DeviceGoneError: if the TUN device no longer exists and was needed.
        """

    def descriptors(self) -> Sequence[int]:
        """Return the descriptors that packets come by."""

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Sleep until there is something to do; return the descriptors that are ready.

        Args:
            links: what to wait for beside `descriptors`: poll events by descriptor.

        Returns:
            Ready ones of both kinds. None of them if there are only reports.
        """

    def pump(self, descriptor: int, *, now: float) -> None:
        """Handle one bounded batch from *descriptor*, which was ready.

        Raises:
            DeviceGoneError: if the TUN device no longer exists.
        """

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Speak by these UDP sockets from now on and close the earlier ones.

        Of an IP version the first is the node's own, by which all leaves whose path
        does not name another by `Source.port`.
        """

    def reports(self) -> list[Report]:
        """Return and forget what control must be told, in order."""

    def close(self) -> None:
        """Close the device and the sockets."""


class EgressEngine(Engine, Protocol):
    """TUN → seal → UDP."""


class IngressEngine(Engine, Protocol):
    """UDP → open → TUN."""

    def obey_first(self, catch_up: Callable[[], object]) -> None:
        """Call *catch_up*, to apply waiting commands, before a session is unknown.

        A session is announced before its first datagram can arrive, but the datagram
        may be read first.
        """

    def handshakes(self) -> list[Datagram]:
        """Return and forget the handshake messages for control, in order."""


@frozen
class WorkerResources:
    """What an engine is made from.

    `generation` is the worker's own; `queues` are descriptors of the TUN device, opened
    with IFF_VNET_HDR and non-blocking: egress reads from all of them, and what is
    written goes by the first. They and the sockets then belong to the engine.
    `roaming` are ingress's links to all egress workers: see `worker`. `offloads` says
    what may be used; of the device's, "auto" means that the device has agreed to it.
    `number` is the worker's own in its direction. `sessions` is what several workers
    share of each session (`shared_sessions`), None if there is one of each direction.
    `tap` is the worker's own ring (`codec.tap`), None where nobody captures.
    """

    generation: int
    queues: tuple[int, ...]
    sockets: tuple[socket.socket, ...]
    traffic: TrafficTable
    roaming: tuple[socket.socket, ...] = ()
    offloads: Offloads = UNFORCED
    number: int = 0
    sessions: memoryview | None = None
    tap: memoryview | None = None


class EngineFactory(Protocol):
    """Makes the two objects of one kind of engine."""

    def egress(self, resources: WorkerResources) -> EgressEngine:
        """Return the sending direction."""

    def ingress(self, resources: WorkerResources) -> IngressEngine:
        """Return the receiving direction."""
