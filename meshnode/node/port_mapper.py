"""The Trio shell of port mappings: sockets and one timer.

One `PortMapping` for each router and address of ours; where none of them gets an IPv4
port, `UpnpMapper` may.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from meshnode.codec import natpmp
from meshnode.codec.pcp import NONCE_SIZE
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import blake2s, mac
from meshnode.deadlines import earliest
from meshnode.errors import HostError
from meshnode.host.ancillary import sockaddr_of
from meshnode.host.clock import BootTimer, boottime
from meshnode.host.gateways import (
    default_gateways,
    open_router_news,
    open_router_socket,
)
from meshnode.mesh.port_mapping import PortMapping
from meshnode.node.upnp_mapper import UpnpMapper
from meshnode.ports import Entropy
from meshnode.types import Endpoint, Path

NEWS_PORT: Final = 5350
"""Where routers tell all hosts that they began anew (RFC 6886, 3.2.1)."""

END_WITHIN: Final = 1.2
"""Seconds to give ports back; the supervisor waits for two in all."""

_MAX_BYTES: Final = 1200
_LABEL: Final = blake2s(b"meshnode/1 port mapping")
_log = logging.getLogger("meshnode.node")


class PortMapper:
    """Has our UDP *port* forwarded by all routers of the host.

    Args:
        port: the port.
        private_key: makes nonces that are the same in the next control process.
        interface: the overlay's, which is no way to a router.
        fwmark: of what we send.
        entropy: for jitter.
        on_change: called with all outside endpoints when they change.
    """

    def __init__(
        self,
        *,
        port: int,
        private_key: PrivateKey,
        interface: str,
        fwmark: int,
        entropy: Entropy,
        on_change: Callable[[tuple[Endpoint, ...]], None],
    ) -> None:
        self._port = port
        self._secret = mac(private_key.reveal(), _LABEL)
        self._interface = interface
        self._fwmark = fwmark
        self._entropy = entropy
        self._on_change = on_change
        self._mappings: dict[Path, _Served] = {}
        self._timer = BootTimer()
        self._upnp = UpnpMapper(
            port, needed_for=self._unmapped_client, on_change=self._settle
        )
        self._told: tuple[Endpoint, ...] = ()
        self._nursery: trio.Nursery | None = None

    def externals(self) -> tuple[Endpoint, ...]:
        """Return where routers forward our port from."""
        found = [served.mapping.external for served in self._mappings.values()]
        found.append(self._upnp.external)
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def describe(self) -> list[dict[str, Any]]:
        """Return each router, what is spoken with it, and what came of it."""
        rows = [
            _row(
                str(path.remote),
                served.mapping.protocol.value,
                served.mapping.client,
                served.mapping.external,
                served.mapping.problem,
            )
            for path, served in self._mappings.items()
        ]
        upnp = self._upnp
        if upnp.client:
            rows.append(_row("", "upnp", upnp.client, upnp.external, upnp.problem))
        return rows

    # --- tasks ---

    async def run(self) -> None:
        """Keep the mappings; give them back when cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for one in open_router_news(NEWS_PORT):
                    nursery.start_soon(self._hear_news, one)
                nursery.start_soon(self._pump_deadlines)
                nursery.start_soon(self._upnp.run)
                self.follow()
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True), trio.move_on_after(END_WITHIN):
                await self._give_back()
            for served in self._mappings.values():
                served.socket.close()
            self._timer.close()

    def follow(self) -> None:
        """Look at the host's routers and addresses again: they may have changed."""
        if self._nursery is None:
            return
        try:
            paths = default_gateways(
                natpmp.PORT, without=(self._interface,), fwmark=self._fwmark
            )
        except (HostError, OSError) as error:
            _log.warning("cannot list the host's routers: %s", error)
            return
        now, known = boottime(), set(self._mappings)
        for path in known - set(paths):
            self._mappings.pop(path).stop()
        for path in paths:
            if path in known:
                self._mappings[path].mapping.network_changed(now=now)
            else:
                self._begin(path, self._nursery)
        if set(paths) != known:
            self._upnp.network_changed()
        self._settle()

    def _begin(self, path: Path, nursery: trio.Nursery) -> None:
        assert path.source is not None
        try:
            one = open_router_socket(path, fwmark=self._fwmark)
        except OSError as error:
            _log.debug("no socket to ask %s by: %s", path.remote, error)
            return
        client = path.source.host
        place = f"{path.remote.host} {client} {self._port}".encode()
        mapping = PortMapping(
            path.remote,
            client,
            port=self._port,
            nonce=mac(self._secret, place)[:NONCE_SIZE],
            entropy=self._entropy,
            now=boottime(),
        )
        served = self._mappings[path] = _Served(mapping, one)
        nursery.start_soon(self._hear, served)

    async def _hear(self, served: "_Served") -> None:
        with served.scope:
            while True:
                await self._receive(served.socket, [served])
        served.socket.close()  # not when all of us end: it has to say goodbye

    async def _hear_news(self, one: socket.socket) -> None:
        with one:
            while True:
                await self._receive(one, list(self._mappings.values()))

    async def _receive(self, one: socket.socket, served: "list[_Served]") -> None:
        await trio.lowlevel.wait_readable(one)
        try:
            data, sockaddr = one.recvfrom(_MAX_BYTES)
        except OSError:
            return  # a router without such a service says so, by ICMP
        scope_id = sockaddr[3] if len(sockaddr) == 4 else 0
        source, now = Endpoint(sockaddr[0], sockaddr[1], scope_id), boottime()
        for each in served:
            each.mapping.receive_datagram(data, source, now=now)
        self._settle()

    async def _pump_deadlines(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._timer)
            self._timer.clear()
            now = boottime()
            for served in self._mappings.values():
                served.mapping.handle_deadline(now=now)
            self._settle()

    def _settle(self) -> None:
        """Send what is to be sent, arm the timer, and tell what changed."""
        for served in self._mappings.values():
            served.flush()
        deadline = earliest(
            *(served.mapping.next_deadline() for served in self._mappings.values())
        )
        self._timer.set(None if deadline is None else deadline.at)
        externals = self.externals()
        if externals != self._told:
            self._told = externals
            self._on_change(externals)

    def _unmapped_client(self) -> str:
        """Return our IPv4 address behind a router that gives us no port, or ""."""
        ours = [s.mapping for s in self._mappings.values() if s.is_ipv4]
        if not ours or any(mapping.external is not None for mapping in ours):
            return ""
        return ours[0].client

    async def _give_back(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upnp.end)
            for served in self._mappings.values():
                served.mapping.close(now=boottime())
                nursery.start_soon(served.finish)


class _Served:
    """One mapping with its socket, and the scope of the task that hears it."""

    def __init__(self, mapping: PortMapping, one: socket.socket) -> None:
        self.mapping = mapping
        self.socket = one
        self.scope = trio.CancelScope()

    @property
    def is_ipv4(self) -> bool:
        return self.mapping.router.version == 4

    def flush(self) -> None:
        """Send what the mapping has to say; what is lost is said again."""
        for data in self.mapping.datagrams_to_send():
            try:
                self.socket.sendto(data, sockaddr_of(self.mapping.router))
            except OSError as error:
                _log.debug("asking %s: %s", self.mapping.router, error)

    def stop(self) -> None:
        """Let go of a router that is not ours any more; it may hear a goodbye."""
        self.mapping.close(now=boottime())
        self.mapping.handle_deadline(now=boottime())
        self.flush()
        self.scope.cancel()

    async def finish(self) -> None:
        """Go on until the router has taken the port back, or does not answer."""
        mapping = self.mapping
        while not mapping.is_closed:
            now = boottime()
            mapping.handle_deadline(now=now)
            self.flush()
            deadline = mapping.next_deadline()
            wait = 0.0 if deadline is None else max(deadline.at - now, 0.0)
            with trio.move_on_after(wait):
                await trio.lowlevel.wait_readable(self.socket)
                try:
                    data, sockaddr = self.socket.recvfrom(_MAX_BYTES)
                except OSError:
                    continue
                scope_id = sockaddr[3] if len(sockaddr) == 4 else 0
                source = Endpoint(sockaddr[0], sockaddr[1], scope_id)
                mapping.receive_datagram(data, source, now=boottime())


def _row(
    router: str, protocol: str, client: str, external: Endpoint | None, problem: str
) -> dict[str, Any]:
    return {
        "router": router,
        "protocol": protocol,
        "client": client,
        "external": None if external is None else str(external),
        "problem": problem,
    }
