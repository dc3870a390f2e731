"""The datagrams of one client of a SOCKS5 proxy (RFC 1928, 7).

They are taken from the client's address alone, and what comes back goes there alone,
so that nobody can send by us, or be sent to, who has no connection with us. Nothing is
queued but by the kernel.
"""

from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.socks import decode_datagram, encode_datagram
from meshnode.errors import CodecError
from meshnode.proxy.host_sockets import endpoint_of, sockaddr_of
from meshnode.proxy.outlets import Datagrams, OutletError
from meshnode.proxy.splice import Traffic
from meshnode.types import Endpoint

MAX_DATAGRAM: Final = 65_535


class Association:
    """Datagrams between *client*, heard at the UDP socket *ours*, and *datagrams*.

    As long as the client's port is 0, the first that sends from its address is it.
    """

    def __init__(
        self,
        ours: trio.socket.SocketType,
        client: Endpoint,
        datagrams: Datagrams,
        traffic: Traffic,
    ) -> None:
        self._ours = ours
        self._client = client
        self._datagrams = datagrams
        self._traffic = traffic

    async def run(self, stream: trio.abc.ReceiveStream, *, idle: float) -> None:
        """Relay until *stream* ends, the outlet does, or nothing came for *idle* s."""
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            scope.deadline = trio.current_time() + idle
            nursery.start_soon(self._carry_to_target, scope, idle)
            nursery.start_soon(self._carry_to_client, scope, idle)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(MAX_DATAGRAM):
                    pass
            scope.cancel()

    async def _carry_to_target(self, scope: trio.CancelScope, idle: float) -> None:
        with suppress(OSError):
            while True:
                datagram, sockaddr = await self._ours.recvfrom(MAX_DATAGRAM)
                source = endpoint_of(sockaddr)
                if not self._is_client(source):
                    continue
                try:
                    data, target = decode_datagram(datagram)
                except CodecError:
                    continue
                self._client = source
                scope.deadline = trio.current_time() + idle
                await self._datagrams.send(data, target)
                self._traffic.add_to_target(len(data))
        scope.cancel()

    def _is_client(self, source: Endpoint) -> bool:
        client = self._client
        return source.host == client.host and client.port in (0, source.port)

    async def _carry_to_client(self, scope: trio.CancelScope, idle: float) -> None:
        with suppress(OutletError):
            while True:
                data, source = await self._datagrams.receive()
                if not self._client.port:
                    continue
                scope.deadline = trio.current_time() + idle
                # What is too long with a header is lost, as anywhere on its way.
                with suppress(OSError, CodecError):
                    datagram = encode_datagram(data, source)
                    await self._ours.sendto(datagram, sockaddr_of(self._client))
                    self._traffic.add_to_client(len(data))
        scope.cancel()
