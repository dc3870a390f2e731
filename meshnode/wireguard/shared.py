"""What all peers of one device share: its identity, its inputs and its outbox."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.crypto.primitives import KEY_SIZE
from meshnode.deadlines import Deadline
from meshnode.forwarding import Command
from meshnode.ports import Entropy, TrafficView
from meshnode.types import Datagram, Path
from meshnode.values import frozen
from meshnode.wireguard.constants import REKEY_JITTER
from meshnode.wireguard.events import Event
from meshnode.wireguard.handshake import Identity
from meshnode.wireguard.indices import IndexTable
from meshnode.wireguard.timestamps import TimestampSource


@frozen
class IndexOwner:
    """What a local index stands for: a handshake of the peer, or a key pair."""

    slot: int
    is_keypair: bool


@dataclass(slots=True)
class Outbox:
    """Output that waits to be drained; it is due at the moment it was queued."""

    datagrams: list[Datagram] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    queued_at: float = 0.0

    def next_deadline(self) -> Deadline | None:
        """Return "at once" while anything waits: a forgotten drain is a busy wake."""
        if self.datagrams or self.commands or self.events:
            return Deadline(self.queued_at, "queued output")
        return None


KeyLog = Callable[[bytes, PublicKey, PresharedKey], None]
"""Is told the private key of each handshake, with whom it is, and what they share.

Such a key opens the session that comes of the handshake: see `Engine.log_keys`.
"""


@dataclass(slots=True)
class Shared:
    """Inputs and outputs every peer uses; owned by the engine.

    `wall_offset` added to boottime seconds gives wall time in seconds. It is fixed
    when the device starts, so a step of the wall clock cannot reach a handshake.
    `key_log` is there only while somebody asked for the keys.
    """

    entropy: Entropy
    traffic: TrafficView
    timestamps: TimestampSource
    indices: IndexTable[IndexOwner]
    wall_offset: float
    identity: Identity | None = None
    up: bool = False
    outbox: Outbox = field(default_factory=Outbox)
    key_log: KeyLog | None = None

    def new_ephemeral(self, peer: PublicKey, preshared_key: PresharedKey) -> bytes:
        """Draw the private key of one handshake with *peer*."""
        ephemeral = self.entropy(KEY_SIZE)
        if self.key_log is not None:
            self.key_log(ephemeral, peer, preshared_key)
        return ephemeral

    def send(self, data: bytes, path: Path, *, now: float) -> None:
        """Queue a datagram."""
        self.outbox.queued_at = now
        self.outbox.datagrams.append(Datagram(data, path))

    def command(self, *commands: Command, now: float) -> None:
        """Queue commands for the data plane, in order."""
        self.outbox.queued_at = now
        self.outbox.commands.extend(commands)

    def report(self, event: Event, *, now: float) -> None:
        """Queue an event for the shell."""
        self.outbox.queued_at = now
        self.outbox.events.append(event)

    def jitter(self) -> float:
        """Draw a random delay of 0 to `REKEY_JITTER` seconds."""
        return int.from_bytes(self.entropy(4), "little") / 2**32 * REKEY_JITTER
