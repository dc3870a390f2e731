"""Serve the control socket of one network: the node's own API, for commands.

A request has a time to arrive and a length, a reply a time to be read; a client that
will not is dropped, and affects nobody else. Events wait in a queue with a bound: who
reads too slowly is told so and dropped, and the node never waits for it.
"""

import array
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import trio

from meshnode.errors import CodecError, MeshnodeError
from meshnode.manage.api_protocol import (
    BadRequest,
    EventLine,
    Failure,
    Reply,
    Request,
    RequestParser,
    Result,
    serialise_reply,
)
from meshnode.manage.unix_server import is_allowed, send_within, serve_clients

MAX_CLIENTS: Final = 64
"""Connections served at once; further ones wait in the listen queue."""

MAX_STREAMS: Final = 32
"""Of them, those that wait for events; so commands always find a place."""

MAX_QUEUED: Final = 1024
"""Events that wait for one client."""

REQUEST_TIMEOUT: Final = 30.0
"""Seconds for a whole request to arrive, idle time before it included."""

REPLY_TIMEOUT: Final = 30.0
"""Seconds for a client to read a whole reply, or an event."""

_RECEIVE_BYTES = 65536
_USAGE, _PRIVILEGE, _FAILED = 2, 5, 1

_log = logging.getLogger("meshnode.manage")


class EventStream:
    """The events of one request, from whoever has them to one client.

    A handler makes one, gives it to whoever has events, and returns it. None of the
    methods waits, but `wait_closed`. With the first event goes *descriptor*, which
    stays the handler's; *on_close* is called when nobody reads any more.
    """

    def __init__(
        self,
        *,
        descriptor: int | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._descriptor = descriptor
        self._on_close = on_close
        self._lines: deque[bytes] = deque()
        self._has_ended = False
        self._closed = trio.Event()
        self._wake = trio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads any more; whoever has events forgets the stream."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Wait until nobody reads any more."""
        await self._closed.wait()

    def send(self, event: Mapping[str, object]) -> None:
        """Queue *event*; ignored once the stream ended or closed."""
        if self._has_ended or self.is_closed:
            return
        if len(self._lines) >= MAX_QUEUED:
            self._lines.clear()
            text = f"{MAX_QUEUED} events were waiting: read faster, and begin again"
            self._finish(Failure(_FAILED, text))
            return
        self._lines.append(_line(EventLine(dict(event))))
        self._wake.set()

    def end(self, result: Mapping[str, object]) -> None:
        """Let the request end well, after the events that wait."""
        self._finish(Result(dict(result)))

    def fail(self, error: MeshnodeError) -> None:
        """Let the request end with *error*, after the events that wait."""
        self._finish(_failure(error))

    def _finish(self, reply: Reply) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._lines.append(_line(reply))
            self._wake.set()

    async def _next_line(self) -> bytes | None:
        """Return the next line, or None after the last."""
        while not self._lines:
            if self._has_ended:
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        return self._lines.popleft()

    def _close(self) -> None:
        self._closed.set()
        self._lines.clear()
        self._on_close()

    def _take_descriptor(self) -> int | None:
        """Return what goes with the next line, once."""
        descriptor, self._descriptor = self._descriptor, None
        return descriptor


Handler = Callable[[Request], Awaitable[Mapping[str, object] | EventStream]]
"""Answer a request: with its result, or with a stream that will have one.

A `MeshnodeError` becomes the reply. Several requests may be under way at once; one is
never cancelled because of its client, so that no change is left half made.
"""


async def serve_api(listener: trio.socket.SocketType, handler: Handler) -> None:
    """Serve *handler* on the listening Unix socket *listener* until cancelled.

    Only root and our own user are served. *listener* is not closed.
    """
    await serve_clients(listener, _Server(handler).serve, most=MAX_CLIENTS)


class _Server:
    """Connections to one node."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._streams = 0

    async def serve(self, client: trio.socket.SocketType) -> None:
        """Answer the requests of *client* until it or its time ends."""
        try:
            if not is_allowed(client):
                _log.warning("control socket: refused a client of another user")
                text = "only root, or the user of the node, may ask it; use sudo"
                await _send(client, Failure(_PRIVILEGE, text))
                return
            await self._serve(client)
        except (OSError, trio.TooSlowError) as error:
            _log.debug("control socket: connection ended: %r", error)

    async def _serve(self, client: trio.socket.SocketType) -> None:
        parser = RequestParser()
        while not parser.is_closed:
            requests = await _receive_requests(client, parser)
            if not requests:
                return
            for request in requests:
                if isinstance(request, BadRequest):
                    await _send(client, Failure(_USAGE, f"request: {request.reason}"))
                    continue
                answer = await self._answer(request)
                if isinstance(answer, EventStream):
                    await self._stream(client, answer)
                    return
                await _send(client, answer)

    async def _answer(self, request: Request) -> Reply | EventStream:
        try:
            found = await self._handler(request)
        except MeshnodeError as error:
            return _failure(error)
        except Exception:
            # A fault of ours in one request is no reason to refuse the others.
            _log.exception("control socket: %s failed", request.verb)
            return Failure(_FAILED, f"{request.verb} failed; see the log of the node")
        return found if isinstance(found, EventStream) else Result(dict(found))

    async def _stream(
        self, client: trio.socket.SocketType, stream: EventStream
    ) -> None:
        try:
            if self._streams >= MAX_STREAMS:
                text = f"{MAX_STREAMS} commands wait for events already; end one"
                await _send(client, Failure(_FAILED, text))
                return
            self._streams += 1
            try:
                await _send_events(client, stream)
            finally:
                self._streams -= 1
        finally:
            stream._close()


async def _receive_requests(
    client: trio.socket.SocketType, parser: RequestParser
) -> list[Request | BadRequest]:
    """Receive until a request is complete; none means that the client has ended."""
    with trio.fail_after(REQUEST_TIMEOUT):
        while True:
            data = await client.recv(_RECEIVE_BYTES)
            requests = parser.feed(data)
            if requests or not data:
                return requests


async def _send_events(client: trio.socket.SocketType, stream: EventStream) -> None:
    """Send what *stream* has until it ends, or the client does."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at_end, client, nursery.cancel_scope)
        try:
            while (line := await stream._next_line()) is not None:
                descriptor = stream._take_descriptor()
                if descriptor is not None:
                    line = await _send_first(client, line, descriptor)
                await send_within(client, [line], REPLY_TIMEOUT)
        except (OSError, trio.TooSlowError) as error:
            _log.debug("control socket: events ended: %r", error)
        nursery.cancel_scope.cancel()


async def _send_first(
    client: trio.socket.SocketType, line: bytes, descriptor: int
) -> bytes:
    """Send *descriptor* with a part of *line*, and return the rest."""
    rights = array.array("i", [descriptor])
    with trio.fail_after(REPLY_TIMEOUT):
        sent = await client.sendmsg(
            [line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        )
    return line[sent:]


async def _cancel_at_end(
    client: trio.socket.SocketType, scope: trio.CancelScope
) -> None:
    """Wait until the client closes, or says anything more, which ends it too."""
    with suppress(OSError):  # which says that it has gone, too
        await client.recv(1)
    scope.cancel()


async def _send(client: trio.socket.SocketType, reply: Reply) -> None:
    await send_within(client, [_line(reply)], REPLY_TIMEOUT)


def _failure(error: MeshnodeError) -> Failure:
    return Failure(error.exit_code, " ".join(str(error).split()))


def _line(reply: Reply) -> bytes:
    try:
        return serialise_reply(reply)
    except CodecError as error:
        _log.error("control socket: a reply %s", error)
        return serialise_reply(Failure(_FAILED, "the reply cannot be sent; see log"))
