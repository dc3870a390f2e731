"""Header fields of what passes a proxy (RFC 9110 section 7.6).

Fields that are for one hop are taken off, `Via` is added, and what the configuration
wants set or removed is. `X-Forwarded-For` is not added: who asks stays unknown.
"""

import base64
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import h11

from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_changes import ALWAYS_KEPT, ONE_HOP, Fields, HeaderChanges

_NO_TRAILERS: Final = frozenset(
    (
        *(b"authorization", b"cache-control", b"content-encoding", b"content-length"),
        *(b"content-range", b"content-type", b"cookie", b"expect", b"host"),
        *(b"max-forwards", b"set-cookie", b"trailer", b"via"),
    )
)
# Who speaks HTTP/2 within a connection that was upgraded would pass by the rules.
_NO_UPGRADE: Final = re.compile(rb"\s*(h2c?|http)\b.*", re.IGNORECASE | re.DOTALL)

PRIVATE: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie"))
"""Fields that TRACE does not show (RFC 9110 section 9.3.8)."""


def request_fields(
    request: h11.Request, *, host: str, via: str, changes: HeaderChanges
) -> Fields:
    """Return the fields to send to the server for *request*.

    *host* is its Host field, *via* our name. Fields for our own hop are among them.
    """
    fields = [(b"Host", host.encode())]
    fields += changes.apply(_end_to_end(request, {b"host"}))
    fields.append(_via(request, via))
    options = []
    if b"trailers" in _listed(request.headers, b"te"):
        options.append(b"TE")
        fields.append((b"TE", b"trailers"))
    if upgrade := wanted_upgrade(request):
        options.append(b"Upgrade")
        fields.append((b"Upgrade", upgrade))
    if options:
        fields.append((b"Connection", b", ".join(options)))
    if is_chunked(request):
        fields.append((b"Transfer-Encoding", b"chunked"))
    if request.http_version < b"1.1":
        # RFC 9110 10.1.1: nobody may tell an old client to continue.
        fields = [field for field in fields if field[0].lower() != b"expect"]
    return fields


def response_fields(
    response: h11.Response | h11.InformationalResponse, via: str
) -> Fields:
    """Return the fields to send to the client for *response*; *via* is our name.

    Transfer codings are h11's to add.
    """
    fields = _end_to_end(response, set())
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        fields.append((b"Connection", b"Upgrade"))
        fields += [
            (b"Upgrade", value)
            for name, value in response.headers
            if name == b"upgrade"
        ]
    return [*fields, _via(response, via)]


def trailer_fields(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return those of *fields* that may stand behind a body (RFC 9110 6.5.1)."""
    refused = ONE_HOP | _NO_TRAILERS
    return [field for field in fields if field[0].lower() not in refused]


def is_chunked(message: h11.Request | h11.Response) -> bool:
    """Say whether its body comes in chunks."""
    return any(name == b"transfer-encoding" for name, _ in message.headers)


def has_body(request: h11.Request) -> bool:
    """Say whether a body follows, be it of no bytes."""
    lengths = [value for name, value in request.headers if name == b"content-length"]
    return is_chunked(request) or any(length.strip(b"0") for length in lengths)


def wanted_upgrade(request: h11.Request) -> bytes:
    """Return the protocols to change to, empty if none or not ours to pass on."""
    values = [value for name, value in request.headers if name == b"upgrade"]
    wanted = b", ".join(values)
    if (
        request.http_version < b"1.1"
        or has_body(request)
        or b"upgrade" not in _listed(request.headers, b"connection")
        or any(map(_NO_UPGRADE.fullmatch, wanted.split(b",")))
    ):
        return b""
    return wanted


def has_passed(request: h11.Request, via: str) -> bool:
    """Say whether *request* has been here before: *via*, our name, is in its Via."""
    ours = via.lower().encode()
    return any(
        ours in entry.lower().split()[1:2]
        for name, value in request.headers
        if name == b"via"
        for entry in value.split(b",")
    )


def forwards_left(request: h11.Request) -> int | None:
    """Return how many more proxies TRACE and OPTIONS may pass, None if any number.

    Raises:
        HttpFault: 400, if Max-Forwards is no number (RFC 9110 section 7.6.2).
    """
    if request.method not in (b"TRACE", b"OPTIONS"):
        return None
    values = [value for name, value in request.headers if name == b"max-forwards"]
    if not values:
        return None
    if len(values) > 1 or not values[0].isdigit() or len(values[0]) > 9:
        raise HttpFault(HTTPStatus.BAD_REQUEST, "Max-Forwards is no number")
    return int(values[0])


def with_forwards(fields: Fields, left: int) -> Fields:
    """Return *fields* with Max-Forwards changed to *left*."""
    return [
        (name, b"%d" % left) if name.lower() == b"max-forwards" else (name, value)
        for name, value in fields
    ]


def basic_credentials(request: h11.Request) -> tuple[str, str] | None:
    """Return user and password of Proxy-Authorization (RFC 7617), None if not there."""
    values = [v for name, v in request.headers if name == b"proxy-authorization"]
    scheme, _, encoded = (values[0] if len(values) == 1 else b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def _end_to_end(
    message: h11.Request | h11.Response | h11.InformationalResponse, also: set[bytes]
) -> Fields:
    named = frozenset(_listed(message.headers, b"connection")) - ALWAYS_KEPT
    gone = ONE_HOP | named | also
    return [item for item in message.headers.raw_items() if item[0].lower() not in gone]


def _via(
    message: h11.Request | h11.Response | h11.InformationalResponse, via: str
) -> tuple[bytes, bytes]:
    return b"Via", b"%s %s" % (message.http_version, via.encode())


def _listed(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    values = b",".join(value for found, value in fields if found == name)
    return [part.strip(b" \t").lower() for part in values.split(b",")]
