"""Ask other resolvers: for names that are not of the mesh, and to test our own.

An answer counts only if it comes from where the question went, to a port that was
opened for it, under a random number, and repeats the name in a random mixture of
cases (RFC 5452). What is too long for UDP, or repeats the name in another case, is
asked again by TCP.
"""

import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Final

import trio

from meshnode.names.message import (
    MAX_MESSAGE,
    NOT_IMPLEMENTED,
    REFUSED,
    SERVER_FAILURE,
    Query,
    for_asker,
    is_reply,
    is_truncated,
    mix_case,
    rcode_of,
    repeats,
    upstream_query,
)
from meshnode.types import Endpoint

PORT: Final = 53

TIMEOUT: Final = 2.0
"""Seconds for one resolver to answer; then the next one is asked."""

ROUNDS: Final = 2
"""Times that all resolvers are asked."""

PATIENCE: Final = 6.0
"""Seconds for all of it: who asks gives up after 5 to 10."""

MAX_ASKED: Final = 256
"""Questions under way; each has a socket."""

_UNWILLING: Final = (SERVER_FAILURE, REFUSED, NOT_IMPLEMENTED)
_LENGTH: Final = struct.Struct(">H")


class Forwarder:
    """Asks the resolvers that *upstreams* names at that moment, in order."""

    def __init__(self, upstreams: Callable[[], Sequence[Endpoint]]) -> None:
        self._upstreams = upstreams
        self._slots = trio.Semaphore(MAX_ASKED)

    @property
    def is_useful(self) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._upstreams())

    async def ask(self, query: Query) -> bytes | None:
        """Return a reply to *query*, as if it were ours; None if nobody answers.

        A resolver that fails or does not want to answer is none, unless it is the
        last one.
        """
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            return None
        worst: bytes | None = None
        try:
            with trio.move_on_after(PATIENCE):
                for server in [*self._upstreams()] * ROUNDS:
                    reply = await _ask_one(server, query)
                    if reply is None:
                        continue
                    worst = for_asker(query, reply)
                    if rcode_of(reply) not in _UNWILLING:
                        return worst
        finally:
            self._slots.release()
        return worst


async def _ask_one(server: Endpoint, query: Query) -> bytes | None:
    number = secrets.randbits(16)
    name = mix_case(query.name, secrets.token_bytes(len(query.name)))
    asked = upstream_query(query, number, name)
    question = name + query.question[len(name) :]
    reply: bytes | None = None
    try:
        with trio.move_on_after(TIMEOUT):
            reply = await _ask_by_udp(server, asked, number, question)
        if reply is None:
            return None
        if is_truncated(reply) or not repeats(reply, question):
            reply = None
            with trio.move_on_after(TIMEOUT):
                reply = await _ask_by_tcp(server, asked)
            if reply is None or not is_reply(reply, number, question):
                return None
    except OSError:
        return None
    return reply


async def _ask_by_udp(
    server: Endpoint, asked: bytes, number: int, question: bytes
) -> bytes:
    """Return the first reply to what was asked; what is none is not heard."""
    family = trio.socket.AF_INET6 if server.version == 6 else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as udp:
        # The kernel chooses a port at random, and lets only the server answer there.
        await udp.connect(_address(server))
        await udp.send(asked)
        while True:
            data = await udp.recv(MAX_MESSAGE)
            if is_reply(data, number, question):
                return data


async def _ask_by_tcp(server: Endpoint, asked: bytes) -> bytes:
    """Return what comes back; raises `OSError` if nothing whole does."""
    family = trio.socket.AF_INET6 if server.version == 6 else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_STREAM) as tcp:
        await tcp.connect(_address(server))
        stream = trio.SocketStream(tcp)
        try:
            await stream.send_all(_LENGTH.pack(len(asked)) + asked)
            head = await _receive_exactly(stream, _LENGTH.size)
            return await _receive_exactly(stream, *_LENGTH.unpack(head))
        except trio.BrokenResourceError as error:
            raise ConnectionResetError from error


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


def _address(server: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    if server.version == 6:
        return server.host, server.port, 0, server.scope_id
    return server.host, server.port
