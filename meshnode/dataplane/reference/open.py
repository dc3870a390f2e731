"""The receiving half of the reference engine: datagrams in, inner packets out.

It touches no descriptor and reads no clock, so the simulation calls it as production
does:

    half.apply(command, now=...)
    half.receive(datagram, path, now=...)    # or receive_burst, from a receive buffer
    half.packets_to_deliver()                # -> list[bytes], inner IP packets
    half.handshakes()                        # -> list[Datagram] for control
    half.reports()                           # -> list[Report]

Theory of operation: the order of the checks is the paper's (5.4.6, 6.5): nothing
changes for a datagram before its tag is verified, and what was authenticated counts,
roams and confirms even if its inner packet is refused afterwards. All datagrams of a
burst share a path, so what depends on it is done once for each run of one session.
"""

from meshnode.codec import ip
from meshnode.codec.wireguard import DATA_HEADER, DATA_OVERHEAD, DATA_TYPE
from meshnode.crypto.transport import Arena, Opener
from meshnode.dataplane.gate import HandshakeGate
from meshnode.dataplane.table import ForwardingTable, TablePeer, TableSession
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import (
    Command,
    EndpointMoved,
    RekeyDue,
    Report,
    Session,
    SessionConfirmed,
    SetIdentity,
    TrafficResumed,
)
from meshnode.types import Datagram, Path
from meshnode.wireguard.constants import RECEIVE_REKEY_AGE, REJECT_AFTER_MESSAGES
from meshnode.wireguard.replay import ReplayWindow

_HEADER_SIZE = DATA_HEADER.size
_unpack_header = DATA_HEADER.unpack_from

MAX_DATAGRAM = 65535
"""The longest datagram, or burst of them, one receive can bring."""


class _Session(TableSession):
    __slots__ = ("is_confirmed", "opener", "rekey_at", "window")

    def __init__(self, slot: int, secrets: Session) -> None:
        super().__init__(slot, secrets)
        self.opener = Opener(secrets.receive_key)
        self.window = ReplayWindow()
        self.is_confirmed = False
        never = float("inf")
        # Infinite also once it was reported.
        self.rekey_at = (
            secrets.born_at + RECEIVE_REKEY_AGE if secrets.is_initiator else never
        )


class _Peer(TablePeer[_Session]):
    __slots__ = ("data_bytes", "data_packets", "keepalive_bytes", "keepalives")

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.data_packets = 0
        self.data_bytes = 0
        self.keepalives = 0
        self.keepalive_bytes = 0


class _Sources:
    """Where the peers are, as (host, port): the gate's known sources, kept live."""

    def __init__(self) -> None:
        self._paths: dict[int, tuple[str, int]] = {}
        self.count: dict[tuple[str, int], int] = {}

    def set(self, slot: int, path: Path | None) -> None:
        """Note that the peer in *slot* is reached by *path* now."""
        old = self._paths.pop(slot, None)
        if old is not None:
            self.count[old] -= 1
            if not self.count[old]:
                del self.count[old]
        if path is not None:
            new = (path.remote.host, path.remote.port)
            self._paths[slot] = new
            self.count[new] = self.count.get(new, 0) + 1


class OpenHalf:
    """Opens, checks and sorts datagrams; see the module for how it is driven.

    `drops` counts what was dropped. All times are boottime seconds.
    """

    def __init__(self, generation: int, recorder: IngressRecorder) -> None:
        self.drops = dict.fromkeys(DropReason, 0)
        self._table: ForwardingTable[_Peer, _Session] = ForwardingTable(
            generation, _Peer, _Session
        )
        self._recorder = recorder
        self._gate = HandshakeGate()
        self._moved: dict[int, Path] = {}
        self._reports: list[Report] = []
        self._packets: list[bytes] = []
        self._handshakes: list[Datagram] = []

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command of control."""
        reports = self._table.apply(command)
        if reports is None:
            return
        self._reports += reports
        if isinstance(command, SetIdentity):
            self._gate.set_identity(command.public_key)

    def receive(self, data: bytes, path: Path, *, now: float) -> None:
        """Take one datagram that arrived by *path*."""
        arena = Arena(len(data))
        arena.data[:] = data
        self.receive_burst(arena, len(data), len(data), path, now=now)

    def receive_burst(
        self, arena: Arena, length: int, segment_size: int, path: Path, *, now: float
    ) -> None:
        """Take the datagrams in the first *length* bytes of *arena*.

        Each has *segment_size* bytes but the last, which may be shorter. The arena is
        overwritten and free again afterwards.
        """
        drops, data = self.drops, arena.data
        sessions, lookup = self._table.sessions, self._table.routes.lookup
        if not self._table.is_up:
            drops[DropReason.DEVICE_DOWN] += 1
            return
        deliver = self._packets.append
        session: _Session | None = None
        authenticated: _Session | None = None
        data_packets = data_bytes = 0
        segment_size = segment_size or 1
        for at in range(0, length or 1, segment_size):
            size = min(segment_size, length - at)
            if size < DATA_OVERHEAD:
                self._receive_other(bytes(data[at : at + size]), path, now)
                continue
            kind, index, counter = _unpack_header(data, at)
            if kind != DATA_TYPE:
                self._receive_other(bytes(data[at : at + size]), path, now)
                continue
