"""The HTTP proxy: serves one connection of a client (RFC 9110, RFC 9112).

Requests for `http://` URLs are passed on and their answers back; CONNECT makes a
tunnel that nobody looks into, as an Upgrade does. A connection to a server belongs to
one client's connection alone and is used again for its next request to the same
place; nothing of one client ever reaches another.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import h11
import trio

from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.http_answers import (
    HttpFault,
    fault_answer,
    fault_of,
    options_answer,
    own_page,
    trace_answer,
)
from meshnode.proxy.http_changes import HeaderChanges
from meshnode.proxy.http_exchange import Exchange, ServerGone
from meshnode.proxy.http_headers import (
    PRIVATE,
    basic_credentials,
    forwards_left,
    has_body,
    has_passed,
    request_fields,
    with_forwards,
)
from meshnode.proxy.http_peer import ClientPeer, ServerPeer, StreamEnded
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_targets import (
    HttpUrl,
    check_host_field,
    is_absolute,
    parse_authority,
    parse_url,
)
from meshnode.proxy.outlets import Outlet, OutletError, Refusal
from meshnode.proxy.splice import Traffic, splice
from meshnode.types import Target
from meshnode.values import frozen

_REPEATABLE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_log = logging.getLogger("meshnode.proxy")


@frozen
class HttpLimits:
    """How long a client or a server may let us wait, in seconds."""

    head: float = 10.0
    """For the header fields of a request, and for the first one to begin."""
    keep_alive: float = 60.0
    """Between two requests."""
    connect: float = 30.0
    """For a connection to a server."""
    idle: float = 300.0
    """Without a byte within a request or a response."""
    tunnel: float = 3600.0
    """Without a byte within a tunnel."""


@frozen
class HttpOptions:
    """What a listener has for all its clients.

    `via` is our name in Via fields: a token that no other proxy has, by which a
    request that comes back is known. `pac` gives the text of `/proxy.pac`, if there
    is one.
    """

    via: str
    pac: Callable[[], str] | None = None
    changes: HeaderChanges = HeaderChanges()
    limits: HttpLimits = HttpLimits()


async def serve_http(
    stream: trio.abc.HalfCloseableStream,
    *,
    outlet: Outlet,
    credentials: CredentialCheck | None,
    rules: Callable[[], RuleBook],
    options: HttpOptions,
    first: bytes = b"",
    traffic: Traffic | None = None,
) -> None:
    """Serve a client until it or we have enough of it, and close *stream*.

    Args:
        stream: the client's connection.
        outlet: makes the connections to servers.
        credentials: judges user and password; None lets everybody in.
        rules: asked anew for every request.
        options: what this listener has for all its clients.
        first: bytes that were read from *stream* already.
        traffic: counts what passes.
    """
    traffic = traffic or Traffic()
    client = ClientPeer(
        stream,
        first=first,
        count=traffic.add_to_client,
        idle=options.limits.idle,
    )
    session = _Session(client, outlet, credentials, rules, options, traffic)
    async with stream:
        try:
            await session.run()
        except StreamEnded:
            _log.debug("http: a client went away")
        finally:
            await session.drop_server()


class _Session:
    """The requests of one client, one after the other."""

    def __init__(
        self,
        client: ClientPeer,
        outlet: Outlet,
        credentials: CredentialCheck | None,
        rules: Callable[[], RuleBook],
        options: HttpOptions,
        traffic: Traffic,
    ) -> None:
        self._client = client
        self._traffic = traffic
        self._outlet = outlet
        self._credentials = credentials
        self._rules = rules
        self._options = options
        self._server: ServerPeer | None = None
        self._server_place: Target | None = None

    async def run(self) -> None:
        """Serve requests until the connection cannot be used any more."""
        limits = self._options.limits
        within = limits.head
        while await self._is_asked(within):
            try:
                await self._serve(await self._client.next_request(limits.head))
            except HttpFault as fault:
                is_over = not self._client.has_said_all
                await self._client.answer(*fault_answer(fault, is_over))
            if not self._client.is_reusable:
                await self._client.end()
                return
            within = limits.keep_alive

    async def drop_server(self) -> None:
        """Close the connection to a server, if there is one."""
        if self._server is not None:
            server, self._server = self._server, None
            await trio.aclose_forcefully(server.stream)

    async def _is_asked(self, within: float) -> bool:
        """Wait for a request, and let go of a server that hangs up meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_server)
            is_asked = await self._client.is_asking(within)
            nursery.cancel_scope.cancel()
        return is_asked

    async def _watch_server(self) -> None:
        if self._server is not None:
            await self._server.wait_for_end()
            await self.drop_server()

    async def _serve(self, request: h11.Request) -> None:
        for name, value in request.headers:
            if name == b"host":
                check_host_field(value)
        is_tunnel = request.method == b"CONNECT"
        if not is_tunnel and not is_absolute(request.target):
            pac = self._options.pac
            page = own_page(request, pac() if pac is not None else None)
            await self._client.answer(*page)
            return
        await self._authenticate(request)
        if has_passed(request, self._options.via):
            raise HttpFault(
                HTTPStatus.LOOP_DETECTED,
                "the request came back to this proxy; mend the proxies' settings",
            )
        if is_tunnel:
            await self._serve_tunnel(request)
        else:
            await self._serve_url(request, parse_url(request.target))

    async def _authenticate(self, request: h11.Request) -> None:
        if self._credentials is None:
            return
        given = basic_credentials(request)
        if given is None or not await self._credentials(*given):
            raise HttpFault(
                HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
                "give the user name and the password that this proxy has for you",
            )

    async def _serve_tunnel(self, request: h11.Request) -> None:
        if has_body(request):
            raise HttpFault(HTTPStatus.BAD_REQUEST, "a CONNECT has no body")
        place = parse_authority(request.target)
        if not self._rules().permits(place):
            raise _forbidden(str(place))
        await self.drop_server()
        server = await self._connect(place)
        await self._client.send(
            h11.Response(status_code=200, reason="Connection established", headers=[])
        )
        await self._splice(server)

    async def _serve_url(self, request: h11.Request, url: HttpUrl) -> None:
        if not self._rules().permits_url(url.place, url.path):
            raise _forbidden(f"http://{url.authority}{url.path}")
        fields = request_fields(
            request,
            host=url.authority,
            via=self._options.via,
            changes=self._options.changes,
        )
        if request.method == b"TRACE" and has_body(request):
            raise HttpFault(HTTPStatus.BAD_REQUEST, "a TRACE has no body")
        left = forwards_left(request)
        if left == 0:
            await self._client.answer(*_last_answer(request))
            return
        if left is not None:
            fields = with_forwards(fields, left - 1)
        is_about_all = request.method == b"OPTIONS" and url.is_bare
        outgoing = h11.Request(
            method=request.method,
            target="*" if is_about_all else url.path,
            headers=fields,
        )
        await self._forward(request, outgoing, url.place)

    async def _forward(
        self, request: h11.Request, outgoing: h11.Request, place: Target
    ) -> None:
        """Pass *request* to *place* as *outgoing*, over the connection that is there.

        A server may close that in the very moment when it is used again; then
        what can be repeated is, on a new one (RFC 9112 section 9.3.1).
        """
        has_content = has_body(request)
        can_repeat = (
            self._server is not None
            and self._server_place == place
            and request.method in _REPEATABLE
            and not has_content
        )
        while True:
            server = await self._server_for(place)
            exchange = Exchange(self._client, server, request, self._options.via)
            try:
                await exchange.run(outgoing, has_body=has_content)
            except ServerGone:
                await self.drop_server()
                if can_repeat:
                    can_repeat = False
                    continue
                raise HttpFault(
                    HTTPStatus.BAD_GATEWAY,
                    f"{place} closed the connection instead of an answer; try again",
                ) from None
            except HttpFault as fault:
                await self.drop_server()
                if exchange.has_begun:
                    raise StreamEnded from fault
                raise
            break
        if exchange.has_switched:
            await self._splice(server)
        if not server.is_reusable or server.remaining:
            await self.drop_server()

    async def _server_for(self, place: Target) -> ServerPeer:
        if self._server is None or self._server_place != place:
            await self.drop_server()
            return await self._connect(place)
        return self._server

    async def _connect(self, place: Target) -> ServerPeer:
        limits = self._options.limits
        try:
            with trio.fail_after(limits.connect):
                stream, _ = await self._outlet.connect(place)
        except trio.TooSlowError:
            raise fault_of(OutletError(Refusal.TIMED_OUT), str(place)) from None
        except OutletError as error:
            raise fault_of(error, str(place)) from None
        self._server = ServerPeer(
            stream, count=self._traffic.add_to_target, idle=limits.idle
        )
        self._server_place = place
        return self._server

    async def _splice(self, server: ServerPeer) -> None:
        """Pass bytes both ways, those that came behind the last message first."""
        await self._client.send_bytes(server.remaining)
        await server.send_bytes(self._client.remaining)
        await splice(
            self._client.stream,
            server.stream,
            self._traffic,
            idle=self._options.limits.tunnel,
        )
        await self.drop_server()


def _last_answer(request: h11.Request) -> tuple[h11.Response, bytes]:
    """Answer a request that may pass no further proxy, as the server would."""
    if request.method == b"TRACE":
        return trace_answer(request, PRIVATE)
    return options_answer()


def _forbidden(what: str) -> HttpFault:
    return HttpFault(
        HTTPStatus.FORBIDDEN, f"{what}: the rules forbid it; ask who runs this proxy"
    )
