"""What an HTTP proxy says itself: faults, with a line that helps, and its pages."""

from http import HTTPStatus
from typing import Final

import h11

from meshnode.proxy.outlets import OutletError, Refusal

PAC_TYPE: Final = "application/x-ns-proxy-autoconfig"
_TEXT_TYPE: Final = "text/plain; charset=utf-8"
_REALM: Final = "meshnode proxy"

_STATUS: Final = {
    Refusal.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Refusal.TIMED_OUT: HTTPStatus.GATEWAY_TIMEOUT,
    Refusal.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
}
_HELP: Final = {
    Refusal.NO_SUCH_NAME: "check the spelling",
    Refusal.REFUSED: "is the service running, and the port right?",
    Refusal.FORBIDDEN: "ask who runs this proxy to allow it",
    Refusal.BUSY: "close some connections, or try again later",
    Refusal.UNSUPPORTED: "use another listener of this proxy",
}
_HELP_ELSE: Final = "is it up, and the exit that this listener uses?"


class HttpFault(Exception):
    """A request is not fulfilled: a status of 400–599 and a line for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def fault_of(error: OutletError, place: str) -> HttpFault:
    """Return how to say that *place* (`host:port`) was not reached."""
    refusal = error.refusal
    status = _STATUS.get(refusal, HTTPStatus.BAD_GATEWAY)
    advice = _HELP.get(refusal, _HELP_ELSE)
    return HttpFault(status, f"{place}: {refusal.value}; {advice}")


def fault_answer(fault: HttpFault, closes: bool) -> tuple[h11.Response, bytes]:
    """Return the response for *fault*, and its body.

    *closes* says that the connection ends with it.
    """
    answer, body = page_answer(fault.status, _TEXT_TYPE, f"meshnode: {fault.text}\n")
    fields = answer.headers.raw_items()
    if fault.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        asks = f'Basic realm="{_REALM}", charset="UTF-8"'
        fields.append((b"Proxy-Authenticate", asks.encode()))
    if closes:
        fields.append((b"Connection", b"close"))
    return (
        h11.Response(
            status_code=answer.status_code, reason=answer.reason, headers=fields
        ),
        body,
    )


def page_answer(
    status: int, content_type: str, text: str
) -> tuple[h11.Response, bytes]:
    """Return a response with *text* as its body, which nobody keeps."""
    body = text.encode()
    fields = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        # It may name what was asked for, and is no page of the server's.
        ("X-Content-Type-Options", "nosniff"),
    ]
    reason = HTTPStatus(status).phrase
    return h11.Response(status_code=status, reason=reason, headers=fields), body


def own_page(request: h11.Request, pac: str | None) -> tuple[h11.Response, bytes]:
    """Answer a request that is not for another server.

    *pac* is the text of `/proxy.pac`, None if there is none.

    Raises:
        HttpFault: if there is no such page, or it is no GET or HEAD.
    """
    path = request.target.partition(b"?")[0]
    if request.method in (b"GET", b"HEAD"):
        if path == b"/proxy.pac" and pac is not None:
            return page_answer(HTTPStatus.OK, PAC_TYPE, pac)
        if path == b"/":
            return page_answer(HTTPStatus.OK, _TEXT_TYPE, _explanation(pac))
    raise HttpFault(
        HTTPStatus.BAD_REQUEST,
        "this is an HTTP proxy: give it as a proxy, or ask for http://HOST/PATH",
    )


def trace_answer(
    request: h11.Request, hidden: frozenset[bytes]
) -> tuple[h11.Response, bytes]:
    """Return a TRACE to who sent it, without *hidden* fields (RFC 9110 9.3.8)."""
    lines = [b"TRACE %s HTTP/%s\r\n" % (request.target, request.http_version)]
    for name, value in request.headers.raw_items():
        if name.lower() not in hidden:
            lines.append(b"%s: %s\r\n" % (name, value))
    body = b"".join([*lines, b"\r\n"])
    fields = [("Content-Type", "message/http"), ("Content-Length", str(len(body)))]
    return h11.Response(status_code=HTTPStatus.OK, reason="OK", headers=fields), body


def options_answer() -> tuple[h11.Response, bytes]:
    """Answer OPTIONS in the place of a server (RFC 9110 section 7.6.2)."""
    fields = [("Allow", "OPTIONS, TRACE"), ("Content-Length", "0")]
    return h11.Response(status_code=HTTPStatus.OK, reason="OK", headers=fields), b""


def _explanation(pac: str | None) -> str:
    line = "This is an HTTP proxy of meshnode: give it as a proxy to your client."
    return f"{line} A PAC file is at /proxy.pac.\n" if pac is not None else f"{line}\n"


BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    b"Retry-After: 5\r\nConnection: close\r\nContent-Length: 63\r\n\r\n"
    b"meshnode: too many clients are connected; try again in a while\n"
)
"""What a listener may say to a client it has no place for, before it closes."""
