"""What the engine tells its shell; `Engine.next_event` gives them in order."""

from dataclasses import dataclass

from meshnode.crypto.keys import PublicKey


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """A new session with the peer is confirmed."""

    slot: int
    public_key: PublicKey
    is_initiator: bool


@dataclass(frozen=True, slots=True)
class HandshakeGivenUp:
    """The peer did not answer for REKEY_ATTEMPT_TIME; staged packets are gone."""

    slot: int
    public_key: PublicKey


@dataclass(frozen=True, slots=True)
class PeerStateChanged:
    """The state of the peer that must outlive this process changed."""

    slot: int


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """A `set` was applied; the whole configuration should be kept anew."""


@dataclass(frozen=True, slots=True)
class TimestampsReserved:
    """Persist *mark* before the datagrams now queued are sent.

    It is a TAI64N label, 12 bytes, that no timestamp sent until the next such
    event exceeds; a later run starts above it.
    """

    mark: bytes


Event = (
    HandshakeCompleted
    | HandshakeGivenUp
    | PeerStateChanged
    | ConfigurationChanged
    | TimestampsReserved
)
