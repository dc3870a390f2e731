"""One side of an HTTP proxy: a stream, and the HTTP/1.1 that is spoken on it.

h11 parses and writes; here are the bytes, the time limits, and what a breach of either
means to the other side. Every exchange has an h11 connection of its own, so a head can
be looked at before h11 forgives what is wrong with it (`http_heads`).
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_headers import has_body
from meshnode.proxy.http_heads import MAX_HEAD, check_head, find_head

PIECE: Final = 64 * 1024
"""Bytes that are read at once: about what an exchange holds for each direction."""

_LINGER: Final = 2.0
_EMPTY_LINE: Final = b"\r\n"


class StreamEnded(Exception):
    """The other side is gone, or does not take what it is sent: nothing helps."""


class Peer:
    """A stream with HTTP on it; subclasses say who is at its other end."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        role: type[h11.CLIENT] | type[h11.SERVER],
        *,
        count: Callable[[int], None],
        idle: float,
    ) -> None:
        """Speak on *stream* as *role*; *idle* s without a byte end it.

        *count* is told how many bytes the other end took.
        """
        self.stream = stream
        self._count = count
        self._role = role
        self._idle = idle
        self._http = self._fresh()
        self.has_heard = False

    @property
    def is_reusable(self) -> bool:
        """Whether the exchange is over and another may follow."""
        return self._http.our_state is self._http.their_state is h11.DONE

    @property
    def remaining(self) -> bytes:
        """What came behind the end of the exchange."""
        return self._http.trailing_data[0]

    async def send(self, *events: h11.Event) -> None:
        """Send *events* in one piece.

        Raises:
            StreamEnded: if that cannot be done within the idle time.
            h11.LocalProtocolError: if the protocol has no place for them now.
        """
        parts = []
        for event in events:
            parts += self._http.send_with_data_passthrough(event) or []
        if data := b"".join(parts):
            await self.send_bytes(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send *data* as it is; raises as `send`."""
        try:
            with trio.fail_after(self._idle):
                await self.stream.send_all(data)
            self._count(len(data))
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.TooSlowError,
        ):
            raise StreamEnded from None

    async def next_events(self) -> list[h11.Event]:
        """Return what comes next of the message: all of it that is there, at least one.

        Raises:
            h11.RemoteProtocolError: if it is malformed, or ends too early.
            trio.TooSlowError: if nothing comes within the idle time; it may be asked
                again.
        """
        while not (events := self._parsed_events()):
            try:
                with trio.fail_after(self._idle):
                    data = bytes(await self.stream.receive_some(PIECE))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # No end like another: a body may be as long as the connection.
                raise h11.RemoteProtocolError("the connection broke") from None
            self.has_heard = self.has_heard or bool(data)
            self._http.receive_data(data)
        return events

    def _parsed_events(self) -> list[h11.Event]:
        events: list[h11.Event] = []
        try:
            while isinstance(event := self._http.next_event(), h11.Event):
                events.append(event)
                if isinstance(event, h11.EndOfMessage):
                    return events
        except h11.RemoteProtocolError:
            if not events:
                raise
            return events  # the next call raises it again
        if event is h11.PAUSED and not events:
            raise h11.RemoteProtocolError("it does not keep to the order of messages")
        return events

    def _fresh(self) -> h11.Connection:
        return h11.Connection(self._role, max_incomplete_event_size=MAX_HEAD)

    async def _receive(self) -> bytes:
        """Return some bytes, none at the end, be it a good one or not."""
        try:
            return bytes(await self.stream.receive_some(PIECE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


class ClientPeer(Peer):
    """The client of the proxy: requests come in, responses go out."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        *,
        first: bytes,
        count: Callable[[int], None],
        idle: float,
    ) -> None:
        """Speak with the client on *stream*, whose *first* bytes were read already."""
        super().__init__(stream, h11.SERVER, count=count, idle=idle)
        self._waiting = bytearray(first)
        self._is_head = False

    @property
    def has_said_all(self) -> bool:
        """Whether the request that was begun has been read to its end."""
        return self._http.their_state not in (h11.IDLE, h11.SEND_BODY, h11.ERROR)

    async def is_asking(self, within: float) -> bool:
        """Wait for a request to begin; False if none does within *within* s.

        An empty line before it is passed over: old clients send one too many after a
        body (RFC 9112 section 2.2).
        """
        self._waiting += self.remaining
        self._http = self._fresh()
        with trio.move_on_after(within):
            while _EMPTY_LINE.startswith(self._waiting):
                if not await self._wait():
                    return False
            if self._waiting.startswith(_EMPTY_LINE):
                del self._waiting[: len(_EMPTY_LINE)]
            return True
        return False

    async def next_request(self, within: float) -> h11.Request:
        """Read the head of the request that has begun, and the end if it has no body.

        Raises:
            HttpFault: if it is refused, or is not there within *within* s.
            StreamEnded: if the client goes away.
        """
        with trio.move_on_after(within):
            size = await self._whole_head()
            check_head(bytes(self._waiting[:size]))
            self._http.receive_data(bytes(self._waiting))
            self._waiting.clear()
            return self._parsed()
        raise HttpFault(
            HTTPStatus.REQUEST_TIMEOUT, "the header fields came too slowly; try again"
        )

    async def answer(self, response: h11.Response, body: bytes) -> None:
        """Send an answer of our own; *body* is left out where HTTP has none."""
        events: list[h11.Event] = [response, h11.EndOfMessage()]
        if not self._is_head:
            events.insert(1, h11.Data(data=body))
        await self.send(*events)

    async def end(self) -> None:
        """Say that no more comes, and let the client read it.

        Closed at once, the kernel would reset the connection if the client is still
        sending, and throw away what it has not read (RFC 9112 section 9.6).
        """
        with trio.move_on_after(_LINGER):
            try:
                await self.stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            while await self._receive():
                pass

    async def _whole_head(self) -> int:
        seen = 0
        while (size := find_head(self._waiting, seen)) is None:
            seen = len(self._waiting)
            if not await self._wait():
                raise StreamEnded
        return size

    async def _wait(self) -> bool:
        data = await self._receive()
        self._waiting += data
        return bool(data)

    def _parsed(self) -> h11.Request:
        self._is_head = False
        try:
            request = self._http.next_event()
            assert isinstance(request, h11.Request)
            if not has_body(request):
                self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise HttpFault(error.error_status_hint, f"no request: {error}") from None
        self._is_head = request.method == b"HEAD"
        return request


class ServerPeer(Peer):
    """A server that the proxy asks for its client."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        *,
        count: Callable[[int], None],
        idle: float,
    ) -> None:
        """Speak with the server on *stream*."""
        super().__init__(stream, h11.CLIENT, count=count, idle=idle)

    def begin(self) -> None:
        """Make ready for an exchange."""
        self.has_heard = False
        self._http = self._fresh()

    async def wait_for_end(self) -> None:
        """Return when the connection cannot be used again, as a server closes it.

        Between exchanges only: whatever comes then is not asked for.
        """
        await self._receive()
