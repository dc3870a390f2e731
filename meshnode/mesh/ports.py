"""What the mesh needs from the tunnels below it, and what it asks the shell to do.

`Tunnels` is `wireguard.engine.Engine` behind a thin adapter in production, and a
table of mailboxes in the scale simulation. All verbs are synchronous. Outputs that
reach the disk or the host are values, drained by the shell in the order of
`docs/mesh.md`.
"""

from typing import Protocol

from meshnode.codec.messages import Message
from meshnode.types import Cipher, Endpoint, Path, Prefix
from meshnode.values import frozen


@frozen
class Share:
    """One owner of a prefix: its WireGuard key and its part of the flows (1–255)."""

    key: bytes
    weight: int


@frozen
class SharedPrefix:
    """A prefix that several peers own.

    Flows go to `forward` by weight; inner sources are accepted from all of `accept`.
    """

    prefix: Prefix
    forward: tuple[Share, ...]
    accept: tuple[bytes, ...]


@frozen
class TunnelPeer:
    """What a member is to the tunnels: its key and the prefixes only it owns.

    `is_sought` keeps packets waiting while nobody knows where the peer is.
    `keepalive` is seconds, 0 for off.
    """

    key: bytes
    prefixes: tuple[Prefix, ...] = ()
    is_sought: bool = True
    keepalive: int = 0


class Tunnels(Protocol):
    """The encrypted sessions with peers, by WireGuard key (32 bytes)."""

    def set_peer(self, peer: TunnelPeer, *, now: float) -> None:
        """Add the peer or change it; sessions stay if it was there."""

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Forget the peer and cut its sessions; unknown ones are ignored."""

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Let exactly these prefixes have several owners."""

    def set_candidates(
        self, key: bytes, candidates: tuple[Endpoint, ...], *, now: float
    ) -> None:
        """Try the peer at these endpoints whenever its path is not proven."""

    def send(self, key: bytes, message: Message, *, now: float) -> None:
        """Send a control frame; without a session a handshake begins first."""

    def send_probe(
        self, key: bytes, message: Message, size: int, *, now: float
    ) -> None:
        """Send a control frame in *size* bytes, whole or not at all."""

    def drop_waiting(self, key: bytes, *, now: float) -> None:
        """Throw away what waits for the peer: it cannot be found."""

    def path_of(self, key: bytes) -> Endpoint | None:
        """Return where the peer is spoken to at present."""

    def has_session(self, key: bytes) -> bool:
        """Whether a session with the peer is usable now."""

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return the indices by which the peer may send us data, at most 3."""

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Send under *cipher* in the session that the peer has that index for."""

    def is_wanted(self, key: bytes) -> bool:
        """Whether packets of users wait for a session with the peer."""

    def is_watched(self, key: bytes) -> bool:
        """Whether traffic with the peer is expected: it will not be told as new."""

    def last_received(self, key: bytes) -> float:
        """Return when authenticated data last came from the peer, or `NEVER`."""

    def last_data_sent(self, key: bytes) -> float:
        """Return when data of users was last sent to the peer, or `NEVER`.

        Control frames are none.
        """

    def sent_to(self, key: bytes) -> tuple[int, int]:
        """Return how many datagrams were sent to the peer, and their bytes."""


class PathTunnels(Tunnels, Protocol):
    """Tunnels whose paths and relay channels the mesh decides about."""

    def take_questions(self) -> dict[bytes, Endpoint]:
        """Return who was sent what is answered at once, and where, since the last call.

        Of several places it is the last one.
        """

    def send_by(self, key: bytes, message: Message, path: Path, *, now: float) -> None:
        """Send a control frame by this very path; without a session it is dropped."""

    def dial_again(self, key: bytes, *, now: float) -> None:
        """Send another initiation at once, if one is under way."""

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Speak to the peer by *path*, which has been proven; None: it is nowhere."""

    def set_standby(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Send data to the peer by *path*, too; None ends that."""

    def open_channel(
        self,
        channel: int,
        key: bytes,
        label: int,
        *,
        onward: bytes | None = None,
        rate: int = 0,
        quota: int = 0,
        now: float,
    ) -> None:
        """Take relayed datagrams with our number *channel* from the peer *key*.

        They are for us, and ours go to it under *label*; or they go on to the peer
        *onward* under *label*, within *rate* (bytes/s) and *quota* (bytes until this
        is said again), 0 for no limit.
        """

    def close_channel(self, channel: int, *, now: float) -> None:
        """Take no more datagrams with this number."""


@frozen
class KeepRecord:
    """Write this record (bytes of a `MemberRecord` or a revocation envelope)."""

    id: bytes
    kind: int
    data: bytes


@frozen
class DropRecord:
    """Delete the record with this id."""

    id: bytes


@frozen
class KeepCharter:
    """Append this charter envelope to the chain."""

    version: int
    data: bytes


@frozen
class KeepPolicy:
    """This policy envelope is in force now."""

    version: int
    data: bytes


@frozen
class KeepOwn:
    """Our own record (member record bytes), with its version: never go below it."""

    version: int
    data: bytes


@frozen
class KeepWallMark:
    """Wall time, in seconds, that was believed: never believe less."""

    at: int


@frozen
class KeepEndpoints:
    """The last good endpoints of a member; may be lost in a crash."""

    key: bytes
    candidates: tuple[Endpoint, ...]


@frozen
class KeepInvite:
    """An invite of ours as it is now, whole (`mesh.invites` knows the format)."""

    key: bytes
    data: bytes


@frozen
class DropInvite:
    """This invite is gone."""

    key: bytes


@frozen
class KeepIssued:
    """A certificate we issued (bytes of `codec.record_bytes`), by serial."""

    serial: bytes
    data: bytes


StateChange = (
    KeepRecord
    | DropRecord
    | KeepCharter
    | KeepPolicy
    | KeepOwn
    | KeepWallMark
    | KeepEndpoints
    | KeepInvite
    | DropInvite
    | KeepIssued
)


@frozen
class StoredState:
    """Everything the state store held, in the order it was written."""

    charters: tuple[bytes, ...] = ()
    records: tuple[tuple[int, bytes], ...] = ()
    policy: bytes = b""
    own: bytes = b""
    own_version: int = 0
    wall_mark: int = 0
    endpoints: tuple[tuple[bytes, tuple[Endpoint, ...]], ...] = ()
    invites: tuple[tuple[bytes, bytes], ...] = ()
    issued: tuple[tuple[bytes, bytes], ...] = ()
