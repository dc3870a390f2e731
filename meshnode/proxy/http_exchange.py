"""One request and its response, passed through: bodies both ways at once."""

from http import HTTPStatus
from typing import Final

import h11
import trio

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_headers import (
    is_chunked,
    response_fields,
    trailer_fields,
)
from meshnode.proxy.http_heads import check_response
from meshnode.proxy.http_peer import ClientPeer, ServerPeer, StreamEnded

_REPAIR: Final = "the server must be repaired, or try again"


class ServerGone(Exception):
    """The server ended the connection without a byte of an answer."""


class Exchange:
    """Passes one request on, and what comes of it back.

    Where it fails before anything was sent to the client, the fault says so and can be
    answered; after that both connections can only be closed.
    """

    def __init__(
        self, client: ClientPeer, server: ServerPeer, request: h11.Request, via: str
    ) -> None:
        """Pass from *client*, who sent *request*, to *server*; *via* is our name."""
        self._client = client
        self._server = server
        self._is_old = request.http_version < b"1.1"
        self._via = via
        self._fault: Exception | None = None
        self._moved = 0
        self._has_trailers = False
        self.has_begun = False
        self.is_uploaded = False
        self.has_switched = False

    async def run(self, outgoing: h11.Request, *, has_body: bool) -> None:
        """Send *outgoing*, the body behind it if it *has_body*, and pass the answer on.

        Raises:
            HttpFault: if the client or the server broke the protocol or was too slow.
            ServerGone: if the server closed the connection instead of an answer.
            StreamEnded: if the client is gone.
        """
        self._server.begin()
        try:
            if has_body:
                await self._server.send(outgoing)
            else:
                await self._server.send(outgoing, h11.EndOfMessage())
                self.is_uploaded = True
        except StreamEnded:
            raise ServerGone from None
        async with trio.open_nursery() as nursery:
            if has_body:
                nursery.start_soon(self._upload, nursery.cancel_scope)
            await self._download()
            nursery.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault

    async def _upload(self, scope: trio.CancelScope) -> None:
        try:
            await self._pass_body_up()
        except h11.RemoteProtocolError as error:
            self._end_with(HttpFault(HTTPStatus.BAD_REQUEST, f"bad body: {error}"))
            scope.cancel()
        except trio.TooSlowError:
            text = "the rest of the body did not come"
            self._end_with(HttpFault(HTTPStatus.REQUEST_TIMEOUT, text))
            scope.cancel()
        except StreamEnded:
            pass  # it wants no more of the body, and may say why

    async def _pass_body_up(self) -> None:
        while not self.is_uploaded:
            events = await self._next(self._client)
            *_, last = events
            if isinstance(last, h11.EndOfMessage):
                fields = trailer_fields(last.headers.raw_items())
                events[-1] = h11.EndOfMessage(headers=fields)
            await self._server.send(*events)
            self.is_uploaded = isinstance(last, h11.EndOfMessage)

    async def _download(self) -> None:
        try:
            await self._pass_answer_down()
        except (HttpFault, ServerGone, StreamEnded) as error:
            self._end_with(error)
        except h11.RemoteProtocolError as error:
            if not self._server.has_heard:
                self._end_with(ServerGone())
                return
            text = f"the server broke HTTP: {error}; {_REPAIR}"
            self._end_with(HttpFault(HTTPStatus.BAD_GATEWAY, text))
        except trio.TooSlowError:
            text = "the server does not answer; try again later"
            self._end_with(HttpFault(HTTPStatus.GATEWAY_TIMEOUT, text))

    async def _next(self, peer: ClientPeer | ServerPeer) -> list[h11.Event]:
        """Return what *peer* says next; who waits for the other may be silent."""
        while True:
            moved = self._moved
            try:
                events = await peer.next_events()
            except trio.TooSlowError:
                if self._moved == moved:
                    raise
            else:
                self._moved += 1
                return events

    def _end_with(self, fault: Exception) -> None:
        """Keep the first fault: those after it are of its making."""
        self._fault = self._fault or fault

    async def _pass_answer_down(self) -> None:
        while not self.has_switched:
            events = await self._next(self._server)
            await self._client.send(*filter(None, map(self._translated, events)))
            if isinstance(events[-1], h11.EndOfMessage):
                return

    def _translated(self, event: h11.Event) -> h11.Event | None:
        """Return what the client is to get for *event* of the server.

        Raises:
            HttpFault: if it must not be passed on.
        """
        match event:
            case h11.InformationalResponse():
                return self._interim(event)
            case h11.Response():
                check_response(event)
                self.has_begun = True
                self._has_trailers = is_chunked(event) and not self._is_old
                return self._final(event)
            case h11.EndOfMessage():
                fields = event.headers.raw_items() if self._has_trailers else ()
                return h11.EndOfMessage(headers=trailer_fields(fields))
        return event

    def _interim(
        self, response: h11.InformationalResponse
    ) -> h11.InformationalResponse | None:
        self.has_switched = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        if self._is_old:
            return None
        return h11.InformationalResponse(
            status_code=response.status_code,
            reason=response.reason,
            headers=response_fields(response, self._via),
        )

    def _final(self, response: h11.Response) -> h11.Response:
        fields = response_fields(response, self._via)
        if not self.is_uploaded:
            # It answers before it has seen all: then nobody waits for the rest.
            fields.append((b"Connection", b"close"))
        return h11.Response(
            status_code=response.status_code, reason=response.reason, headers=fields
        )
