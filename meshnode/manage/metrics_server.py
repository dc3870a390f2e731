"""Serve the metrics of one node over HTTP, for Prometheus and health checks.

`GET /metrics` gives the text, `GET /healthz` 200 if the node has no complaint and 503
if it has. Nothing else is there, nothing can be changed, and only requests whose Host
is an address are answered: a web page in somebody's browser cannot ask by a name of
its own (DNS rebinding). One client has ten seconds and 8 KiB.
"""

import ipaddress
import logging
from collections.abc import Callable
from typing import Final

import h11
import trio

from meshnode.manage.metrics import CONTENT_TYPE

MAX_CLIENTS: Final = 16
CLIENT_TIMEOUT: Final = 10.0
MAX_REQUEST_BYTES: Final = 8192

_RECEIVE_BYTES: Final = 4096
_log = logging.getLogger("meshnode.manage")


async def serve_metrics(
    host: str,
    port: int,
    *,
    metrics: Callable[[], str],
    complaints: Callable[[], list[str]],
) -> None:
    """Serve on *host* (an address) and *port* until cancelled.

    *metrics* gives the text, *complaints* what is wrong with the node.

    Raises:
        OSError: if the port cannot be had.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    slots = trio.Semaphore(MAX_CLIENTS)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            slots.acquire_nowait()
        except trio.WouldBlock:
            return  # who waits would hold a descriptor, of which we need some
        try:
            with trio.move_on_after(CLIENT_TIMEOUT):
                await _serve_client(stream, metrics, complaints)
        finally:
            slots.release()

    await trio.serve_listeners(handle, listeners)


def answer(
    request: h11.Request,
    metrics: Callable[[], str],
    complaints: Callable[[], list[str]],
) -> tuple[int, str, str]:
    """Return status, content type and text for *request*."""
    if not _is_asked_by_address(request):
        return 421, "text/plain", "ask by address\n"
    if request.method != b"GET":
        return 405, "text/plain", "only GET\n"
    match request.target:
        case b"/metrics":
            return 200, CONTENT_TYPE, metrics()
        case b"/healthz":
            found = complaints()
            text = "".join(f"{complaint}\n" for complaint in found) or "ok\n"
            return (503 if found else 200), "text/plain; charset=utf-8", text
    return 404, "text/plain", "/metrics and /healthz are here\n"


def _is_asked_by_address(request: h11.Request) -> bool:
    hosts = [value for name, value in request.headers if name == b"host"]
    if len(hosts) != 1:
        return False
    text = hosts[0].decode("ascii", "replace")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    else:
        text = text.partition(":")[0]
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


async def _serve_client(
    stream: trio.SocketStream,
    metrics: Callable[[], str],
    complaints: Callable[[], list[str]],
) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
    try:
        request = await _receive_request(stream, connection)
        if request is None:
            return
        status, content_type, text = answer(request, metrics, complaints)
    except h11.RemoteProtocolError as error:
        status, content_type, text = error.error_status_hint, "text/plain", "no HTTP\n"
    except trio.BrokenResourceError:
        return
    data = text.encode()
    headers = [
        ("content-type", content_type),
        ("content-length", str(len(data))),
        ("connection", "close"),
    ]
    events: list[h11.Event] = [
        h11.Response(status_code=status, headers=headers),
        h11.Data(data=data),
        h11.EndOfMessage(),
    ]
    try:
        await stream.send_all(b"".join(connection.send(e) or b"" for e in events))
    except (trio.BrokenResourceError, h11.LocalProtocolError) as error:
        _log.debug("metrics: a client was not answered: %r", error)


async def _receive_request(
    stream: trio.SocketStream, connection: h11.Connection
) -> h11.Request | None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if isinstance(event, h11.ConnectionClosed):
            return None
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(_RECEIVE_BYTES))
