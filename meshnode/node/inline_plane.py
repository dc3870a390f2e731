"""A whole WireGuard node in one process and without a device: for who wants to join.

The engine and both halves of the reference data plane are driven one after the other
until nothing is left to pass on, as the simulation does it. There is no TUN device,
so no privilege is needed; only control frames travel.
"""

from collections.abc import Callable
from typing import Final

from meshnode.codec.message_bytes import decode_message, encode_message
from meshnode.codec.messages import Message
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
)
from meshnode.errors import CodecError
from meshnode.forwarding import ProgramComplete, Reset
from meshnode.ports import Entropy
from meshnode.types import Datagram, Endpoint
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.constants import DEFAULT_MTU
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.events import (
    ControlFrame,
    HandshakeBegun,
    HandshakeCompleted,
    TimestampsReserved,
)

_SLOTS: Final = 16
_MAX_ROUNDS: Final = 100


class InlinePlane:
    """One identity, one peer, control frames both ways.

    Args:
        private_key: who we are.
        peer: the static public key of the peer.
        endpoints: where it may be, at most 8.
        entropy: random bytes.
        on_message: called with each message from the peer.
        on_begun: called with the endpoints an initiation is about to go to.
        wall: wall seconds at *now*, boottime seconds.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        peer: PublicKey,
        endpoints: tuple[Endpoint, ...],
        *,
        entropy: Entropy,
        on_message: Callable[[Message], None],
        on_begun: Callable[[tuple[Endpoint, ...]], list[Datagram]],
        now: float,
        wall: float,
    ) -> None:
        table = TrafficTable(bytearray(_SLOTS * RECORD_BYTES))
        self._seal = SealHalf(1, EgressRecorder(table))
        self._open = OpenHalf(1, IngressRecorder(table))
        self._engine = Engine(
            entropy=entropy, traffic=ControlView(table), wall_time=wall, now=now
        )
        self._peer = peer
        self._on_message = on_message
        self._on_begun = on_begun
        self._datagrams: list[Datagram] = []
        self.has_session = False
        for half in (self._seal, self._open):
            half.apply(Reset(1), now=now)
            half.apply(ProgramComplete(), now=now)
        self._engine.configure(
            DeviceChange(
                private_key=private_key,
                peers=[PeerChange(peer, is_sought=True)],
            ),
            now=now,
        )
        self._engine.set_link(mtu=DEFAULT_MTU, up=True, now=now)
        self._engine.set_candidates(peer, endpoints, now=now)
        self._settle(now)

    def set_endpoints(self, endpoints: tuple[Endpoint, ...], *, now: float) -> None:
        """Let the peer be at one of these, at most 8."""
        self._engine.set_candidates(self._peer, endpoints, now=now)
        self._settle(now)

    def send(self, message: Message, *, now: float) -> None:
        """Send a message; without a session a handshake begins first."""
        self._engine.send_control(self._peer, encode_message(message), now=now)
        self._settle(now)

    def receive(self, datagram: Datagram, *, now: float) -> None:
        """Take a datagram from the UDP port."""
        self._open.receive(datagram.data, datagram.path, now=now)
        self._settle(now)

    def handle_deadline(self, *, now: float) -> None:
        """Do what is due."""
        self._engine.handle_deadline(now=now)
        self._settle(now)

    def next_deadline(self) -> float | None:
        """Return when `handle_deadline` is due, boottime seconds."""
        deadline = self._engine.next_deadline()
        return None if deadline is None else deadline.at

    def datagrams_to_send(self) -> list[Datagram]:
        """Return and forget what is to be sent, in order."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def _settle(self, now: float) -> None:
        """Pass everything on until nothing moves."""
        for _ in range(_MAX_ROUNDS):
            if not self._pass_on(now):
                return
        raise RuntimeError("the inline plane does not come to rest")

    def _pass_on(self, now: float) -> bool:
        moved = self._handle_events(now)
        for command in self._engine.commands_to_forward():
            moved = True
            self._open.apply(command, now=now)
            self._seal.apply(command, now=now)
        self._datagrams += self._engine.datagrams_to_send()
        for burst in self._seal.bursts_to_send():
            self._datagrams += [Datagram(d, burst.path) for d in burst.datagrams()]
        for move in self._open.moves():
            self._seal.apply(move, now=now)
        self._open.packets_to_deliver()
        self._seal.packets_to_return()
        for datagram in self._open.handshakes():
            moved = True
            self._engine.receive_datagram(datagram.data, datagram.path, now=now)
        for report in [*self._open.reports(), *self._seal.reports()]:
            moved = True
            self._engine.handle_report(report, now=now)
        return moved

    def _handle_events(self, now: float) -> bool:
        moved = False
        while (event := self._engine.next_event()) is not None:
            moved = True
            match event:
                case TimestampsReserved(mark):
                    self._engine.mark_saved(mark)
                case HandshakeBegun(_, _, endpoints):
                    self._datagrams += self._on_begun(endpoints)
                case HandshakeCompleted():
                    self.has_session = True
                case ControlFrame(frame=frame):
                    self._deliver(frame)
        return moved

    def _deliver(self, frame: bytes) -> None:
        try:
            message = decode_message(frame)
        except CodecError:
            return  # the issuer speaks another language: the request times out
        self._on_message(message)
