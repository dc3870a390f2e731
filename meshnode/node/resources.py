"""Everything of one interface that outlives its processes but the supervisor.

Whoever is started later gets duplicates of these descriptors, so it finds device,
port, links and memory as the one before it left them.
"""

import contextlib
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from meshnode.codec.lifeline import Worker
from meshnode.dataplane.traffic import TrafficTable
from meshnode.errors import HostError
from meshnode.host.channels import seqpacket_pair
from meshnode.host.journal import Journal, open_journal
from meshnode.host.memory import create_shared
from meshnode.host.tun import TunDevice, create_tun, set_mtu
from meshnode.host.udp import UdpPair, open_udp_pair
from meshnode.manage.paths import uapi_socket
from meshnode.node.uapi_listener import listen_uapi
from meshnode.node.vault import VAULT_BYTES
from meshnode.wireguard.constants import DEFAULT_MTU

_PROGRAM_BYTES: Final = 2 * 2**20
_HANDSHAKE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Link:
    """Both ends of a link; none is ever closed, so its messages outlive processes."""

    control: socket.socket
    worker: socket.socket

    @classmethod
    def open(cls, buffer_bytes: int) -> "Link":
        """Make a link that holds that much in each direction; raises `HostError`."""
        return cls(*seqpacket_pair(buffer_bytes=buffer_bytes))


@dataclass(slots=True)
class Resources:
    """The descriptors of one interface; `udp` is replaced when the port changes."""

    name: str
    journal: Journal
    tun: TunDevice
    udp: UdpPair
    uapi: socket.socket
    uapi_path: Path
    programs: dict[Worker, Link]
    handshakes: Link
    traffic_fd: int
    vault_fd: int
    _cleanup: contextlib.ExitStack = field(repr=False)

    @classmethod
    def open(cls, name: str, *, run_dir: Path) -> "Resources":
        """Make everything, or nothing.

        Raises:
            HostError: naming what is in the way.
        """
        with contextlib.ExitStack() as stack:
            journal = open_journal(name, run_dir)
            stack.callback(journal.close)
            stack.callback(journal.undo_all)
            tun = create_tun(name)
            stack.callback(tun.close)
            set_mtu(name, DEFAULT_MTU)
            udp = open_udp_pair(0)
            path = uapi_socket(name)
            uapi = stack.enter_context(listen_uapi(path, journal))
            opened = cls(
                name=name,
                journal=journal,
                tun=tun,
                udp=udp,
                uapi=uapi,
                uapi_path=path,
                programs={worker: Link.open(_PROGRAM_BYTES) for worker in Worker},
                handshakes=Link.open(_HANDSHAKE_BYTES),
                traffic_fd=create_shared("meshnode-traffic", TrafficTable.SIZE),
                vault_fd=create_shared("meshnode-vault", VAULT_BYTES),
                _cleanup=stack.pop_all(),
            )
        return opened

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
        for link in (*self.programs.values(), self.handshakes):
            link.control.close()
            link.worker.close()
        os.close(self.traffic_fd)
        os.close(self.vault_fd)
        self._cleanup.close()
