"""The SOCKS server's side of one connection: versions 4, 4a and 5.

Who listens, how many are let in, and who is a user is known elsewhere. What a client
wants is asked of an `Outlet`, and what that says is answered.
"""

import socket
from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.socks import Command
from meshnode.errors import CodecError
from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.host_sockets import (
    endpoint_of,
    family_of,
    refusal_of,
    sockaddr_of,
)
from meshnode.proxy.outlets import Outlet, OutletError, Refusal
from meshnode.proxy.socks_dialogue import SocksDialogue
from meshnode.proxy.socks_messages import (
    Login,
    Request,
    encode_granted,
    encode_refused,
)
from meshnode.proxy.socks_relay import Association
from meshnode.proxy.splice import Traffic, splice
from meshnode.types import Endpoint

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds that a client has to say what it wants."""

CALL_TIMEOUT: Final = 60.0
"""Seconds that a peer has to call (BIND)."""

IDLE_TIMEOUT: Final = 3600.0
"""Seconds without a byte after which a connection or an association ends."""

LINGER: Final = 1.0
"""Seconds that a client has to read why it was refused."""

READ_BYTES: Final = 4096
_DEVICE_BYTES: Final = 16
"""IFNAMSIZ (netdevice(7))."""

Stream = trio.abc.HalfCloseableStream


async def serve_socks(
    stream: Stream,
    *,
    outlet: Outlet,
    credentials: CredentialCheck | None = None,
    first: bytes = b"",
    traffic: Traffic | None = None,
    idle: float = IDLE_TIMEOUT,
) -> None:
    """Serve the client at *stream* to the end; the stream is closed then.

    With *credentials* only users are served, by SOCKS5. *first* is what was read of
    the stream already. Bytes are counted in *traffic*; *idle* is in seconds.
    """
    client = _Client(stream, outlet, traffic or Traffic(), idle)
    try:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            dialogue = SocksDialogue(wants_login=credentials is not None)
            request = None
            with trio.move_on_after(HANDSHAKE_TIMEOUT), suppress(CodecError):
                request = await _hear(stream, dialogue, credentials, first)
            if request is not None:
                await client.serve(request, dialogue.rest)
            else:
                await _part(stream, dialogue.data_to_send())
    finally:
        await trio.aclose_forcefully(stream)


async def _hear(
    stream: Stream,
    dialogue: SocksDialogue,
    credentials: CredentialCheck | None,
    heard: bytes,
) -> Request | None:
    """Return what the client wants; None if it goes away. Raises `CodecError`."""
    while True:
        dialogue.receive(heard)
        event = dialogue.next_event()
        if isinstance(event, Login) and credentials is not None:
            is_known = await credentials(event.user, event.password)
            dialogue.answer_login(is_known=is_known)
            event = dialogue.next_event()
        if answer := dialogue.data_to_send():
            await stream.send_all(answer)
        if isinstance(event, Request):
            return event
        heard = bytes(await stream.receive_some(READ_BYTES))
        if not heard:
            return None


async def _part(stream: Stream, answer: bytes) -> None:
    """Say the last word so that it arrives: what is unread would throw it away."""
    with trio.move_on_after(LINGER):
        await stream.send_all(answer)
        await stream.send_eof()
        while await stream.receive_some(READ_BYTES):
            pass


class _Client:
    """One client, its outlet, and what it may have."""

    def __init__(
        self, stream: Stream, outlet: Outlet, traffic: Traffic, idle: float
    ) -> None:
        self._stream = stream
        self._outlet = outlet
        self._traffic = traffic
        self._idle = idle

    async def serve(self, request: Request, rest: bytes) -> None:
        """Do what the client wants; *rest* is what it said to the target already."""
        try:
            match request.command:
                case Command.CONNECT:
                    await self._connect(request, rest)
                case Command.BIND:
                    await self._bind(request, rest)
                case Command.UDP_ASSOCIATE:
                    await self._associate(request)
        except OutletError as error:
            await _part(self._stream, encode_refused(request, error.refusal))

    async def _connect(self, request: Request, rest: bytes) -> None:
        target, place = await self._outlet.connect(request.target)
        await self._join(request, target, place, rest)

    async def _bind(self, request: Request, rest: bytes) -> None:
        with await self._outlet.listen(request.target) as incoming:
            await self._stream.send_all(encode_granted(request, incoming.place))
            with trio.move_on_after(CALL_TIMEOUT) as patience:
                target, peer = await incoming.accept()
            if patience.cancelled_caught:
                raise OutletError(Refusal.TIMED_OUT)
        await self._join(request, target, peer, rest)

    async def _join(
        self, request: Request, target: Stream, place: Endpoint, rest: bytes
    ) -> None:
        try:
            await self._stream.send_all(encode_granted(request, place))
            if rest:
                await target.send_all(rest)
                self._traffic.add_to_target(len(rest))
            await splice(self._stream, target, self._traffic, idle=self._idle)
        finally:
            await trio.aclose_forcefully(target)

    async def _associate(self, request: Request) -> None:
        if not isinstance(self._stream, trio.SocketStream) or (
            self._stream.socket.family not in (socket.AF_INET, socket.AF_INET6)
        ):
            # Datagrams need an address of the client, and one of ours that it reaches.
            raise OutletError(Refusal.UNSUPPORTED)
        here = endpoint_of(self._stream.socket.getsockname())
        there = endpoint_of(self._stream.socket.getpeername())
        client = Endpoint(there.host, request.target.port, there.scope_id)
        with (
            await self._outlet.open_datagrams() as datagrams,
            await _bound_to(
                Endpoint(here.host, 0, here.scope_id), _device_of(self._stream)
            ) as ours,
        ):
            place = endpoint_of(ours.getsockname())
            await self._stream.send_all(encode_granted(request, place))
            association = Association(ours, client, datagrams, self._traffic)
            await association.run(self._stream, idle=self._idle)


def _device_of(stream: trio.SocketStream) -> bytes:
    """Return the interface that the client's connection is bound to, b"" for none."""
    device = stream.socket.getsockopt(
        socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _DEVICE_BYTES
    )
    return bytes(device).rstrip(b"\0")


async def _bound_to(place: Endpoint, device: bytes) -> trio.socket.SocketType:
    """Return a UDP socket there, which hears no other *device*, if there is one."""
    try:
        ours = trio.socket.socket(family_of(place), socket.SOCK_DGRAM)
        try:
            if device:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            await ours.bind(sockaddr_of(place))
        except BaseException:
            ours.close()
            raise
    except OSError as error:
        raise refusal_of(error) from error
    return ours
