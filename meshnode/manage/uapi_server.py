"""Serve the userspace API of one device on a Unix socket.

One client cannot hurt another: every request and every reply has a deadline and a
bound, connections are limited in number, and a client that will not read or never
finishes its request is dropped. `wg` connects and closes without a byte before each
of its calls, to see whether anybody listens; that is served in silence.
"""

import logging
import socket
from collections.abc import Iterable
from typing import Protocol

import trio

from meshnode.errors import ConfigError, HostError
from meshnode.manage.uapi import (
    BadRequest,
    GetRequest,
    Request,
    RequestParser,
    SetRequest,
    UnknownRequest,
)
from meshnode.manage.uapi_replies import (
    serialise_errno_get,
    serialise_errno_set,
    status_chunks,
)
from meshnode.manage.unix_server import is_allowed, send_within, serve_clients
from meshnode.wireguard.config import DeviceChange, DeviceStatus

MAX_CLIENTS = 64
"""Connections served at once; further ones wait in the listen queue."""

REQUEST_TIMEOUT = 30.0
"""Seconds for a whole request to arrive, idle time before it included."""

REPLY_TIMEOUT = 30.0
"""Seconds for a client to read a whole reply."""

_RECEIVE_BYTES = 65536

_log = logging.getLogger("meshnode.manage")


class Device(Protocol):
    """What the server manages."""

    async def get(self) -> DeviceStatus:
        """Return a status of our own to keep; raises `ConfigError` or `HostError`."""

    async def set(self, change: DeviceChange) -> None:
        """Apply *change* whole; raises `ConfigError` or `HostError` and does not.

        It is never called again before it has returned, and never cancelled
        because of its client.
        """


async def serve_uapi(listener: trio.socket.SocketType, device: Device) -> None:
    """Serve *device* on the listening Unix socket *listener* until cancelled.

    Only root and our own user are served. *listener* is not closed.
    """
    await serve_clients(listener, _Server(device).serve, most=MAX_CLIENTS)


class _Server:
    """Connections to one device; `set` requests take turns."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._set_turn = trio.Lock()

    async def serve(self, client: trio.socket.SocketType) -> None:
        """Answer the requests of *client* until it or its time ends."""
        if not is_allowed(client):
            _log.warning("userspace API: refused a client of another user")
            return
        # Interface names in endpoints are the kernel's to resolve.
        parser = RequestParser(zone_index=socket.if_nametoindex)
        try:
            while not parser.is_closed:
                for request in await _receive_requests(client, parser):
                    await self._answer(client, request)
        except (OSError, trio.TooSlowError, _EndOfRequestsError) as error:
            _log.debug("userspace API: connection ended: %r", error)

    async def _answer(self, client: trio.socket.SocketType, request: Request) -> None:
        match request:
            case GetRequest():
                await _send(client, await self._get())
            case SetRequest(change):
                number = await self._set(change)
                await _send(client, [serialise_errno_set(number)])
            case BadRequest(number, is_get, reason):
                _log.debug("userspace API: bad request: %s", reason)
                reply = serialise_errno_get if is_get else serialise_errno_set
                await _send(client, [reply(number)])
            case UnknownRequest():
                _log.debug("userspace API: unknown request")

    async def _get(self) -> Iterable[bytes]:
        try:
            return status_chunks(await self._device.get())
        except (ConfigError, HostError) as error:
            _log.warning("userspace API: get failed: %s", error)
            return [serialise_errno_get(abs(error.errno))]

    async def _set(self, change: DeviceChange) -> int:
        async with self._set_turn:
            try:
                await self._device.set(change)
            except (ConfigError, HostError) as error:
                _log.warning("userspace API: set failed: %s", error)
                return abs(error.errno)
        return 0


class _EndOfRequestsError(Exception):
    """The client has closed its side."""


async def _receive_requests(
    client: trio.socket.SocketType, parser: RequestParser
) -> list[Request]:
    """Receive until at least one request is complete, in `REQUEST_TIMEOUT`."""
    with trio.fail_after(REQUEST_TIMEOUT):
        while True:
            data = await client.recv(_RECEIVE_BYTES)
            if not data:
                raise _EndOfRequestsError
            requests = parser.feed(data)
            if requests:
                return requests


async def _send(client: trio.socket.SocketType, pieces: Iterable[bytes]) -> None:
    await send_within(client, pieces, REPLY_TIMEOUT)
