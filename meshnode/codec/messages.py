"""The messages of control frames as values.

`meshnode.codec.message_bytes` has their bytes.

Names of fields that are bytes: `key` is a WireGuard key (32), `digest` a sum of
fingerprints (8), `id` the first 8 bytes of BLAKE2s over kind and subject. Signed
records travel as their bytes and are verified by `meshnode.mesh`.
"""

import enum
from typing import Final

from meshnode.codec.records import NatHint
from meshnode.types import Endpoint
from meshnode.values import frozen

CONTROL_FIRST_BYTE: Final = 0x01
HEADER_BYTES: Final = 3
MAX_MESSAGE_BYTES: Final = 1200
MAX_LEAF: Final = 64
MAX_FURTHER_RELAYS: Final = 2
"""Relays beside the one that is asked: three between two members, no more."""

MAX_RELAYED_BYTES: Final = 1080
"""Of the datagrams that go along with a question for a channel, together."""


def frame_end(frame: bytes) -> int:
    """Return where the message ends in a control frame, by its header (3 bytes)."""
    return HEADER_BYTES + int.from_bytes(frame[1:HEADER_BYTES], "little")


@frozen
class Hello:
    """Between neighbours: what the sender knows, in short.

    `wants_answer` asks for a `Hello` back. `charter` and `policy` are versions, 0
    for none; `count` is how many records the set has.
    """

    digest: bytes
    count: int
    charter: int
    policy: int
    wants_answer: bool


@frozen
class Push:
    """Records that the receiver lacks, or that are new to everybody."""

    records: tuple[bytes, ...]


@frozen
class Digests:
    """The digests of the 16 children of the tree node at `prefix` (nibbles, 0–15)."""

    prefix: bytes
    digests: tuple[bytes, ...]


@frozen
class Leaf:
    """All records below `prefix`: ids with their fingerprints, at most `MAX_LEAF`."""

    prefix: bytes
    entries: tuple[tuple[bytes, bytes], ...]


@frozen
class Want:
    """Please push the records with these ids."""

    ids: tuple[bytes, ...]


@frozen
class Ping:
    """Are you there? `nonce` is 8 bytes."""

    nonce: bytes


@frozen
class Pong:
    """Yes; `seen` is where the ping came from, as the answerer sees it."""

    nonce: bytes
    seen: Endpoint | None


@frozen
class Publish:
    """Keep this endpoint record (its envelope) for who asks."""

    record: bytes


@frozen
class Refresh:
    """The endpoint record of this version, which you have, still holds."""

    version: int


@frozen
class Published:
    """It is kept: version, 0 for none, and the address it came from."""

    version: int
    seen: Endpoint | None


@frozen
class Lookup:
    """Where is the member with this key? Tell changes for 300 s, too."""

    key: bytes


@frozen
class Found:
    """The endpoint record of the member, b"" if none is known."""

    key: bytes
    record: bytes


@frozen
class JoinRequest:
    """The joiner asks for what its invite grants, for keys of its own.

    `signature` is by `signing_key` over `b"meshnode/1 join"`, network id, its
    WireGuard key, `signing_key`, invite key and name.
    """

    invite_key: bytes
    signing_key: bytes
    name: str
    signature: bytes


@frozen
class JoinReply:
    """Welcome: the certificate's envelope and that of its issuer."""

    certificate: bytes
    issuer: bytes


@frozen
class Refused:
    """No, and why: a short word for programs and a line for people."""

    code: str
    text: str


@frozen
class RenewRequest:
    """A member asks an issuer for a later certificate of the same content."""

    nonce: bytes


@frozen
class Renewed:
    """The later certificate's envelope and that of its issuer."""

    certificate: bytes
    issuer: bytes


@frozen
class Fetch:
    """Send the charter or policy (`kind` 1 or 6) of that version, from `offset` on."""

    kind: int
    version: int
    offset: int


@frozen
class Chunk:
    """A part of a charter's or policy's envelope; `total` is its whole length."""

    kind: int
    version: int
    offset: int
    total: int
    data: bytes


@frozen
class Accepts:
    """Under these sessions of ours, data may come by these ciphers, the best first.

    `sessions` are what the sender of this calls its receiver indices. A cipher is the
    number of its UDP message; numbers that nobody knows may be among them.
    """

    ciphers: tuple[int, ...]
    sessions: tuple[int, ...]


@frozen
class LargestSize:
    """So large a packet (bytes, 1,280–65,455) the sender takes inside the session."""

    size: int


@frozen
class SizeProbe:
    """Does a packet of `size` bytes arrive whole? This one has that many.

    `nonce` is 8 bytes. The only frame with more padding than up to a multiple of 16.
    """

    nonce: bytes
    size: int


@frozen
class SizeProven:
    """The probe with this nonce arrived, in that many bytes."""

    nonce: bytes
    size: int


class RelayReason(enum.IntEnum):
    """Why a channel is closed, or was never opened."""

    CLOSED = 0
    NO_CAPACITY = 1
    UNWILLING = 2
    UNKNOWN_TARGET = 3
    TARGET_GONE = 4
    LOOP = 5
    NO_PATH = 6


@frozen
class RelayOpen:
    """Carry me to the member `key`, by way of the relays `via` behind you.

    The sender receives under `channel`. `trail` is by whom the question came to it, who
    wants the channel first; () if it is the sender itself. The `datagrams` are the
    first to carry. Repeated, it renews.
    """

    key: bytes
    via: tuple[bytes, ...]
    trail: tuple[bytes, ...]
    channel: int
    datagrams: tuple[bytes, ...]


@frozen
class RelayOffer:
    """`origin` asks for you: I receive under `channel` what you send it.

    The `datagrams` are its first.
    """

    origin: bytes
    channel: int
    datagrams: tuple[bytes, ...]


@frozen
class RelayAccept:
    """I receive under `label` what comes by your `channel`."""

    channel: int
    label: int


@frozen
class RelayOpened:
    """For your `channel` I receive under `label`, for `lease` seconds.

    With a lease of 0 the other end has not answered yet.
    """

    channel: int
    label: int
    lease: int


@frozen
class RelayClose:
    """Your `channel` is closed, or will not be opened."""

    channel: int
    reason: RelayReason


@frozen
class CallMe:
    """Probe me at these endpoints, for I begin to probe you; and the answer to that.

    `number` (32 bits) names the call, and the answer repeats it. `probe_key` is what
    probes to the sender are sealed to. `seen` is its outer IPv4 endpoint, as others see
    it; `nat` tells of the ports of others. `opened` are the receiver's endpoints that
    the sender's NATs let in already.
    """

    number: int
    is_answer: bool
    probe_key: bytes
    candidates: tuple[Endpoint, ...]
    seen: Endpoint | None
    nat: NatHint
    opened: tuple[Endpoint, ...]


@frozen
class ProbeMe:
    """Send a probe to me at `to`, sealed to `probe_key`; or let the member `by` do it.

    `by` is a WireGuard key.
    """

    probe_key: bytes
    to: Endpoint
    by: bytes | None = None


@frozen
class ProbeThem:
    """Send a probe to the member `origin` at `to`: it asked for one from you."""

    origin: bytes
    probe_key: bytes
    to: Endpoint


@frozen
class ProbeKey:
    """Probes to the sender are sealed to this key; `wants_answer` asks for one back."""

    probe_key: bytes
    wants_answer: bool


Message = (
    Hello
    | Push
    | Digests
    | Leaf
    | Want
    | Ping
    | Pong
    | Publish
    | Published
    | Refresh
    | Lookup
    | Found
    | JoinRequest
    | JoinReply
    | Refused
    | RenewRequest
    | Renewed
    | Fetch
    | Chunk
    | Accepts
    | LargestSize
    | SizeProbe
    | SizeProven
    | RelayOpen
    | RelayOffer
    | RelayAccept
    | RelayOpened
    | RelayClose
    | CallMe
    | ProbeMe
    | ProbeThem
    | ProbeKey
)
