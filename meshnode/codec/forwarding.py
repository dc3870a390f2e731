"""Bytes of the messages between control and the workers (`meshnode.forwarding`).

A message is one msgpack array: the type's number, then the fields in the order of
the dataclass. Commands and reports are numbered apart. Decoding is strict: a value
that comes out is one that `encode_*` takes, whatever the bytes were, because a worker
that parses packets from anyone must not be able to confuse control.

Addresses travel in network order: 4 or 16 bytes; a prefix is its length and then
its network.
"""

import functools
import ipaddress
import math
from collections.abc import Callable
from typing import Any, Final

import msgpack

from meshnode import forwarding
from meshnode.codec.messages import CONTROL_FIRST_BYTE
from meshnode.codec.strict import BOOLEAN, Kind, optional, record
from meshnode.errors import CodecError
from meshnode.forwarding import (
    MAX_CONTROL_FRAME,
    MAX_INNER,
    MAX_OWNERS,
    MAX_WEIGHT,
    MIN_PROBE,
    AddAllowedIps,
    Command,
    RemoveAllowedIps,
    Report,
)
from meshnode.types import Cipher, Endpoint, Path, Prefix, Source

MAX_MESSAGE_BYTES: Final = 65536
"""The longest message; 1000 prefixes or sessions fit twice."""

MAX_ITEMS: Final = 1000
"""The most prefixes or held sessions in one message; who sends more splits."""

MAX_SLOT: Final = 65535
"""The greatest peer slot."""

MAX_PADDED_FRAME: Final = MAX_CONTROL_FRAME + 15
"""Bytes of the longest control frame with the padding it travelled under."""


def _checked(check: Callable[[Any], Any]) -> Kind:
    """Make the kind of a value that msgpack carries as it is."""
    return Kind(check, check)


def _unsigned(greatest: int, least: int = 0) -> Kind:
    def check(value: Any) -> int:
        # `type`, not `isinstance`: True is an int, and must not pass for 1.
        if type(value) is not int or not least <= value <= greatest:
            raise ValueError(f"not an integer of {least} to {greatest}")
        return value

    return _checked(check)


def _octets(*lengths: int) -> Kind:
    def check(value: Any) -> bytes:
        if type(value) is not bytes or len(value) not in lengths:
            raise ValueError("not a byte string of the right length")
        return value

    return _checked(check)


def _control_frame(most: int) -> Kind:
    def check(value: Any) -> bytes:
        if type(value) is not bytes or not 1 <= len(value) <= most:
            raise ValueError(f"not a frame of 1 to {most} bytes")
        if value[0] != CONTROL_FIRST_BYTE:
            raise ValueError("not a control frame")
        return value

    return _checked(check)


def _check_instant(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise ValueError("not a finite number of seconds")
    return value


def _unpack_cipher(plain: Any) -> Cipher:
    return Cipher(_U32.unpack(plain))


def _many(kind: Kind, *, least: int = 0, most: int = MAX_ITEMS) -> Kind:
    def pack(values: tuple[Any, ...]) -> list[Any]:
        if not least <= len(values) <= most:
            raise ValueError(f"not {least} to {most} items")
        return [kind.pack(value) for value in values]

    def unpack(plain: Any) -> tuple[Any, ...]:
        if type(plain) is not list or not least <= len(plain) <= most:
            raise ValueError(f"not a list of {least} to {most} items")
        return tuple([kind.unpack(item) for item in plain])

    return Kind(pack, unpack)


# The same few addresses come with every handshake, and parsing one costs much.
@functools.lru_cache(maxsize=1024)
def _pack_host(host: str) -> bytes:
    if "%" in host:
        raise ValueError("a zone belongs in scope_id")
    return ipaddress.ip_address(host).packed


def _unpack_host(plain: Any) -> str:
    # An IPv6 address of 16 bytes has no zone, so the text is canonical.
    return str(ipaddress.ip_address(_ADDRESS.unpack(plain)))


def _check_prefix(prefix: Prefix, bits: int) -> None:
    host_bits = bits - prefix.length
    if host_bits < 0 or prefix.network & ((1 << host_bits) - 1):
        raise ValueError("an IP prefix too long or with host bits")


def _pack_prefix(prefix: Prefix) -> bytes:
    bits = 32 if prefix.version == 4 else 128
    _check_prefix(prefix, bits)
    return bytes((prefix.length,)) + prefix.network.to_bytes(bits // 8, "big")


def _unpack_prefix(plain: Any) -> Prefix:
    if type(plain) is not bytes or len(plain) not in (5, 17):
        raise ValueError("not an IP prefix")
    bits = 8 * len(plain) - 8
    version = 4 if bits == 32 else 6
    prefix = Prefix(version, int.from_bytes(plain[1:], "big"), plain[0])
    _check_prefix(prefix, bits)
    return prefix


_ADDRESS = _octets(4, 16)
_SLOT = _unsigned(MAX_SLOT)
_U16 = _unsigned(2**16 - 1)
_U32 = _unsigned(2**32 - 1)
_U64 = _unsigned(2**64 - 1)
_CHANNEL = _unsigned(2**32 - 1, 1)
_KEY = _octets(32)
_INSTANT = _checked(_check_instant)
_HOST = Kind(_pack_host, _unpack_host)
_PREFIX = Kind(_pack_prefix, _unpack_prefix)
_CIPHER = Kind(int, _unpack_cipher)
_PREFIXES = _many(_PREFIX)
_FORWARD = _many(
    record(forwarding.ShareOfPrefix, _SLOT, _unsigned(MAX_WEIGHT, 1)),
    least=1,
    most=MAX_OWNERS,
)
_ACCEPT = _many(_SLOT, most=MAX_OWNERS)
_PATH = record(
    Path,
    record(Endpoint, _HOST, _U16, _U32),
    optional(record(Source, _HOST, _U32, _U16)),
)
_SESSION = record(forwarding.Session, _U32, _U32, _KEY, _KEY, _INSTANT, BOOLEAN, _U32)
_HELD_SESSIONS = _many(
    record(
        *(forwarding.HeldSession, _SLOT, _U32, _U32),
        *(_INSTANT, BOOLEAN, BOOLEAN, _CIPHER),
    )
)


class _Catalogue:
    """The message types of one direction, each with its number and its fields."""

    def __init__(self, *types: tuple[int, type, tuple[Kind, ...]]) -> None:
        self._by_type: dict[type, tuple[int, Kind]] = {}
        self._by_number: dict[int, Kind] = {}
        for number, of, kinds in types:
            kind = record(of, *kinds)
            self._by_type[of] = (number, kind)
            self._by_number[number] = kind

    def encode(self, value: Any) -> bytes:
        entry = self._by_type.get(type(value))
        if entry is None:
            raise CodecError(f"{type(value).__name__} does not travel this way")
        number, kind = entry
        try:
            message: bytes = msgpack.packb([number, *kind.pack(value)])
        except (ValueError, OverflowError) as error:
            raise CodecError(f"{type(value).__name__}: {error}") from None
        return message

    def decode(self, data: bytes) -> Any:
        if len(data) > MAX_MESSAGE_BYTES:
            raise CodecError("message too long")
        try:
            number, *plain = _parse(data)
            # A number that msgpack spelt otherwise (True, 1.0) is found in a dict too.
            if type(number) is not int or number not in self._by_number:
                raise ValueError("unknown type of message")
            return self._by_number[number].unpack(plain)
        except (ValueError, RecursionError) as error:
            raise CodecError(str(error)) from None


def _parse(data: bytes) -> list[Any]:
    plain = msgpack.unpackb(
        data,
        max_str_len=0,
        max_bin_len=MAX_PADDED_FRAME,
        max_array_len=MAX_ITEMS,
        max_map_len=0,
        max_ext_len=0,
    )
    if type(plain) is not list:
        raise ValueError("not a list")
    return plain


_COMMANDS = _Catalogue(
    (1, forwarding.Reset, (_U64,)),
    (2, forwarding.ProgramComplete, ()),
    (3, forwarding.SetLink, (_U16, BOOLEAN)),
    (4, forwarding.SetIdentity, (_octets(0, 32),)),
    (5, forwarding.AddPeer, (_SLOT, BOOLEAN)),
    (6, forwarding.RemovePeer, (_SLOT,)),
    (7, forwarding.SetEndpoint, (_SLOT, optional(_PATH))),
    (8, forwarding.AddAllowedIps, (_SLOT, _PREFIXES)),
    (9, forwarding.RemoveAllowedIps, (_SLOT, _PREFIXES)),
    (10, forwarding.InstallSession, (_SLOT, _SESSION)),
    (11, forwarding.UseSession, (_SLOT, _U32)),
    (12, forwarding.RetireSession, (_SLOT, _U32)),
    (13, forwarding.SendKeepalive, (_SLOT,)),
    (14, forwarding.DropStaged, (_SLOT,)),
    (15, forwarding.SharePrefix, (_PREFIX, _FORWARD, _ACCEPT)),
    (16, forwarding.UnsharePrefix, (_PREFIX,)),
    (
        17,
        forwarding.SendControl,
        (_SLOT, _control_frame(MAX_CONTROL_FRAME), optional(_PATH)),
    ),
    (18, forwarding.PreferSession, (_SLOT, _U32)),
    (19, forwarding.SetCipher, (_SLOT, _U32, _CIPHER)),
    (
        20,
        forwarding.SendProbe,
        (
            _SLOT,
            _control_frame(MIN_PROBE),
            _unsigned(MAX_INNER, MIN_PROBE),
        ),
    ),
    (21, forwarding.SetStandby, (_SLOT, optional(_PATH))),
    (
        22,
        forwarding.OpenChannel,
        (_CHANNEL, _SLOT, _CHANNEL, optional(_SLOT), _U64, _U64),
    ),
    (23, forwarding.CloseChannel, (_CHANNEL,)),
)

_REPORTS = _Catalogue(
    (1, forwarding.NeedSession, (_SLOT, BOOLEAN)),
    (2, forwarding.TrafficResumed, (_SLOT,)),
    (3, forwarding.EndpointMoved, (_SLOT, _PATH)),
    (4, forwarding.SessionConfirmed, (_SLOT, _U32)),
    (5, forwarding.RekeyDue, (_SLOT, _U32, BOOLEAN)),
    (6, forwarding.SessionsHeld, (_HELD_SESSIONS, BOOLEAN)),
    (7, forwarding.HandshakeLoad, ()),
    (
        8,
        forwarding.ControlReceived,
        (_SLOT, _control_frame(MAX_PADDED_FRAME), _U16, optional(_PATH)),
    ),
    (9, forwarding.PathHeard, (_SLOT, _PATH)),
)


def encode_command(command: Command) -> bytes:
    """Return the bytes of *command*.

    Raises:
        CodecError: if a field is out of range or a list longer than `MAX_ITEMS`.
    """
    return _COMMANDS.encode(command)


def decode_command(data: bytes) -> Command:
    """Return the command that *data* holds.

    Raises:
        CodecError: for anything `encode_command` cannot have written.
    """
    command: Command = _COMMANDS.decode(data)
    return command


def encode_report(report: Report) -> bytes:
    """Return the bytes of *report*.

    Raises:
        CodecError: if a field is out of range or a list longer than `MAX_ITEMS`.
    """
    return _REPORTS.encode(report)


def decode_report(data: bytes) -> Report:
    """Return the report that *data* holds.

    Raises:
        CodecError: for anything `encode_report` cannot have written.
    """
    report: Report = _REPORTS.decode(data)
    return report


def split_allowed_ips(
    command: AddAllowedIps | RemoveAllowedIps, at_most: int = MAX_ITEMS
) -> list[Command]:
    """Return commands that do the same with at most *at_most* prefixes each."""
    kind = type(command)
    prefixes = command.prefixes
    return [
        kind(command.slot, prefixes[start : start + at_most])
        for start in range(0, len(prefixes), at_most)
    ]
