"""Strict msgpack: what a field may be, and one layout for a whole array of fields.

A `Kind` knows how one field becomes plain msgpack data and back, with every check;
a `Layout` puts kinds together to the bytes of a dataclass. Bytes that decode are
exactly those that encoding the value gives: there is one spelling of everything, so
that a signature, a hash or a comparison of bytes speaks of the value. Every refusal
is a `CodecError`.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, Generic, TypeVar

from meshnode.codec.arrays import pack_array, require_canonical, unpack_array
from meshnode.codec.names import check_label, check_printable
from meshnode.errors import CodecError, ConfigError
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

Value = TypeVar("Value")

_IPV6_FLAG = 64  # first byte of a prefix: its length, and this for IPv6
_IPV6_MAPPED = 0xFFFF  # of the upper 96 bits of ::ffff:0:0/96
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


@frozen
class Kind:
    """How a field's value becomes plain msgpack data, and back with all checks.

    Both raise ValueError for what they refuse.
    """

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


class Layout(Generic[Value]):
    """The bytes of a value: one msgpack array of *kinds*, at most *max_bytes* long."""

    def __init__(self, of: type[Value], *kinds: Kind, max_bytes: int) -> None:
        self._of = of
        self._kind = record(of, *kinds)
        self._max_bytes = max_bytes

    def encode(self, value: Value) -> bytes:
        """Return the bytes of *value*.

        Raises:
            CodecError: if a field is out of range or the whole too long.
        """
        try:
            data = pack_array(self._kind.pack(value))
        except ValueError as error:
            raise CodecError(f"{self._of.__name__}: {error}") from None
        if len(data) > self._max_bytes:
            raise CodecError(f"{self._of.__name__}: longer than {self._max_bytes}")
        return data

    def decode(self, data: bytes) -> Value:
        """Return the value that *data* is the only encoding of.

        Raises:
            CodecError: for anything `encode` cannot have written.
        """
        try:
            plain = unpack_array(data, max_bytes=self._max_bytes)
            value: Value = self._kind.unpack(plain)
            require_canonical(plain, data)
        except ValueError as error:
            raise CodecError(f"{self._of.__name__}: {error}") from None
        return value


def checked(check: Callable[[Any], Any]) -> Kind:
    """Make the kind of a value that msgpack carries as it is; *check* returns it."""
    return Kind(check, check)


def whole(least: int, greatest: int) -> Kind:
    """Make the kind of an integer in a range, both ends included."""

    def check(value: Any) -> int:
        # `type`, not `isinstance`: True is an int, and must not pass for 1.
        if type(value) is not int or not least <= value <= greatest:
            raise ValueError(f"not an integer of {least} to {greatest}")
        return value

    return checked(check)


def octets(least: int, most: int | None = None) -> Kind:
    """Make the kind of a byte string of *least* to *most* bytes; exactly *least*."""
    greatest = least if most is None else most

    def check(value: Any) -> bytes:
        if type(value) is not bytes or not least <= len(value) <= greatest:
            raise ValueError(f"not a byte string of {least} to {greatest}")
        return value

    return checked(check)


def _check_boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("not a boolean")
    return value


BOOLEAN: Final = checked(_check_boolean)


def text(max_bytes: int) -> Kind:
    """Make the kind of a text whose UTF-8 has at most *max_bytes*.

    Control characters other than newline and tab are refused.
    """

    def check(value: Any) -> str:
        if type(value) is not str or len(value.encode()) > max_bytes:
            raise ValueError(f"not a text of at most {max_bytes} bytes")
        if any((c < " " and c not in "\n\t") or "\x7f" <= c < "\xa0" for c in value):
            raise ValueError("a control character in a text")
        return value

    return checked(check)


def label(max_bytes: int) -> Kind:
    """Make the kind of a name; see `meshnode.codec.names.check_label`."""
    return _worded(lambda value: check_label(value, "a name", max_bytes))


def printable(max_bytes: int) -> Kind:
    """Make the kind of a line of printable ASCII; it may be empty."""
    return _worded(lambda value: check_printable(value, "a text", max_bytes))


def _worded(check: Callable[[str], str]) -> Kind:
    def unpack(value: Any) -> str:
        if type(value) is not str:
            raise ValueError("not a text")
        try:
            return check(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return checked(unpack)


def flags(of: type[Any]) -> Kind:
    """Make the kind of an `enum.IntFlag`; bits without a name are refused."""
    known = sum(member.value for member in of)
    number = whole(0, known)

    def unpack(plain: Any) -> Any:
        if number.unpack(plain) & ~known:
            raise ValueError(f"not a {of.__name__}")
        return of(plain)

    return Kind(lambda value: int(unpack(int(value))), unpack)


def numbered(of: type[Any]) -> Kind:
    """Make the kind of an `enum.IntEnum`."""
    by_number = {int(member): member for member in of}

    def unpack(plain: Any) -> Any:
        if type(plain) is not int or plain not in by_number:
            raise ValueError(f"not a {of.__name__}")
        return by_number[plain]

    return Kind(lambda value: int(unpack(int(value))), unpack)


def optional(kind: Kind) -> Kind:
    """Make the kind of a value or None."""
    return Kind(
        lambda value: None if value is None else kind.pack(value),
        lambda plain: None if plain is None else kind.unpack(plain),
    )


def many(
    kind: Kind,
    least: int,
    most: int,
    *,
    by: Callable[[Any], Any] = lambda value: value,
) -> Kind:
    """Make the kind of a tuple of *least* to *most* values, no two the same.

    *by* says what makes two values the same, if it is less than all of them.
    """

    def check_count(values: Any) -> None:
        if not least <= len(values) <= most:
            raise ValueError(f"not {least} to {most} items")

    def check_distinct(values: tuple[Any, ...]) -> None:
        if len({by(value) for value in values}) != len(values):
            raise ValueError("an item twice")

    def pack(values: tuple[Any, ...]) -> list[Any]:
        check_count(values)
        check_distinct(values)
        return [kind.pack(value) for value in values]

    def unpack(plain: Any) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise ValueError("not a list")
        check_count(plain)
        values = tuple([kind.unpack(item) for item in plain])
        check_distinct(values)
        return values

    return Kind(pack, unpack)


def record(of: type, *kinds: Kind) -> Kind:
    """Make the kind of a dataclass: the list of its fields, each of its kind."""
    names = tuple(field.name for field in fields(of))
    packers = tuple(zip(names, (kind.pack for kind in kinds), strict=True))
    unpackers = tuple(kind.unpack for kind in kinds)

    def pack(value: Any) -> list[Any]:
        return [pack_field(getattr(value, name)) for name, pack_field in packers]

    def unpack(plain: Any) -> Any:
        if type(plain) is not list or len(plain) != len(unpackers):
            raise ValueError(f"not the {len(unpackers)} fields of {of.__name__}")
        pairs = zip(unpackers, plain, strict=True)
        return of(*[unpack_field(item) for unpack_field, item in pairs])

    return Kind(pack, unpack)


def _pack_prefix(prefix: Prefix) -> bytes:
    bits, flag = (32, 0) if prefix.version == 4 else (128, _IPV6_FLAG)
    host_bits = bits - prefix.length
    if not 0 <= host_bits <= bits or prefix.network & ((1 << host_bits) - 1):
        raise ValueError("not an IP prefix, or one with host bits")
    network = prefix.network.to_bytes(bits // 8, "big")
    return bytes((prefix.length + flag,)) + network[: -(-prefix.length // 8)]


def _unpack_prefix(plain: Any) -> Prefix:
    if type(plain) is not bytes or not plain:
        raise ValueError("not an IP prefix")
    version = 6 if plain[0] >= _IPV6_FLAG else 4
    bits, flag = (32, 0) if version == 4 else (128, _IPV6_FLAG)
    length = plain[0] - flag
    network = int.from_bytes(plain[1:].ljust(bits // 8, b"\0"), "big")
    if length > bits or len(plain) - 1 != -(-length // 8):
        raise ValueError("not an IP prefix of the right length")
    if network & ((1 << bits - length) - 1):
        raise ValueError("an IP prefix with host bits")
    return Prefix(version, network, length)


PREFIX: Final = Kind(_pack_prefix, _unpack_prefix)
"""A prefix: its length (64 more for IPv6) and the octets that are not all host."""


def _check_reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if (
        address.is_multicast
        or address.is_unspecified
        or address == _BROADCAST
        or int(address) >> 32 == _IPV6_MAPPED
    ):
        raise ValueError("not the address of one host")


def _pack_endpoint(endpoint: Endpoint) -> bytes:
    if endpoint.scope_id or "%" in endpoint.host:
        raise ValueError("a zone means nothing to others")
    address = ipaddress.ip_address(endpoint.host)
    _check_reachable(address)
    if not 1 <= endpoint.port <= 65535:
        raise ValueError("not a port")
    return address.packed + endpoint.port.to_bytes(2, "big")


def _unpack_endpoint(plain: Any) -> Endpoint:
    if type(plain) is not bytes or len(plain) not in (6, 18):
        raise ValueError("not an endpoint")
    address = ipaddress.ip_address(plain[:-2])
    _check_reachable(address)
    port = int.from_bytes(plain[-2:], "big")
    if not port:
        raise ValueError("not a port")
    return Endpoint(str(address), port)


ENDPOINT: Final = Kind(_pack_endpoint, _unpack_endpoint)
"""Where one host can be spoken to: 4 or 16 octets, then the port; never a group."""
