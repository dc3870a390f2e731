"""Everything of one interface that outlives its processes but the supervisor.

Whoever is started later gets duplicates of these descriptors, so it finds device,
port, links and memory as the one before it left them.
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meshnode.codec.lifeline import Direction, Worker, workers_of
from meshnode.codec.tap import tap_bytes
from meshnode.dataplane.shared_sessions import SESSIONS_BYTES
from meshnode.dataplane.traffic import table_bytes
from meshnode.errors import HostError
from meshnode.host.channels import seqpacket_pair
from meshnode.host.journal import Journal, open_journal
from meshnode.host.linkwatch import LinkWatch
from meshnode.host.memory import create_shared
from meshnode.host.streams import open_listener
from meshnode.host.tun import (
    Offload,
    TunDevice,
    create_tun,
    open_inlet,
    wanted_offload,
)
from meshnode.host.udp import UdpPair, open_udp_pairs
from meshnode.manage.paths import Directories, uapi_socket
from meshnode.node.forward_listeners import call_in, open_forward
from meshnode.node.shared import VAULT_BYTES, counters_bytes
from meshnode.node.tasks import NO_DESCRIPTOR
from meshnode.node.uapi_listener import listen_uapi
from meshnode.offloads import UNFORCED, Offloads
from meshnode.proxy.forwards import Forward, Way
from meshnode.types import Endpoint
from meshnode.values import frozen
from meshnode.wireguard.constants import DEFAULT_MTU

_SIOCSIFMTU: Final = 0x8922
_IFREQ: Final = struct.Struct("16si20x")

_PROGRAM_BYTES: Final = 2 * 2**20
_HANDSHAKE_BYTES: Final = 2**20
_ROAMING_BYTES: Final = 2**18
_TLS_BYTES: Final = 2**18
_PROXY_BYTES: Final = 2**18
_CARRIER_BYTES: Final = 2**18
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_log = logging.getLogger("meshnode.node")


@frozen
class Link:
    """Both ends of a link; none is ever closed, so its messages outlive processes."""

    control: socket.socket
    worker: socket.socket


@frozen
class Rootless:
    """That no privilege is to be used, and what is forwarded then."""

    forwards: tuple[Forward, ...] = ()


def rootless(forward: Sequence[str], publish: Sequence[str]) -> Rootless:
    """Return what a user asked for by options; raises `UsageError`."""
    ways = ((Way.INTO, forward), (Way.OUT_OF, publish))
    return Rootless(
        tuple(Forward.from_option(way, text) for way, texts in ways for text in texts)
    )


@frozen
class Opening:
    """What an interface begins with: UDP port (0: a random one), mark, MTU in bytes.

    `api` is where commands find the node of a mesh, None for a bare interface;
    `workers` is how many processes carry packets in each direction. At `tls` clients
    are served by TLS, as far as nobody else listens there. With `rootless` the
    interface is in a network of our user's own.
    """

    port: int = 0
    fwmark: int = 0
    mtu: int = DEFAULT_MTU
    api: Path | None = None
    workers: int = 1
    tls: tuple[Endpoint, ...] = ()
    rootless: Rootless | None = None


@frozen
class Roaming:
    """The link on which all ingress workers tell one egress worker of moves."""

    ingress: socket.socket
    egress: socket.socket


QUEUES: Final = 8
"""Queues of the TUN device for each egress worker.

The kernel puts the packets of a flow in one of them, and drops what finds it full. So a
flow that overflows its queue costs one in eight of the others something, and no more.
"""


@dataclass(slots=True)
class Resources:
    """The descriptors of one interface; `udp` is replaced when the port changes.

    A worker has the pair of sockets of its number. An egress worker has `QUEUES` queues
    of the TUN device, and ingress writes to it by `inlet_fd`. Only several workers of
    each direction have a `sessions_fd`. `roaming` is by the number of the egress one.
    `beside` are the descriptors of UDP sockets on other ports, by port. A rootless
    node's device is in the network `namespace_fd`; `forwards` have `forward_listeners`.
    """

    name: str
    journal: Journal
    tun: TunDevice
    inlet_fd: int
    udp: tuple[UdpPair, ...]
    uapi: socket.socket
    uapi_path: Path
    api: socket.socket | None
    programs: dict[Worker, Link]
    handshakes: Link
    roaming: tuple[Roaming, ...]
    traffic_fd: int
    counters_fd: int
    sessions_fd: int
    tap_fd: int
    vault_fd: int
    tls: Link
    carrier: Link
    listeners: tuple[socket.socket, ...]
    tls_problem: str
    namespace_fd: int
    forwards: tuple[Forward, ...]
    forward_listeners: tuple[socket.socket, ...]
    proxy: Link
    _cleanup: contextlib.ExitStack = field(repr=False)
    beside: dict[int, int] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        name: str,
        directories: Directories,
        opening: Opening,
        offloads: Offloads = UNFORCED,
        namespace_fd: int = NO_DESCRIPTOR,
    ) -> "Resources":
        """Make everything, or nothing; *offloads* is what may be asked of the device.

        The device comes into the network *namespace_fd*, which is ours from now on.

        Raises:
            HostError: naming what is in the way.
        """
        with contextlib.ExitStack() as stack:
            if namespace_fd != NO_DESCRIPTOR:
                stack.callback(os.close, namespace_fd)
            journal = open_journal(name, directories.run)
            stack.callback(journal.close)
            stack.callback(journal.undo_all)
            count = opening.workers
            wanted = wanted_offload(offloads)
            tun, inlet_fd = call_in(
                namespace_fd, lambda: _device(name, QUEUES * count, wanted, opening.mtu)
            )
            stack.callback(tun.close)
            stack.callback(os.close, inlet_fd)
            sessions_fd = NO_DESCRIPTOR
            if count > 1:
                sessions_fd = _memory("sessions", SESSIONS_BYTES, stack)
            udp = open_udp_pairs(count, opening.port, fwmark=opening.fwmark)
            for pair in udp:
                stack.callback(pair.close)
            path = uapi_socket(name, directories.uapi)
            uapi = stack.enter_context(listen_uapi(path, journal))
            api = None
            if opening.api is not None:
                api = stack.enter_context(listen_uapi(opening.api, journal))
            listeners, tls_problem = _listen(opening, stack)
            forwards = () if opening.rootless is None else opening.rootless.forwards
            forward_listeners = tuple(
                stack.enter_context(open_forward(one, namespace_fd)) for one in forwards
            )
            return cls(
                name=name,
                journal=journal,
                tun=tun,
                inlet_fd=inlet_fd,
                udp=udp,
                uapi=uapi,
                uapi_path=path,
                api=api,
                programs={
                    one: _link(_PROGRAM_BYTES, stack) for one in workers_of(count)
                },
                handshakes=_link(_HANDSHAKE_BYTES, stack),
                roaming=tuple(_roaming(stack) for _ in range(count)),
                traffic_fd=_memory("traffic", table_bytes(count), stack),
                counters_fd=_memory("counters", counters_bytes(count), stack),
                sessions_fd=sessions_fd,
                tap_fd=_memory("tap", tap_bytes(count), stack),
                vault_fd=_memory("vault", VAULT_BYTES, stack),
                tls=_link(_TLS_BYTES, stack),
                carrier=_link(_CARRIER_BYTES, stack),
                listeners=listeners,
                tls_problem=tls_problem,
                namespace_fd=namespace_fd,
                forwards=forwards,
                forward_listeners=forward_listeners,
                proxy=_link(_PROXY_BYTES, stack),
                _cleanup=stack.pop_all(),
            )

    def watch_link(self) -> LinkWatch:
        """Return a watch of the device, in the network where it was made."""
        return call_in(self.namespace_fd, lambda: LinkWatch(self.tun.fds[0]))

    def queues_of(self, worker: Worker) -> tuple[int, ...]:
        """Return the descriptors of the TUN device that *worker* shall use."""
        if worker.direction is Direction.INGRESS:
            return (self.inlet_fd,)
        first = QUEUES * worker.number
        return self.tun.fds[first : first + QUEUES]

    def replace_udp(self, pairs: tuple[UdpPair, ...]) -> None:
        """Let go of the sockets in use and keep *pairs*."""
        self._close_udp()
        self.udp = pairs

    def keep_beside(self, port: int, descriptor: int) -> None:
        """Keep a UDP socket on *port* that control opened."""
        self.drop_beside(port)
        self.beside[port] = descriptor

    def drop_beside(self, port: int) -> None:
        """Close it."""
        if port in self.beside:
            os.close(self.beside.pop(port))

    def close(self) -> None:
        """Close everything and take back what the journal holds.

        Raises:
            HostError: if something could not be taken back.
        """
        self._close_udp()
        for port in tuple(self.beside):
            self.drop_beside(port)
        self._cleanup.close()

    def _close_udp(self) -> None:
        for pair in self.udp:
            pair.close()


def _listen(
    opening: Opening, stack: contextlib.ExitStack
) -> tuple[tuple[socket.socket, ...], str]:
    """Return where clients come by TLS, or why nowhere: no node fails of that."""
    listeners: list[socket.socket] = []
    for place in opening.tls:
        try:
            listeners.append(open_listener(place, fwmark=opening.fwmark))
        except HostError as error:
            if place.version == 6 and error.errno in _NO_FAMILY:
                continue
            for one in listeners:
                one.close()
            problem = f"nobody is served by TLS: {error}"
            _log.warning("%s", problem)
            return (), problem
    for one in listeners:
        stack.enter_context(one)
    return tuple(listeners), ""


def _link(buffer_bytes: int, stack: contextlib.ExitStack) -> Link:
    ends = seqpacket_pair(buffer_bytes=buffer_bytes)
    return Link(*[stack.enter_context(end) for end in ends])


def _roaming(stack: contextlib.ExitStack) -> Roaming:
    ends = seqpacket_pair(buffer_bytes=_ROAMING_BYTES)
    return Roaming(*[stack.enter_context(end) for end in ends])


def _memory(name: str, size: int, stack: contextlib.ExitStack) -> int:
    descriptor = create_shared(f"meshnode-{name}", size)
    stack.callback(os.close, descriptor)
    return descriptor


def _device(name: str, queues: int, wanted: Offload, mtu: int) -> tuple[TunDevice, int]:
    """Return the device and a descriptor to write to it by, or nothing is left."""
    with contextlib.ExitStack() as stack:
        tun = create_tun(name, queues=queues, wanted=wanted)
        stack.callback(tun.close)
        _set_mtu(name, mtu)
        inlet_fd = open_inlet(tun)
        stack.pop_all()
    return tun, inlet_fd


def _set_mtu(name: str, mtu: int) -> None:
    # Not by netlink: its library would stay in the supervisor's memory for ever.
    request = _IFREQ.pack(name.encode("ascii"), mtu)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFMTU, request)
    except OSError as error:
        raise HostError(
            f"cannot set the MTU of {name}: {error.strerror}", errno=error.errno or 5
        ) from error
