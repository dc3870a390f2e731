"""The serving side of TLS: clients come, prove that they know us, and are bridged."""

import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from meshnode.errors import CodecError, HostError
from meshnode.host.streams import open_handover
from meshnode.node.tls_bridge import Bridge
from meshnode.node.tls_streams import Connection, Prove, accept

MAX_CONNECTIONS: Final = 1024
MAX_OF_SOURCE: Final = 16
"""Connections of one address (IPv4), or of one /64 (IPv6)."""

HANDSHAKE_TIMEOUT: Final = 5.0
"""Seconds until a client must have shown that it knows us."""

PATIENCE: Final = 10.0
"""Seconds until the node must have answered it."""

_ACCEPT_PAUSE: Final = 0.1
_log = logging.getLogger("meshnode.node")


class TlsServer:
    """Serves on *listeners*, which stay the caller's.

    Args:
        context: with our certificate.
        port: gives the node's UDP port, 0 while it is unknown.
        prove: answers challenges.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        context: ssl.SSLContext,
        *,
        port: "PortOf",
        prove: Prove,
    ) -> None:
        self._listeners = listeners
        self._context = context
        self._port = port
        self._prove = prove
        self._sources: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for one in self._listeners:
                listener = trio.socket.from_stdlib_socket(one.dup())
                nursery.start_soon(self._listen, listener, nursery)

    async def _listen(
        self, listener: trio.socket.SocketType, nursery: trio.Nursery
    ) -> None:
        with listener:
            while True:
                try:
                    one, address = await listener.accept()
                except OSError as error:
                    # No descriptor is left: others have to end first.
                    _log.debug("no connection can be accepted: %s", error)
                    await trio.sleep(_ACCEPT_PAUSE)
                    continue
                source = source_of(str(address[0]))
                is_full = self._sources.total() >= MAX_CONNECTIONS
                if is_full or self._sources[source] >= MAX_OF_SOURCE:
                    one.close()
                    continue
                self._sources[source] += 1
                nursery.start_soon(self._serve, one, source)

    async def _serve(self, one: trio.socket.SocketType, source: str) -> None:
        try:
            connection = await self._accept(trio.SocketStream(one))
            if connection is None:
                return
            bridge = Bridge(connection, open_handover(self._port()), patience=PATIENCE)
            await bridge.run()
        except (HostError, OSError) as error:
            _log.debug("a TLS connection ended: %s", error)
        finally:
            one.close()
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    async def _accept(self, transport: trio.SocketStream) -> Connection | None:
        with trio.move_on_after(HANDSHAKE_TIMEOUT):
            try:
                return await accept(transport, self._context, self._prove)
            except (
                CodecError,
                OSError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
            ) as error:
                _log.debug("a TLS connection was refused: %s", error)
        return None


PortOf = partial[int]


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed[:8].hex()
