"""The messages of control frames as values.

`meshnode.codec.message_bytes` has their bytes.

Names of fields that are bytes: `key` is a WireGuard key (32), `digest` a sum of
fingerprints (8), `id` the first 8 bytes of BLAKE2s over kind and subject. Signed
records travel as their bytes and are verified by `meshnode.mesh`.
"""

from dataclasses import dataclass
from typing import Final

from meshnode.types import Endpoint

CONTROL_FIRST_BYTE: Final = 0x01
MAX_MESSAGE_BYTES: Final = 1200
MAX_LEAF: Final = 64


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Push:
    """Records that the receiver lacks, or that are new to everybody."""

    records: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of the 16 children of the tree node at `prefix` (nibbles, 0–15)."""

    prefix: bytes
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """All records below `prefix`: ids with their fingerprints, at most `MAX_LEAF`."""

    prefix: bytes
    entries: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Want:
    """Please push the records with these ids."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? `nonce` is 8 bytes."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """Yes; `seen` is where the ping came from, as the answerer sees it."""

    nonce: bytes
    seen: Endpoint | None


@dataclass(frozen=True, slots=True)
class Publish:
    """Keep this endpoint record (its envelope) for who asks."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """It is kept: version and the address it came from."""

    version: int
    seen: Endpoint | None


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where is the member with this key? Tell changes for 300 s, too."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """The endpoint record of the member, b"" if none is known."""

    key: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The joiner asks for what its invite grants, for keys of its own.

    `signature` is by `signing_key` over `b"meshnode/1 join"`, network id, its
    WireGuard key, `signing_key`, invite key and name.
    """

    invite_key: bytes
    signing_key: bytes
    name: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class JoinReply:
    """Welcome: the certificate's envelope and that of its issuer."""

    certificate: bytes
    issuer: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """No, and why: a short word for programs and a line for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """A member asks an issuer for a later certificate of the same content."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Renewed:
    """The later certificate's envelope and that of its issuer."""

    certificate: bytes
    issuer: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send the charter or policy (`kind` 1 or 6) of that version, from `offset` on."""

    kind: int
    version: int
    offset: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a charter's or policy's envelope; `total` is its whole length."""

    kind: int
    version: int
    offset: int
    total: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Accepts:
    """Under these sessions of ours, data may come by these ciphers, the best first.

    `sessions` are what the sender of this calls its receiver indices. A cipher is the
    number of its UDP message; numbers that nobody knows may be among them.
    """

    ciphers: tuple[int, ...]
    sessions: tuple[int, ...]


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
)
