"""The two ends of an HTTP proxy under test: raw bytes of a client, scripted servers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11
import trio
import trio.testing

from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_server import HttpOptions, serve_http
from meshnode.proxy.outlets import Datagrams, Incoming, OutletError, Refusal
from meshnode.types import Endpoint, Target

Stream = trio.abc.HalfCloseableStream
Handler = Callable[[Stream], Awaitable[None]]
OPTIONS = HttpOptions("here")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Seen:
    """A request as a server got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for found, value in self.headers if found == name]


def text_fields(
    fields: Iterable[tuple[bytes, bytes]],
) -> list[tuple[str, str]]:
    """Header fields as texts, names in lower case."""
    return [(n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in fields]


class Servers:
    """An outlet to servers in memory: each connection is given to a handler."""

    def __init__(self, nursery: trio.Nursery, handler: Handler) -> None:
        self.nursery = nursery
        self.handler = handler
        self.asked: list[Target] = []
        self.refusal: Refusal | None = None
        self.delay = 0.0
        self.proxy_is_over = trio.Event()

    async def connect(self, target: Target) -> tuple[Stream, Endpoint]:
        """Connect to a server, whatever its address."""
        await trio.sleep(self.delay)
        self.asked.append(target)
        if self.refusal is not None:
            raise OutletError(self.refusal)
        near, far = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._handle, far)
        return near, Endpoint("0.0.0.0", 0)

    async def open_datagrams(self) -> Datagrams:
        """There are none."""
        raise OutletError(Refusal.UNSUPPORTED)

    async def listen(self, peer: Target) -> Incoming:
        """Nobody calls."""
        raise OutletError(Refusal.UNSUPPORTED)

    async def _handle(self, stream: Stream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                await self.handler(stream)


class Script:
    """A server that notes each request and gives the next of its answers.

    After the last of *answers*, and in the place of an empty one, it closes the
    connection; the next goes on with the answers.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.seen: list[Seen] = []
        self.connections = 0

    async def __call__(self, stream: Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        while self.answers:
            request = await read_request(stream, http)
            if request is None:
                return
            self.seen.append(request)
            answer = self.answers.pop(0)
            if not answer:
                return
            await stream.send_all(answer)
            http.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            http.send(h11.EndOfMessage())
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()


async def read_request(stream: Stream, http: h11.Connection) -> Seen | None:
    """Read one request to its end."""
    seen: Seen | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Request):
            seen = Seen(
                event.method.decode(), event.target.decode(), text_fields(event.headers)
            )
        elif isinstance(event, h11.Data):
            assert seen is not None
            seen.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert seen is not None
            seen.trailers = text_fields(event.headers)
            return seen
        else:
            return None


async def talk(
    data: bytes,
    handler: Handler,
    *,
    rules: RuleBook | None = None,
    credentials: CredentialCheck | None = None,
    options: HttpOptions = OPTIONS,
    refusal: Refusal | None = None,
) -> bytes:
    """Send *data* as a client that then says no more; return all that comes back."""
    async with connected(
        handler, rules=rules, credentials=credentials, options=options
    ) as (client, servers):
        servers.refusal = refusal
        with trio.fail_after(10_000):  # of a clock that jumps, if it comes to that
            servers.nursery.start_soon(_send, client, data)
            received = await read_all(client)
            # Cancelled instead, it could not show what went wrong with it.
            await servers.proxy_is_over.wait()
            return received


@asynccontextmanager
async def connected(
    handler: Handler,
    *,
    rules: RuleBook | None = None,
    credentials: CredentialCheck | None = None,
    options: HttpOptions = OPTIONS,
) -> AsyncIterator[tuple[Stream, Servers]]:
    """A client's connection to a proxy, and the servers that it uses."""
    book = rules or RuleBook()
    client, ours = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        servers = Servers(nursery, handler)

        async def serve() -> None:
            await serve_http(
                ours,
                outlet=servers,
                credentials=credentials,
                rules=lambda: book,
                options=options,
            )
            servers.proxy_is_over.set()

        nursery.start_soon(serve)
        yield client, servers
        nursery.cancel_scope.cancel()


async def read_all(stream: Stream) -> bytes:
    """Read to the end, be it a good one or not."""
    data = b""
    try:
        while piece := await stream.receive_some(65536):
            data += piece
    except trio.BrokenResourceError:
        pass
    return data


def answers(data: bytes, methods: list[str] | None = None) -> list[tuple[int, Seen]]:
    """Parse what a proxy answered: status and the rest of each response."""
    found = []
    http = h11.Connection(h11.CLIENT)
    http.receive_data(data)
    http.receive_data(b"")
    for method in methods or ["GET"] * 100:
        if not http.trailing_data[0]:
            break
        http.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        http.send(h11.EndOfMessage())
        status, seen = 0, Seen(method, "", [])
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response | h11.InformationalResponse):
                status, seen.headers = event.status_code, text_fields(event.headers)
            elif isinstance(event, h11.Data):
                seen.body += event.data
            else:
                break
            if status < 200:
                found.append((status, seen))
        seen.trailers = text_fields(getattr(event, "headers", []))
        found.append((status, seen))
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            break
        http.start_next_cycle()
    return found


async def _send(stream: Stream, data: bytes) -> None:
    try:
        await stream.send_all(data)
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
