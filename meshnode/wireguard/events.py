"""What the engine tells its shell; `Engine.next_event` gives them in order."""

from meshnode.crypto.keys import PublicKey
from meshnode.types import Endpoint, Path
from meshnode.values import frozen


@frozen
class HandshakeBegun:
    """An initiation is queued, to each of these endpoints.

    What must reach the peer before it can still be sent first.
    """

    slot: int
    public_key: PublicKey
    endpoints: tuple[Endpoint, ...]


@frozen
class DeviceUp:
    """The TUN device came up; what was to be sent before is lost."""


@frozen
class EndpointWanted:
    """A handshake waits for `Engine.set_candidates`: the peer is nowhere we know of.

    Told at most once a second, and also when a peer that is sought does not answer.
    """

    slot: int
    public_key: PublicKey


@frozen
class HandshakeCompleted:
    """A new session with the peer is confirmed."""

    slot: int
    public_key: PublicKey
    is_initiator: bool


@frozen
class HandshakeGivenUp:
    """The peer did not answer for REKEY_ATTEMPT_TIME; staged packets are gone."""

    slot: int
    public_key: PublicKey


@frozen
class ControlFrame:
    """The peer sent a control frame, authenticated; its padding is still on it.

    If that was more than any frame has, the last *cut* bytes are not here. *path* is
    the one it came by.
    """

    slot: int
    public_key: PublicKey
    frame: bytes
    cut: int = 0
    path: Path | None = None


@frozen
class PeerHeard:
    """The peer's data came by a path that nobody but `Engine.set_path` takes it to."""

    slot: int
    public_key: PublicKey
    path: Path


@frozen
class PathChanged:
    """The peer is spoken to by another path from now on, or by none."""

    slot: int
    public_key: PublicKey


@frozen
class PeerTrafficResumed:
    """Data passes again between us and the peer, after all waits had ended."""

    slot: int
    public_key: PublicKey


@frozen
class PeerStateChanged:
    """The state of the peer that must outlive this process changed."""

    slot: int


@frozen
class ConfigurationChanged:
    """A `set` was applied; the whole configuration should be kept anew."""


@frozen
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
    | PeerHeard
    | PathChanged
    | PeerTrafficResumed
    | PeerStateChanged
    | ConfigurationChanged
    | TimestampsReserved
)
