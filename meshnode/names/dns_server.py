"""Answer for names, by UDP and TCP (RFC 1035, 4.2; RFC 7766).

Only who is in the overlay, or on this host, is heard: WireGuard has proven an
overlay's address, so nobody can have answers sent to another. Every bound is there so
that no asker can take more than its part.
"""

import ipaddress
import logging
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import trio

from meshnode.names import message, zone
from meshnode.names.limits import SourceLimits
from meshnode.names.message import Query, addresses_in, fit, parse_query, reply_to
from meshnode.names.table import NameTable

MAX_FORWARDED: Final = 256
"""Questions by UDP that wait for somebody else's answer; further ones are dropped."""

MAX_CONNECTIONS: Final = 64
MAX_PER_SOURCE: Final = 8
MAX_PIPELINED: Final = 16
"""Questions of one connection that are being answered; the next is not read before."""

IDLE_TIMEOUT: Final = 10.0
"""Seconds that a connection may take for one whole question (RFC 7766, 6.2.3)."""

SEND_TIMEOUT: Final = 10.0

_NEVER_FORWARDED: Final = (message.IXFR, message.AXFR, message.ANY)
"""Whole zones, and all there is of a name: no host needs them of its resolver."""

_PAUSE: Final = 0.01  # seconds
_LENGTH: Final = struct.Struct(">H")
_log = logging.getLogger("meshnode.names")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
OnAnswer = Callable[[str, Sequence[Address], int], Awaitable[None]]
"""Told of a name's addresses, and the seconds they hold, before an answer leaves."""


class Asks(Protocol):
    """Whoever answers for other names: `names.forwarder.Forwarder`."""

    @property
    def is_useful(self) -> bool:
        """Whether there is anybody to ask."""

    async def ask(self, query: Query) -> bytes | None:
        """Return a reply to *query*, None if there is none."""


async def _ignore(name: str, addresses: Sequence[Address], seconds: int) -> None:
    """Without steering nobody needs to know."""


async def serve_names(
    udp_sockets: Sequence[trio.socket.SocketType],
    tcp_listeners: Sequence[trio.SocketListener],
    *,
    table: Callable[[], NameTable],
    forwarder: Asks | None = None,
    on_answer: OnAnswer = _ignore,
) -> None:
    """Answer until cancelled; the sockets are not closed.

    Args:
        udp_sockets: bound where questions come, port 53.
        tcp_listeners: listening there.
        table: gives the names as they are now.
        forwarder: asked for names that are not of the mesh; they are refused without.
        on_answer: awaited with the addresses of such a name before their answer
            leaves; the asker waits for it, so it must be quick.
    """
    server = _Server(table, forwarder, on_answer)
    async with trio.open_nursery() as nursery:
        for udp in udp_sockets:
            nursery.start_soon(server.serve_udp, udp)
        for listener in tcp_listeners:
            nursery.start_soon(server.serve_tcp, listener)


class _Server:
    """What the sockets share."""

    def __init__(
        self,
        table: Callable[[], NameTable],
        forwarder: Asks | None,
        on_answer: OnAnswer,
    ) -> None:
        self._table = table
        self._forwarder = forwarder
        self._on_answer = on_answer
        self._limits = SourceLimits()
        self._forwarded = trio.Semaphore(MAX_FORWARDED)
        self._connections = Counter[str]()

    # --- UDP ---

    async def serve_udp(self, udp: trio.socket.SocketType) -> None:
        """Answer datagrams; one that must wait for others does not hold up the rest."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    data, place = await udp.recvfrom(message.MAX_MESSAGE)
                except OSError as error:
                    # An ICMP error to an earlier answer, or a host short of memory.
                    _log.debug("names: %s", error)
                    await trio.sleep(_PAUSE)
                    continue
                if not self._may_ask(place[0]):
                    continue
                query = parse_query(data)
                if isinstance(query, bytes):
                    await _send(udp, query, place)
                    continue
                reply = self._answer_at_once(query)
                if reply is not None:
                    await _send(udp, fit(query, reply, query.limit), place)
                    continue
                try:
                    self._forwarded.acquire_nowait()
                except trio.WouldBlock:
                    continue  # who asks will ask again
                nursery.start_soon(self._forward_by_udp, udp, query, place)

    async def _forward_by_udp(
        self, udp: trio.socket.SocketType, query: Query, place: Any
    ) -> None:
        try:
            reply = await self._forward(query)
        finally:
            self._forwarded.release()
        await _send(udp, fit(query, reply, query.limit), place)

    # --- TCP ---

    async def serve_tcp(self, listener: trio.SocketListener) -> None:
        """Take connections; one too many is closed at once."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    _log.debug("names: %s", error)
                    await trio.sleep(_PAUSE)
                    continue
                source = _source_of(stream)
                is_full = self._connections.total() >= MAX_CONNECTIONS
                if is_full or self._connections[source] >= MAX_PER_SOURCE:
                    await trio.aclose_forcefully(stream)
                    continue
                self._connections[source] += 1
                nursery.start_soon(self._serve_connection, stream, source)

    async def _serve_connection(self, stream: trio.SocketStream, source: str) -> None:
        slots = trio.Semaphore(MAX_PIPELINED)
        turn = trio.Lock()
        try:
            async with stream, trio.open_nursery() as nursery:
                while True:
                    data = b""
                    with trio.move_on_after(IDLE_TIMEOUT):
                        data = await _receive_message(stream)
                    if not data or not self._may_ask(source):
                        break
                    await slots.acquire()
                    nursery.start_soon(self._answer_by_tcp, stream, data, slots, turn)
        except* (OSError, trio.BrokenResourceError, trio.TooSlowError) as gone:
            _log.debug("names: a connection of %s: %r", source, gone.exceptions[0])
        finally:
            self._connections[source] -= 1
            if not self._connections[source]:
                del self._connections[source]

    async def _answer_by_tcp(
        self,
        stream: trio.SocketStream,
        data: bytes,
        slots: trio.Semaphore,
        turn: trio.Lock,
    ) -> None:
        """Answer one question of a connection; the first that is known goes first."""
        try:
            query = parse_query(data)
            if isinstance(query, bytes):
                reply = query
            else:
                at_once = self._answer_at_once(query)
                reply = await self._forward(query) if at_once is None else at_once
                reply = fit(query, reply, message.MAX_MESSAGE)
            if reply:
                async with turn:
                    with trio.fail_after(SEND_TIMEOUT):
                        await stream.send_all(_LENGTH.pack(len(reply)) + reply)
        finally:
            slots.release()

    # --- both ---

    def _may_ask(self, source: str) -> bool:
        try:
            address = ipaddress.ip_address(source.partition("%")[0])
        except ValueError:
            return False
        if not address.is_loopback and not self._table().holds(address):
            return False
        return self._limits.take(source, now=trio.current_time())

    def _answer_at_once(self, query: Query) -> bytes | None:
        """Return the reply, None if somebody else must be asked for it."""
        is_open = self._forwarder is not None and self._forwarder.is_useful
        reply = zone.answer(query, self._table())
        if reply is not None:
            return reply
        may_forward = query.network_class == message.IN and query.wants_recursion
        may_forward = may_forward and query.kind not in _NEVER_FORWARDED
        if is_open and may_forward and not zone.is_of_mesh(query):
            return None
        return reply_to(query, rcode=message.REFUSED, offers_recursion=is_open)

    async def _forward(self, query: Query) -> bytes:
        assert self._forwarder is not None
        reply = await self._forwarder.ask(query)
        if reply is None:
            return reply_to(query, rcode=message.SERVER_FAILURE, offers_recursion=True)
        addresses, seconds = addresses_in(reply)
        if addresses:
            await self._on_answer(query.text, addresses, seconds)
        return reply


async def _send(udp: trio.socket.SocketType, reply: bytes, place: Any) -> None:
    if not reply:
        return
    try:
        await udp.sendto(reply, place)
    except OSError as error:
        _log.debug("names: %s", error)


def _source_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""  # gone already; nobody may ask as that


async def _receive_message(stream: trio.SocketStream) -> bytes:
    """Return one message, b"" at the end of the stream."""
    wanted, data = _LENGTH.size, b""
    while len(data) < wanted:
        piece = await stream.receive_some(wanted - len(data))
        if not piece:
            return b""
        data += piece
        if len(data) == _LENGTH.size:
            wanted += _LENGTH.unpack(data)[0]
    return data[_LENGTH.size :]
