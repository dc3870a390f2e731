"""What the engine tells its shell; `Engine.next_event` gives them in order."""

from dataclasses import dataclass

from meshnode.crypto.keys import PublicKey
from meshnode.types import Endpoint


@dataclass(frozen=True, slots=True)
class HandshakeBegun:
    """An initiation is queued, to each of these endpoints.

    What must reach the peer before it can still be sent first.
    """

    slot: int
    public_key: PublicKey
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class DeviceUp:
    """The TUN device came up; what was to be sent before is lost."""


@dataclass(frozen=True, slots=True)
class EndpointWanted:
    """A handshake waits for `Engine.set_candidates`: the peer is nowhere we know of.

    Told at most once a second, and also when a peer that is sought does not answer.
    """

    slot: int
    public_key: PublicKey


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
class ControlFrame:
    """The peer sent a control frame, authenticated; its padding is still on it."""

    slot: int
    public_key: PublicKey
    frame: bytes


@dataclass(frozen=True, slots=True)
class PeerTrafficResumed:
    """Data passes again between us and the peer, after all waits had ended."""

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
    DeviceUp
    | HandshakeBegun
    | EndpointWanted
    | HandshakeCompleted
    | HandshakeGivenUp
    | ControlFrame
    | PeerTrafficResumed
    | PeerStateChanged
    | ConfigurationChanged
    | TimestampsReserved
)
