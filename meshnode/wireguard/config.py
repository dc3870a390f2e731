"""What can be set on a WireGuard device, and what it answers when asked.

A `DeviceChange` is one parsed `set` request: it is checked whole and then applied
whole by `Engine.configure`. A `DeviceStatus` is what `get` reports. Neither knows
the text format; `meshnode.manage.uapi` does.
"""

from dataclasses import dataclass, field

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.types import Cipher, Endpoint, Path, Prefix
from meshnode.values import frozen


@dataclass(slots=True)
class PeerChange:
    """Changes to one peer; None leaves a value as it is.

    `allowed_ips` holds, in order, (True, prefix) to add and (False, prefix) to
    remove. `preshared_key` of all zeros clears it; `persistent_keepalive` is
    0–65535 seconds, 0 for off. For a peer that `is_sought` packets wait although
    it has no endpoint, and whoever looks for it is told by `EndpointWanted`.
    """

    public_key: PublicKey
    remove: bool = False
    update_only: bool = False
    preshared_key: PresharedKey | None = None
    endpoint: Endpoint | None = None
    persistent_keepalive: int | None = None
    is_sought: bool | None = None
    replace_allowed_ips: bool = False
    allowed_ips: list[tuple[bool, Prefix]] = field(default_factory=list)


@frozen
class SharedPrefix:
    """A prefix that several peers own, at most `forwarding.MAX_OWNERS` each way.

    Flows go to the peers of `forward` by weight (1–255); inner sources are accepted
    from all of `accept`, and from nobody else.
    """

    prefix: Prefix
    forward: tuple[tuple[PublicKey, int], ...]
    accept: tuple[PublicKey, ...]


@dataclass(slots=True)
class DeviceChange:
    """One `set`: device values first, then the peers in the order given.

    `clear_private_key` and a `private_key` exclude each other. `listen_port` is
    0–65535, 0 for a random one; `fwmark` is 32 bits, 0 for off.
    """

    private_key: PrivateKey | None = None
    clear_private_key: bool = False
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: list[PeerChange] = field(default_factory=list)


@dataclass(slots=True)
class PeerStatus:
    """One peer as `wg show` presents it.

    `last_handshake` is (seconds, nanoseconds) of wall time, (0, 0) for never;
    byte counts are whole UDP payloads; `allowed_ips` are in the order shown. `cipher`
    is what we send under at present, None without a session.
    """

    public_key: PublicKey
    preshared_key: PresharedKey
    endpoint: Endpoint | None
    last_handshake: tuple[int, int]
    sent_bytes: int
    received_bytes: int
    persistent_keepalive: int
    allowed_ips: list[Prefix]
    cipher: Cipher | None = None


@dataclass(slots=True)
class DeviceStatus:
    """The device as `wg show` presents it; 0 stands for no port and no mark."""

    private_key: PrivateKey | None
    listen_port: int
    fwmark: int
    peers: list[PeerStatus]


@dataclass(slots=True)
class PeerState:
    """What of one peer outlives a control process.

    `slot` is its name towards the data plane; `latest_timestamp` the greatest
    TAI64N label accepted, 12 bytes; `last_handshake` wall seconds, 0.0 for never.
    """

    slot: int
    public_key: PublicKey
    preshared_key: PresharedKey
    path: Path | None
    persistent_keepalive: int
    latest_timestamp: bytes
    last_handshake: float
    allowed_ips: list[Prefix]
    is_sought: bool = False


@dataclass(slots=True)
class DeviceState:
    """What of the device outlives a control process."""

    private_key: PrivateKey | None = None
    listen_port: int = 0
    fwmark: int = 0
    peers: list[PeerState] = field(default_factory=list)
