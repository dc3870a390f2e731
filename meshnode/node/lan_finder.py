"""The Trio shell of LAN discovery: its sockets and its timer."""

import logging
import socket
import time
from collections.abc import Callable
from typing import Final

import trio

from meshnode.host.addresses import lan_links
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.multicast import GroupSockets, receive_from_group
from meshnode.mesh.lan_discovery import GROUP4, GROUP6, LanDiscovery
from meshnode.types import Endpoint

_READS: Final = 64
"""Datagrams of one socket that are read before others have their turn."""

_log = logging.getLogger("meshnode.node")


class LanFinder:
    """Announces us on the host's links, and tells whom it hears there.

    Args:
        discovery: decides everything.
        interface: the overlay's, which is no link.
        fwmark: of what we send.
        on_found: called with a member's key and where it is, nowhere if it is gone.
    """

    def __init__(
        self,
        discovery: LanDiscovery,
        *,
        interface: str,
        fwmark: int,
        on_found: Callable[[bytes, tuple[Endpoint, ...]], None],
    ) -> None:
        self._discovery = discovery
        self._interface = interface
        self._fwmark = fwmark
        self._on_found = on_found
        self._groups: dict[int, GroupSockets] = {}
        self._timer = BootTimer()

    async def run(self) -> None:
        """Find and be found until cancelled."""
        for group in (GROUP4, GROUP6):
            try:
                sockets = GroupSockets(group, fwmark=self._fwmark)
            except OSError as error:
                _log.info("no LAN discovery by IPv%d: %s", group.version, error)
                continue
            self._groups[group.version] = sockets
        try:
            self.follow()
            async with trio.open_nursery() as nursery:
                for sockets in self._groups.values():
                    nursery.start_soon(self._hear, sockets.listener)
                    nursery.start_soon(self._hear, sockets.speaker)
                nursery.start_soon(self._pump_deadlines)
        finally:
            for sockets in self._groups.values():
                sockets.close()
            self._groups = {}
            self._timer.close()

    def follow(self) -> None:
        """Look at the host's links again: they may have changed."""
        if not self._groups:
            return
        try:
            links = lan_links(without=(self._interface,))
        except OSError as error:
            _log.warning("cannot list the host's links: %s", error)
            return
        for sockets in self._groups.values():
            sockets.set_links(tuple(links))
        usable = tuple(
            one for one in links if (6 if ":" in one.host else 4) in self._groups
        )
        self._discovery.set_links(usable, now=boottime())
        self._settle()

    async def _hear(self, one: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(one)
            for _ in range(_READS):
                try:
                    datagram = receive_from_group(one)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # a datagram of ours could not be delivered
                self._discovery.receive_datagram(
                    datagram.data, datagram.path, now=boottime(), wall=time.time()
                )
            self._settle()

    async def _pump_deadlines(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._timer)
            self._timer.clear()
            self._discovery.handle_deadline(now=boottime(), wall=time.time())
            self._settle()

    def _settle(self) -> None:
        """Send what is to be sent, arm the timer, and tell whom we found."""
        for datagram in self._discovery.datagrams_to_send():
            try:
                self._groups[datagram.path.remote.version].send(datagram)
            except OSError as error:
                _log.debug("announcing to %s: %s", datagram.path.remote, error)
        deadline = self._discovery.next_deadline()
        self._timer.set(None if deadline is None else deadline.at)
        for key, places in self._discovery.changes():
            self._on_found(key, places)
