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
        self._request = request
        self._via = via
        self._fault: Exception | None = None
        self._moved = 0
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
        while True:
            event = await self._next(self._client)
            if isinstance(event, h11.EndOfMessage):
                fields = trailer_fields(event.headers.raw_items())
                await self._server.send(h11.EndOfMessage(headers=fields))
                self.is_uploaded = True
                return
            await self._server.send(event)

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

    async def _next(self, peer: ClientPeer | ServerPeer) -> h11.Event:
        """Return what *peer* says next; who waits for the other may be silent."""
        while True:
            moved = self._moved
            try:
                event = await peer.next_event()
            except trio.TooSlowError:
                if self._moved == moved:
                    raise
            else:
                self._moved += 1
                return event

    def _end_with(self, fault: Exception) -> None:
        """Keep the first fault: those after it are of its making."""
        self._fault = self._fault or fault

    async def _pass_answer_down(self) -> None:
        response = await self._response_head()
        if response is None:
            return
        check_response(response)
        fields = response_fields(response, self._via)
        if not self.is_uploaded:
            # It answers before it has seen all: then nobody waits for the rest.
            fields.append((b"Connection", b"close"))
        answer = h11.Response(
            status_code=response.status_code, reason=response.reason, headers=fields
        )
        self.has_begun = True
        await self._client.send(answer)
        while not isinstance(event := await self._next(self._server), h11.EndOfMessage):
            await self._client.send(event)
        trailers = []
        if is_chunked(response) and self._request.http_version >= b"1.1":
            trailers = trailer_fields(event.headers.raw_items())
        await self._client.send(h11.EndOfMessage(headers=trailers))

    async def _response_head(self) -> h11.Response | None:
        """Pass interim responses on; None if the protocol was switched (101)."""
        while True:
            event = await self._next(self._server)
            if isinstance(event, h11.Response):
                return event
            assert isinstance(event, h11.InformationalResponse)
            self.has_switched = event.status_code == HTTPStatus.SWITCHING_PROTOCOLS
            if self._request.http_version >= b"1.1":
                await self._client.send(
                    h11.InformationalResponse(
                        status_code=event.status_code,
                        reason=event.reason,
                        headers=response_fields(event, self._via),
                    )
                )
            if self.has_switched:
                return None
