"""Bytes of control frames: `0x01 ‖ u16 length (LE) ‖ msgpack array [number, ...]`.

The array is the message's number and its fields in the order of the dataclass in
`meshnode.codec.messages`. Fields that are many small values of one size travel as one
byte string: 64 ids cost 512 bytes, not 640.

A frame lies in a WireGuard packet, which is padded with zeros to a multiple of 16
bytes (paper 5.4.6): so many zeros may follow the message, and nothing else. Only a
`SizeProbe` is filled up to the size that it names.
"""

import struct
from typing import Any, Final

from meshnode.codec.arrays import pack_array, require_canonical, unpack_array
from meshnode.codec.messages import (
    CONTROL_FIRST_BYTE,
    HEADER_BYTES,
    MAX_FURTHER_RELAYS,
    MAX_LEAF,
    MAX_MESSAGE_BYTES,
    MAX_RELAYED_BYTES,
    Accepts,
    CallMe,
    Chunk,
    Digests,
    Fetch,
    Found,
    Hello,
    JoinReply,
    JoinRequest,
    LargestSize,
    Leaf,
    Lookup,
    Message,
    Ping,
    Pong,
    ProbeKey,
    ProbeMe,
    ProbeThem,
    Publish,
    Published,
    Push,
    Refresh,
    Refused,
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
    Renewed,
    RenewRequest,
    SizeProbe,
    SizeProven,
    Want,
    frame_end,
)
from meshnode.codec.names import MAX_LABEL_BYTES
from meshnode.codec.record_bytes import MAX_DOCUMENT_VERSION, MAX_VERSION, NAT_HINT
from meshnode.codec.records import MAX_ENVELOPE_BYTES, MAX_POLICY_BYTES
from meshnode.codec.records import Kind as RecordKind
from meshnode.codec.strict import (
    BOOLEAN,
    ENDPOINT,
    Kind,
    checked,
    label,
    many,
    octets,
    optional,
    printable,
    record,
    whole,
)
from meshnode.errors import CodecError
from meshnode.forwarding import MAX_INNER, MIN_PROBE

MAX_PUSH: Final = 16
"""The most records in one `Push`."""

MAX_WANT: Final = 64
"""The most ids in one `Want`."""

MAX_PREFIX_NIBBLES: Final = 16
"""An id has 8 bytes, so that deep is the tree over ids."""

MAX_CIPHERS: Final = 8
MAX_SESSIONS: Final = 3
"""Of one peer there are no more: the one in use, the one before and the next."""

MIN_SIZE: Final = 1280
"""Bytes of a packet that fits everywhere: nobody need ask for it."""

MAX_LEASE: Final = 3600
"""Seconds for which a relay keeps a channel at most."""
MAX_CALLED: Final = 12
"""The most endpoints in a `CallMe`, and the most that it says are open."""

MAX_CODE_BYTES: Final = 32
MAX_TEXT_BYTES: Final = 200

_HEADER = struct.Struct("<BH")
_MAX_PADDING = 15

_KEY = octets(32)
_SIGNATURE = octets(64)
_DIGEST = octets(8)
_NONCE = octets(8)
_COUNT = whole(0, 2**32 - 1)
_DOCUMENT_VERSION = whole(0, MAX_DOCUMENT_VERSION)
_ENVELOPE = octets(1, MAX_ENVELOPE_BYTES)
_ENVELOPE_OR_NONE = octets(0, MAX_ENVELOPE_BYTES)
_SEEN = optional(ENDPOINT)
_OFFSET = whole(0, MAX_POLICY_BYTES)
_SIZE = whole(MIN_SIZE, MAX_INNER)
_PROBED = whole(MIN_PROBE, MAX_INNER)
_CHANNEL = whole(1, 2**32 - 1)
_RELAYS = many(_KEY, 0, MAX_FURTHER_RELAYS)
_MAX_RELAYED = 3


def _joined(size: int, least: int, most: int) -> Kind:
    # A tuple of byte strings of *size* each, sent as one.
    def pack(values: tuple[bytes, ...]) -> bytes:
        if not least <= len(values) <= most or any(len(v) != size for v in values):
            raise ValueError(f"not {least} to {most} items of {size} bytes")
        return b"".join(values)

    def unpack(plain: Any) -> tuple[bytes, ...]:
        if (
            type(plain) is not bytes
            or len(plain) % size
            or not least <= len(plain) // size <= most
        ):
            raise ValueError(f"not {least} to {most} items of {size} bytes")
        return tuple(
            [plain[start : start + size] for start in range(0, len(plain), size)]
        )

    return Kind(pack, unpack)


def _path() -> Kind:
    # A node of the tree of records: which of 16 children to take, from the root on.
    short = octets(0, MAX_PREFIX_NIBBLES)

    def check(value: Any) -> bytes:
        path: bytes = short.unpack(value)
        if any(nibble > 15 for nibble in path):
            raise ValueError("not a path of nibbles")
        return path

    return checked(check)


def _pairs() -> Kind:
    # An id and its fingerprint, 8 bytes each.
    halves = _joined(16, 0, MAX_LEAF)

    def pack(entries: tuple[tuple[bytes, bytes], ...]) -> Any:
        for entry in entries:
            for half in entry:
                _DIGEST.pack(half)
        return halves.pack(tuple([id + fingerprint for id, fingerprint in entries]))

    def unpack(plain: Any) -> tuple[tuple[bytes, bytes], ...]:
        return tuple([(both[:8], both[8:]) for both in halves.unpack(plain)])

    return Kind(pack, unpack)


def _document_kind() -> Kind:
    numbers = (int(RecordKind.CHARTER), int(RecordKind.POLICY))

    def check(value: Any) -> int:
        if type(value) is not int or value not in numbers:
            raise ValueError("neither charter nor policy")
        return value

    return Kind(lambda value: check(int(value)), check)


def _relayed() -> Kind:
    # The first datagrams of a channel.
    several = many(octets(1, MAX_RELAYED_BYTES), 0, _MAX_RELAYED)

    def check(datagrams: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if sum(map(len, datagrams)) > MAX_RELAYED_BYTES:
            raise ValueError("too much to relay along with a question")
        return datagrams

    return Kind(
        lambda datagrams: several.pack(check(datagrams)),
        lambda plain: check(several.unpack(plain)),
    )


def _reason() -> Kind:
    number = whole(0, max(RelayReason))
    return Kind(
        lambda reason: number.pack(int(reason)),
        lambda plain: RelayReason(number.unpack(plain)),
    )


def _chunk() -> Kind:
    plain_chunk = record(
        Chunk,
        _document_kind(),
        _DOCUMENT_VERSION,
        _OFFSET,
        whole(0, MAX_POLICY_BYTES),
        octets(0, MAX_MESSAGE_BYTES),
    )

    def check(chunk: Chunk) -> Chunk:
        if chunk.offset + len(chunk.data) > chunk.total:
            raise ValueError("a chunk beyond its whole")
        return chunk

    return Kind(
        lambda chunk: plain_chunk.pack(check(chunk)),
        lambda plain: check(plain_chunk.unpack(plain)),
    )


_NUMBERED: tuple[tuple[int, type, Kind], ...] = (
    (
        1,
        Hello,
        record(Hello, _DIGEST, _COUNT, _DOCUMENT_VERSION, _DOCUMENT_VERSION, BOOLEAN),
    ),
    (2, Push, record(Push, many(_ENVELOPE, 0, MAX_PUSH))),
    (3, Digests, record(Digests, _path(), _joined(8, 16, 16))),
    (4, Leaf, record(Leaf, _path(), _pairs())),
    (5, Want, record(Want, _joined(8, 0, MAX_WANT))),
    (6, Ping, record(Ping, _NONCE)),
    (7, Pong, record(Pong, _NONCE, _SEEN)),
    (8, Publish, record(Publish, _ENVELOPE)),
    (9, Published, record(Published, whole(0, MAX_VERSION), _SEEN)),
    (10, Lookup, record(Lookup, _KEY)),
    (11, Found, record(Found, _KEY, _ENVELOPE_OR_NONE)),
    (
        12,
        JoinRequest,
        record(JoinRequest, _KEY, _KEY, label(MAX_LABEL_BYTES), _SIGNATURE),
    ),
    (13, JoinReply, record(JoinReply, _ENVELOPE, _ENVELOPE_OR_NONE)),
    (
        14,
        Refused,
        record(Refused, printable(MAX_CODE_BYTES), printable(MAX_TEXT_BYTES)),
    ),
    (15, RenewRequest, record(RenewRequest, _NONCE)),
    (16, Renewed, record(Renewed, _ENVELOPE, _ENVELOPE_OR_NONE)),
    (17, Fetch, record(Fetch, _document_kind(), _DOCUMENT_VERSION, _OFFSET)),
    (18, Chunk, _chunk()),
    (
        19,
        Accepts,
        record(
            Accepts,
            many(whole(0, 2**32 - 1), 0, MAX_CIPHERS),
            many(whole(0, 2**32 - 1), 1, MAX_SESSIONS),
        ),
    ),
    (20, LargestSize, record(LargestSize, _SIZE)),
    (21, SizeProbe, record(SizeProbe, _NONCE, _PROBED)),
    (22, SizeProven, record(SizeProven, _NONCE, _PROBED)),
    (23, RelayOpen, record(RelayOpen, _KEY, _RELAYS, _RELAYS, _CHANNEL, _relayed())),
    (24, RelayOffer, record(RelayOffer, _KEY, _CHANNEL, _relayed())),
    (25, RelayAccept, record(RelayAccept, _CHANNEL, _CHANNEL)),
    (26, RelayOpened, record(RelayOpened, _CHANNEL, _CHANNEL, whole(0, MAX_LEASE))),
    (27, RelayClose, record(RelayClose, _CHANNEL, _reason())),
    (
        30,
        CallMe,
        record(
            CallMe,
            whole(0, 2**32 - 1),
            BOOLEAN,
            _KEY,
            many(ENDPOINT, 0, MAX_CALLED),
            _SEEN,
            NAT_HINT,
            many(ENDPOINT, 0, MAX_CALLED),
        ),
    ),
    (31, ProbeMe, record(ProbeMe, _KEY, ENDPOINT, optional(_KEY))),
    (32, ProbeThem, record(ProbeThem, _KEY, _KEY, ENDPOINT)),
    (33, ProbeKey, record(ProbeKey, _KEY, BOOLEAN)),
    (41, Refresh, record(Refresh, whole(1, MAX_VERSION))),
)
_BY_TYPE = {of: (number, kind) for number, of, kind in _NUMBERED}
_BY_NUMBER = {number: kind for number, _, kind in _NUMBERED}


def encode_message(message: Message) -> bytes:
    """Return the whole control frame of *message*, without padding.

    Raises:
        CodecError: if a field is out of range, or the message has more than
            `MAX_MESSAGE_BYTES`.
    """
    number, kind = _BY_TYPE[type(message)]
    try:
        data = pack_array([number, *kind.pack(message)])
    except ValueError as error:
        raise CodecError(f"{type(message).__name__}: {error}") from None
    if len(data) > MAX_MESSAGE_BYTES:
        raise CodecError(f"{type(message).__name__}: {len(data)} bytes are too many")
    return _HEADER.pack(CONTROL_FIRST_BYTE, len(data)) + data


def decode_message(frame: bytes, cut: int = 0) -> Message:
    """Return the message of a control frame as it left its packet, padded or not.

    *cut* more bytes, which are not in *frame*, came behind it.

    Raises:
        CodecError: for anything `encode_message` cannot have written.
    """
    if len(frame) < HEADER_BYTES:
        raise CodecError("a frame too short")
    end = frame_end(frame)
    padding = frame[end:]
    if frame[0] != CONTROL_FIRST_BYTE or end > len(frame):
        raise CodecError("no control frame")
    if any(padding):
        raise CodecError("more than padding after the message")
    data = frame[HEADER_BYTES:end]
    plain = unpack_array(data, max_bytes=MAX_MESSAGE_BYTES)
    # A number that msgpack spelt otherwise (True, 1.0) is found in a dict too.
    if not plain or type(plain[0]) is not int or plain[0] not in _BY_NUMBER:
        raise CodecError("unknown type of message")
    try:
        message: Message = _BY_NUMBER[plain[0]].unpack(plain[1:])
    except ValueError as error:
        raise CodecError(str(error)) from None
    require_canonical(plain, data)
    _check_padding(message, len(frame) + cut, len(padding) + cut)
    return message


def _check_padding(message: Message, size: int, padding: int) -> None:
    """Refuse what has another size than it should: *size* with its *padding*."""
    if isinstance(message, SizeProbe):
        if size != message.size:
            raise CodecError("a probe of another size than it says")
    elif padding > _MAX_PADDING:
        raise CodecError("more than padding after the message")
