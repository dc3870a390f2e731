"""Everything of one interface that outlives its processes but the supervisor.

Whoever is started later gets duplicates of these descriptors, so it finds device,
port, links and memory as the one before it left them.
"""

import contextlib
import fcntl
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meshnode.codec.lifeline import Worker
from meshnode.dataplane.traffic import TrafficTable
from meshnode.errors import HostError
from meshnode.host.channels import seqpacket_pair
from meshnode.host.journal import Journal, open_journal
from meshnode.host.memory import create_shared
from meshnode.host.tun import TunDevice, create_tun, wanted_offload
from meshnode.host.udp import UdpPair, open_udp_pair
from meshnode.manage.paths import Directories, uapi_socket
from meshnode.node.shared import COUNTERS_SIZE, VAULT_BYTES
from meshnode.node.uapi_listener import listen_uapi
from meshnode.offloads import UNFORCED, Offloads
from meshnode.values import frozen
from meshnode.wireguard.constants import DEFAULT_MTU

_SIOCSIFMTU: Final = 0x8922
_IFREQ: Final = struct.Struct("16si20x")

_PROGRAM_BYTES: Final = 2 * 2**20
_HANDSHAKE_BYTES: Final = 2**20
_ROAMING_BYTES: Final = 2**18


@frozen
class Link:
    """Both ends of a link; none is ever closed, so its messages outlive processes."""

    control: socket.socket
    worker: socket.socket


@frozen
class Opening:
    """What an interface begins with: UDP port (0: a random one), mark, MTU in bytes.

    `api` is where commands find the node of a mesh, None for a bare interface.
    """

    port: int = 0
    fwmark: int = 0
    mtu: int = DEFAULT_MTU
    api: Path | None = None


@dataclass(slots=True)
class Resources:
    """The descriptors of one interface; `udp` is replaced when the port changes."""

    name: str
    journal: Journal
    tun: TunDevice
    udp: UdpPair
    uapi: socket.socket
    uapi_path: Path
    api: socket.socket | None
    programs: dict[Worker, Link]
    handshakes: Link
    roaming: dict[Worker, socket.socket]
    traffic_fd: int
    counters_fd: int
    vault_fd: int
    _cleanup: contextlib.ExitStack = field(repr=False)

    @classmethod
    def open(
        cls,
        name: str,
        directories: Directories,
        opening: Opening,
        offloads: Offloads = UNFORCED,
    ) -> "Resources":
        """Make everything, or nothing; *offloads* is what may be asked of the device.

        Raises:
            HostError: naming what is in the way.
        """
        with contextlib.ExitStack() as stack:
            journal = open_journal(name, directories.run)
            stack.callback(journal.close)
            stack.callback(journal.undo_all)
            tun = create_tun(name, wanted=wanted_offload(offloads))
            stack.callback(tun.close)
            _set_mtu(name, opening.mtu)
            udp = open_udp_pair(opening.port, fwmark=opening.fwmark)
            stack.callback(udp.close)
            path = uapi_socket(name, directories.uapi)
            uapi = stack.enter_context(listen_uapi(path, journal))
            api = None
            if opening.api is not None:
                api = stack.enter_context(listen_uapi(opening.api, journal))
            return cls(
                name=name,
                journal=journal,
                tun=tun,
                udp=udp,
                uapi=uapi,
                uapi_path=path,
                api=api,
                programs={worker: _link(_PROGRAM_BYTES, stack) for worker in Worker},
                handshakes=_link(_HANDSHAKE_BYTES, stack),
                roaming=_roaming(stack),
                traffic_fd=_memory("traffic", TrafficTable.SIZE, stack),
                counters_fd=_memory("counters", COUNTERS_SIZE, stack),
                vault_fd=_memory("vault", VAULT_BYTES, stack),
                _cleanup=stack.pop_all(),
            )

    def replace_udp(self, pair: UdpPair) -> None:
        """Let go of the sockets in use and keep *pair*."""
        self.udp.close()
        self.udp = pair

    def close(self) -> None:
        """Close everything and take back what the journal holds.

        Raises:
            HostError: if something could not be taken back.
        """
        self.udp.close()
        self._cleanup.close()


def _link(buffer_bytes: int, stack: contextlib.ExitStack) -> Link:
    ends = seqpacket_pair(buffer_bytes=buffer_bytes)
    return Link(*[stack.enter_context(end) for end in ends])


def _roaming(stack: contextlib.ExitStack) -> dict[Worker, socket.socket]:
    ends = seqpacket_pair(buffer_bytes=_ROAMING_BYTES)
    return {
        worker: stack.enter_context(end)
        for worker, end in zip(Worker, ends, strict=True)
    }


def _memory(name: str, size: int, stack: contextlib.ExitStack) -> int:
    descriptor = create_shared(f"meshnode-{name}", size)
    stack.callback(os.close, descriptor)
    return descriptor


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
