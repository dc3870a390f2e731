"""Where applications connect: one listener, its limits, and who serves what comes.

SOCKS and HTTP can share a listener: the first byte of SOCKS is its version, 4 or 5,
which begins no word of HTTP.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from meshnode.proxy.splice import Traffic
from meshnode.values import frozen

MAX_CLIENTS: Final = 1000
"""Of one listener at once; who comes then is closed at once."""

FIRST_TIMEOUT: Final = 10.0
"""Seconds for a client to say its first byte."""

_FIRST_BYTES: Final = 4096
_SOCKS_VERSIONS: Final = (4, 5)

_log = logging.getLogger("meshnode.proxy")


@frozen
class Client:
    """Who comes: its stream, what was read of it already, and the host it is at.

    *host* is "" for a Unix socket. What is carried is counted in *traffic*.
    """

    stream: trio.SocketStream
    first: bytes
    host: str
    traffic: Traffic


Serve = Callable[[Client], Awaitable[None]]


@frozen
class Speakers:
    """Who serves which protocol; None where it is not spoken. One at least is."""

    socks: Serve | None = None
    http: Serve | None = None


@frozen
class Seen:
    """What a listener has seen: clients now, ever, and refused; bytes both ways."""

    clients: int
    total: int
    refused: int
    sent: int
    received: int


class Listener:
    """One listening socket and its clients.

    `speakers` may be replaced: who comes then is served by them.

    Args:
        listener: the socket, listening.
        speakers: who serves.
        is_welcome: whether a client at that host, "" for a Unix socket, may come.
        max_clients: at once.
    """

    def __init__(
        self,
        listener: trio.SocketListener,
        speakers: Speakers,
        *,
        is_welcome: Callable[[str], bool] = lambda host: True,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self.speakers = speakers
        self._listener = listener
        self._is_welcome = is_welcome
        self._max_clients = max_clients
        self._clients: set[Traffic] = set()
        self._total = 0
        self._refused = 0
        self._sent = 0
        self._received = 0

    def seen(self) -> Seen:
        """Return what was seen until now."""
        return Seen(
            clients=len(self._clients),
            total=self._total,
            refused=self._refused,
            sent=self._sent + sum(one.to_target for one in self._clients),
            received=self._received + sum(one.to_client for one in self._clients),
        )

    async def run(self) -> None:
        """Serve until cancelled; then the listener and all clients are closed."""
        # What serve_listeners makes of a lack of descriptors: it waits a moment.
        await trio.serve_listeners(self._take, [self._listener])

    async def _take(self, stream: trio.SocketStream) -> None:
        host = _host_of(stream)
        if len(self._clients) >= self._max_clients or not self._is_welcome(host):
            self._refused += 1
            await trio.aclose_forcefully(stream)
            return
        self._total += 1
        traffic = Traffic()
        self._clients.add(traffic)
        try:
            await self._serve(stream, host, traffic)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as gone:
            _log.debug("a client went: %s", gone.exceptions[0])
        except* Exception:
            # One client must not end the others; what happened must not be lost.
            _log.exception("a client could not be served")
        finally:
            self._clients.discard(traffic)
            self._sent += traffic.to_target
            self._received += traffic.to_client
            await trio.aclose_forcefully(stream)

    async def _serve(
        self, stream: trio.SocketStream, host: str, traffic: Traffic
    ) -> None:
        speakers = self.speakers
        first = b""
        if speakers.socks is not None and speakers.http is not None:
            with trio.move_on_after(FIRST_TIMEOUT):
                first = bytes(await stream.receive_some(_FIRST_BYTES))
            if not first:
                return
        is_socks = first[0] in _SOCKS_VERSIONS if first else speakers.http is None
        serve = speakers.socks if is_socks else speakers.http
        if serve is not None:
            await serve(Client(stream, first, host, traffic))


def _host_of(stream: trio.SocketStream) -> str:
    """Return the address of a client in its usual form, "" if it has none."""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""  # it has gone already; whoever serves it will see
    if not isinstance(name, tuple):
        return ""
    return str(name[0]).partition("%")[0].removeprefix("::ffff:")
