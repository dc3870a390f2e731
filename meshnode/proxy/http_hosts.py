"""One spelling for every host, so that rules cannot be walked around by another.

A host may be written in capitals, with a dot at its end, percent-encoded, in other
scripts, and an IPv4 address as `0x7f.1`, `017700000001` or `2130706433`: resolvers
take all of these. What is checked against rules is the canonical form, and that form
is what is connected to.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote

from meshnode.errors import CodecError

MAX_NAME: Final = 253
"""Characters of a name, as in DNS."""

_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_MAX_ENCODED: Final = 9 * MAX_NAME


def canonical_host(text: str) -> str:
    """Return the one form of a host: a numeric address or a name in lower case.

    *text* is a name, or an address with or without brackets. The unspecified address
    stands for this host itself to the kernel, so it becomes the loopback address; an
    IPv4 address within IPv6 (RFC 4291 section 2.5.5.2) becomes plain.

    Raises:
        CodecError: if it can be no host.
    """
    if ":" in text:
        return _address(_without_brackets(text))
    name = _ascii(_decoded(text)).lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _address(str(_ipv4(labels)))
    if len(name) > MAX_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise CodecError("a host that is neither a name nor an address")
    return name


def split_authority(text: str, default_port: int | None) -> tuple[str, int]:
    """Read `HOST`, `HOST:PORT` or `[IPv6]:PORT` (RFC 3986 section 3.2).

    The host is returned in canonical form, the port is 1–65535; *default_port* is what
    a missing one means, None if it must be there.

    Raises:
        CodecError: if it is none of these; a user name before `@` is none, either.
    """
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest and not rest.startswith(":"):
            raise CodecError("an authority with more behind the address")
        port_text = rest[1:]
    else:
        host, _, port_text = text.partition(":")
    if port_text:
        if not _PORT.fullmatch(port_text) or not 1 <= int(port_text) <= 0xFFFF:
            raise CodecError("a port that is not 1–65535")
        port = int(port_text)
    elif default_port is None:
        raise CodecError("no port")
    else:
        port = default_port
    return canonical_host(host), port


def write_authority(host: str, port: int, default_port: int | None = None) -> str:
    """Return `HOST:PORT`, without the port if it is *default_port*."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == default_port else f"{shown}:{port}"


def _without_brackets(text: str) -> str:
    if text.startswith("[") != text.endswith("]"):
        raise CodecError("half a pair of brackets")
    return text[1:-1] if text.startswith("[") else text


def _decoded(text: str) -> str:
    try:
        if len(text) <= _MAX_ENCODED:
            return unquote(text, errors="strict")
    except UnicodeError:
        pass
    raise CodecError("a host that is neither a name nor an address")


def _ascii(name: str) -> str:
    """Encode other scripts as the resolver's own library would (RFC 3490)."""
    if name.isascii():
        return name
    try:
        if len(name) <= MAX_NAME:  # what it costs grows by the square
            return name.encode("idna").decode("ascii")
    except UnicodeError:
        pass
    raise CodecError("a name that cannot be encoded")


def _ipv4(labels: list[str]) -> ipaddress.IPv4Address:
    """Read an address of one to four parts as `inet_aton` does."""
    if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)):
        raise CodecError("a name whose last part is a number")
    value = 0
    for place, label in enumerate(labels):
        number = _part(label)
        # The last part fills whatever the parts before it leave.
        bits = 8 * (5 - len(labels)) if place == len(labels) - 1 else 8
        if number >> bits:
            raise CodecError("an IPv4 address with a part too large")
        value = value << bits | number
    return ipaddress.IPv4Address(value)


def _part(label: str) -> int:
    if len(label) > 20:
        raise CodecError("an IPv4 address with a part too large")
    try:
        if label.startswith("0x"):
            return int(label[2:] or "0", 16)
        return int(label, 8 if label.startswith("0") else 10)
    except ValueError:
        raise CodecError("an IPv4 address with a digit too large") from None


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise CodecError("an address that is none") from None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)
