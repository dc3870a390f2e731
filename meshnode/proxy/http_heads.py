"""The head of a request before h11 sees it: whole, of bounded size, and unambiguous.

h11 forgives what RFC 9112 lets a recipient forgive: bare line feeds, folded lines,
a Content-Length that is repeated or stands beside Transfer-Encoding. Behind such
forgiveness two parsers see different messages in one stream of bytes, so a proxy must
not have it. All else (names, values, chunks) h11 checks, and everything that goes on
is written anew, never copied.
"""

import re
from http import HTTPStatus
from typing import Final

import h11

from meshnode.proxy.http_answers import HttpFault

MAX_HEAD: Final = 64 * 1024
"""Bytes of a request's line and fields."""
MAX_TARGET: Final = 8 * 1024
"""Bytes of the target in the request's line."""
MAX_FIELDS: Final = 100

_END: Final = re.compile(rb"\n\r?\n")
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_VERSIONS: Final = (b"HTTP/1.0", b"HTTP/1.1")
_MAX_METHOD: Final = 64


def find_head(data: bytes | bytearray, seen: int = 0) -> int | None:
    """Return where the head at the start of *data* ends, None if that is to come.

    The first *seen* bytes were there at the last call.

    Raises:
        HttpFault: if it can be no head (400) or is too large (414, 431).
    """
    if data and data[0] < 0x21:
        raise _bad("this is no HTTP; HTTPS goes through CONNECT")
    found = _END.search(data, max(0, seen - 2))
    end = found.end() if found else len(data)
    if end > MAX_HEAD:
        raise HttpFault(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the header fields are longer than {MAX_HEAD} bytes; clear cookies",
        )
    line_end = data.find(b"\n", 0, MAX_TARGET + _MAX_METHOD)
    if line_end < 0 and end >= MAX_TARGET + _MAX_METHOD:
        raise _too_long()
    return end if found else None


def check_head(head: bytes) -> None:
    """Refuse what parsers may read in different ways; *head* ends with an empty line.

    Raises:
        HttpFault: with the status that RFC 9112 asks for.
    """
    if _BARE.search(head):
        raise _bad("a line does not end with CR LF")
    line, *fields = head[:-4].split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _bad("the request line is not METHOD TARGET VERSION")
    if len(parts[1]) > MAX_TARGET:
        raise _too_long()
    if parts[2] not in _VERSIONS:
        raise HttpFault(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "speak HTTP/1.1 or HTTP/1.0 to me"
        )
    if len(fields) > MAX_FIELDS:
        raise HttpFault(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"there are more than {MAX_FIELDS} header fields",
        )
    _check_framing(fields, is_old=parts[2] == b"HTTP/1.0")


def check_response(response: h11.Response) -> None:
    """Refuse a response whose length could be read in two ways (RFC 9112 6.1, 6.3).

    Raises:
        HttpFault: 502.
    """
    names = {name for name, _ in response.headers}
    if b"transfer-encoding" in names and (
        b"content-length" in names or response.http_version < b"1.1"
    ):
        raise HttpFault(
            HTTPStatus.BAD_GATEWAY,
            "the server's answer has an ambiguous length; it must be repaired there",
        )


def _check_framing(fields: list[bytes], *, is_old: bool) -> None:
    lengths, codings = [], []
    for field in fields:
        if field[:1] in (b" ", b"\t"):
            raise _bad("a header field is folded over two lines")
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif name.lower() == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
    if len(lengths) + len(codings) > 1:
        raise _bad("the length of the body is given twice")
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= 18):
        raise _bad("Content-Length is no number of bytes")
    if codings and is_old:
        raise _bad("HTTP/1.0 has no Transfer-Encoding")
    if codings and codings[0] != b"chunked":
        raise HttpFault(
            HTTPStatus.NOT_IMPLEMENTED, "of transfer codings only chunked is known"
        )


def _bad(text: str) -> HttpFault:
    return HttpFault(HTTPStatus.BAD_REQUEST, text)


def _too_long() -> HttpFault:
    return HttpFault(
        HTTPStatus.REQUEST_URI_TOO_LONG, f"the URL is longer than {MAX_TARGET} bytes"
    )
