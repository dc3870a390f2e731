"""What a request asks for: the forms of its target (RFC 9112 section 3.2)."""

import re
from http import HTTPStatus
from typing import Final

from meshnode.errors import CodecError
from meshnode.proxy.http_answers import HttpFault
from meshnode.proxy.http_hosts import split_authority, write_authority
from meshnode.types import Target
from meshnode.values import frozen

HTTP_PORT: Final = 80

_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_NEVER: Final = re.compile(rb'[^\x21-\x7e]|["<>#]')


@frozen
class HttpUrl:
    """An `http` URL: where the server is, its Host field, and what to ask it for.

    `path` begins with `/` and has the query with it, spelt as the client did; `is_bare`
    says that there was neither.
    """

    place: Target
    authority: str
    path: str
    is_bare: bool


def is_absolute(target: bytes) -> bool:
    """Say whether a target names a scheme, so that it is meant for a proxy."""
    return _ABSOLUTE.fullmatch(target) is not None


def parse_url(target: bytes) -> HttpUrl:
    """Read a target in absolute form.

    Raises:
        HttpFault: 400, for another scheme than http, a user name in it, a host that
            is none, and characters that no URL has.
    """
    found = _ABSOLUTE.fullmatch(target)
    if not found or _NEVER.search(target):
        raise _bad("the URL has characters that it must not have")
    scheme, rest = found[1].lower(), found[2]
    if scheme != b"http":
        raise _bad("only http:// goes this way; use CONNECT for others")
    if not rest.startswith(b"//"):
        raise _bad("the URL names no host")
    authority = re.split(rb"[/?]", rest[2:], maxsplit=1)[0]
    path = rest[2 + len(authority) :]
    if b"@" in authority:
        raise _bad("a user name in the URL is not passed on; send Authorization")
    if b"\\" in authority or b"\\" in path.partition(b"?")[0]:
        raise _bad("the URL has a backslash in its path; encode it as %5C")
    full_path = path if path.startswith(b"/") else b"/" + path
    try:
        host, port = split_authority(authority.decode(), HTTP_PORT)
    except CodecError as error:
        raise _bad(f"the URL names {error}") from None
    shown = write_authority(host, port, HTTP_PORT)
    return HttpUrl(Target(host, port), shown, full_path.decode(), not path)


def parse_authority(target: bytes) -> Target:
    """Read the target of a CONNECT, `HOST:PORT`.

    Raises:
        HttpFault: 400, if it is another.
    """
    try:
        host, port = split_authority(target.decode("ascii"), None)
    except ValueError as error:  # what is no ASCII, too
        raise _bad(f"CONNECT takes HOST:PORT; this is {error}") from None
    return Target(host, port)


def check_host_field(value: bytes) -> None:
    """Refuse a Host field that is none; what it says is replaced by the URL's host.

    Raises:
        HttpFault: 400 (RFC 9112 section 3.2).
    """
    try:
        if value:
            split_authority(value.decode("ascii"), HTTP_PORT)
    except ValueError:
        raise _bad("the Host field is no HOST or HOST:PORT") from None


def _bad(text: str) -> HttpFault:
    return HttpFault(HTTPStatus.BAD_REQUEST, text)
