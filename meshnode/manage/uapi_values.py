"""The values of the userspace API's lines, read strictly and written quickly.

A configuration may hold more than a hundred thousand `allowed_ip` lines, so IPv4
goes through tables: they are fast, and strict by construction, since a spelling
that is not in a table (`01`, `+1`, `256`) is not a number here.
"""

import ipaddress
from collections.abc import Callable

from meshnode.errors import ConfigError
from meshnode.types import Endpoint, Prefix

ZoneIndex = Callable[[str], int]
"""Give the index of the network interface with that name; `OSError` if none."""

_OCTETS = {b"%d" % n: n for n in range(256)}
_OCTET_TEXTS = [str(n) for n in range(256)]
_LENGTHS = {b"%d" % n: n for n in range(129)}
_MASKS_4 = [(1 << 32) - (1 << (32 - length)) for length in range(33)]
_MASKS_6 = [(1 << 128) - (1 << (128 - length)) for length in range(129)]

_MAX_DIGITS = 10  # of 2**32 - 1, the greatest number the userspace API knows


def parse_number(value: bytes, maximum: int) -> int:
    """Read a decimal number up to *maximum*; raises `ConfigError`."""
    if not value.isdigit() or len(value) > _MAX_DIGITS or int(value) > maximum:
        raise ConfigError(f"not a number of 0 to {maximum}")
    return int(value)


def parse_true(value: bytes) -> bool:
    """Read `true`, the only flag value there is; raises `ConfigError`."""
    if value != b"true":
        raise ConfigError("a flag can only be set to true")
    return True


def parse_text(value: bytes) -> str:
    """Read printable ASCII without spaces; raises `ConfigError`."""
    text = value.decode("ascii", "replace")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError("not printable ASCII")
    return text


def parse_prefix(value: bytes) -> Prefix:
    """Read `network/length`, masking host bits; raises `ConfigError`."""
    address, _, length_text = value.partition(b"/")
    try:
        length = _LENGTHS[length_text]
        if b":" in address:
            return Prefix(6, _parse_ipv6(address) & _MASKS_6[length], length)
        a, b, c, d = address.split(b".")
        network = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
        return Prefix(4, network & _MASKS_4[length], length)
    except (LookupError, ValueError):
        raise ConfigError("not an IP prefix") from None


def _parse_ipv6(address: bytes) -> int:
    if b"%" in address:  # `ipaddress` takes zones, which a prefix cannot have
        raise ValueError
    return int(ipaddress.IPv6Address(address.decode("ascii")))


def parse_endpoint(value: bytes, zone_index: ZoneIndex) -> Endpoint:
    """Read a numeric `address:port`; raises `ConfigError`.

    The zone of an IPv6 link-local address may be a number or, as `wg` writes it,
    the name of an interface.
    """
    text = parse_text(value)
    head, percent, tail = text.partition("%")
    if percent:
        zone, bracket, port = tail.rpartition("]")
        text = f"{head}%{_parse_zone(zone, zone_index)}{bracket}{port}"
    return Endpoint.parse(text)


def _parse_zone(zone: str, zone_index: ZoneIndex) -> int:
    if zone.isdigit():
        return parse_number(zone.encode(), 0xFFFFFFFF)
    try:
        return zone_index(zone)
    except OSError:
        raise ConfigError("endpoint names an interface that is not there") from None


def format_prefix(prefix: Prefix) -> str:
    """Write `network/length`."""
    if prefix.version == 6:
        return f"{ipaddress.IPv6Address(prefix.network)}/{prefix.length}"
    octets, n = _OCTET_TEXTS, prefix.network
    return (
        f"{octets[n >> 24]}.{octets[n >> 16 & 255]}.{octets[n >> 8 & 255]}"
        f".{octets[n & 255]}/{prefix.length}"
    )
