"""The two workers of a simulated host: the real halves of the reference engine.

Commands and reports go through their codec and through a channel for each worker, as
in production; only descriptors are missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from meshnode.codec.forwarding import (
    decode_command,
    encode_command,
    encode_report,
    split_allowed_ips,
)
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
)
from meshnode.forwarding import (
    AddAllowedIps,
    Command,
    RemoveAllowedIps,
    Report,
)
from meshnode.simulation.channel import Channel, Schedule
from meshnode.types import Datagram, Path

ROLES: Final = ("egress", "ingress")
"""The workers of a host."""

_SLOTS: Final = 1024


@dataclass(slots=True)
class Tally:
    """How many packets were authenticated since the node was started."""

    accepted: int = 0


class _CountingView(ControlView):
    """Counts the handshake messages that control accepts."""

    def __init__(self, table: TrafficTable, tally: Tally) -> None:
        super().__init__(table)
        self._tally = tally

    def count_handshake(
        self, slot: int, *, sent: int = 0, received: int = 0, now: float
    ) -> None:
        super().count_handshake(slot, sent=sent, received=received, now=now)
        self._tally.accepted += bool(received)


class _CountingRecorder(IngressRecorder):
    """Counts the data messages that ingress accepts."""

    def __init__(self, table: TrafficTable, tally: Tally) -> None:
        super().__init__(table)
        self._tally = tally

    def received_data(self, slot: int, packets: int, octets: int, now: float) -> bool:
        self._tally.accepted += packets
        return super().received_data(slot, packets, octets, now)

    def received_keepalive(
        self, slot: int, octets: int, now: float, *, packets: int = 1
    ) -> bool:
        self._tally.accepted += 1
        return super().received_keepalive(slot, octets, now, packets=packets)


class Workers:
    """Egress and ingress, their channels to control and the memory they share.

    *now* gives boottime, *report* takes the encoded reports, *settle* is called when
    messages that took their time have arrived. A worker that is down sends and
    receives nothing; what is written to it waits.
    """

    def __init__(
        self,
        schedule: Schedule,
        random: Random,
        *,
        now: Callable[[], float],
        report: Callable[[bytes], None],
        settle: Callable[[], None],
        slowness: float,
    ) -> None:
        self.table = TrafficTable(bytearray(_SLOTS * RECORD_BYTES))
        self.tally = Tally()
        self.view = _CountingView(self.table, self.tally)
        self.generation = dict.fromkeys(ROLES, 0)
        self._now = now
        make_channel = partial(
            Channel, schedule, random, settle=settle, slowness=slowness
        )
        self._to_egress = make_channel(self._apply_to_egress)
        self._to_ingress = make_channel(self._apply_to_ingress)
        self._roaming = make_channel(self._apply_to_egress)
        self.reports = make_channel(report)
        self.seal: SealHalf | None = None
        self.open: OpenHalf | None = None
        for role in ROLES:
            self.start(role)

    # --- lives ---

    def start(self, role: str) -> None:
        """Start a worker that knows nothing; its generation is one higher."""
        self.generation[role] += 1
        generation = self.generation[role]
        if role == "egress":
            self.seal = SealHalf(generation, EgressRecorder(self.table))
            self._to_egress.open()
            self._roaming.open()
        else:
            self.open = OpenHalf(generation, _CountingRecorder(self.table, self.tally))
            self._to_ingress.open()

    def kill(self, role: str) -> None:
        """End a worker; its sessions die with it."""
        if role == "egress":
            self.seal = None
            self._to_egress.close()
            self._roaming.close()
        else:
            self.open = None
            self._to_ingress.close()

    def running(self) -> list[str]:
        """Return the roles of the workers that are alive."""
        halves = {"egress": self.seal, "ingress": self.open}
        return [role for role in ROLES if halves[role] is not None]

    # --- inputs ---

    def forward(self, command: Command) -> None:
        """Send a command of control to both workers."""
        self.forward_to("egress", command)
        self.forward_to("ingress", command)

    def forward_to(self, role: str, command: Command) -> None:
        """Send a command of control to one worker."""
        channel = self._to_egress if role == "egress" else self._to_ingress
        if isinstance(command, AddAllowedIps | RemoveAllowedIps):
            for part in split_allowed_ips(command):
                channel.put(encode_command(part))
        else:
            channel.put(encode_command(command))

    def send_packet(self, packet: bytes) -> None:
        """Take an IP packet from the TUN device."""
        if self.seal is not None:
            self.seal.send_packet(packet, now=self._now())

    def receive(self, data: bytes, path: Path) -> Datagram | None:
        """Take a datagram; return the handshake message for control that it is.

        What came by a relay is returned as it was before, and by its channel.
        """
        if self.open is None:
            return None
        self.open.receive(data, path, now=self._now())
        for move in self.open.moves():
            self._roaming.put(encode_command(move))
        # The facts for the timers are written when the reports are asked for.
        self._put_reports(self.open.reports())
        handshakes = self.open.handshakes()
        return handshakes[0] if handshakes else None

    # --- outputs ---

    def datagrams_to_send(self) -> list[Datagram]:
        """Return what egress sealed, and ingress forwards, as single datagrams."""
        bursts = [] if self.seal is None else self.seal.bursts_to_send()
        if self.open is not None:
            bursts += self.open.bursts_to_forward()
        return [
            Datagram(data, burst.path) for burst in bursts for data in burst.datagrams()
        ]

    def packets_to_deliver(self) -> list[bytes]:
        """Return what ingress opened."""
        return [] if self.open is None else self.open.packets_to_deliver()

    def send_reports(self) -> bool:
        """Send the reports of both workers to control; return whether any."""
        reports = [] if self.seal is None else self.seal.reports()
        if self.open is not None:
            reports += self.open.reports()
        return self._put_reports(reports)

    def freeze(self) -> None:
        """Let nothing be read any more, for the machine stands still."""
        for channel in self._channels():
            channel.close()

    def thaw(self, *, control_runs: bool) -> None:
        """Let everybody who is alive read again."""
        if self.seal is not None:
            self._to_egress.open()
            self._roaming.open()
        if self.open is not None:
            self._to_ingress.open()
        if control_runs:
            self.reports.open()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way between control and the workers."""
        return not any(self._channels())

    def _channels(self) -> tuple[Channel, ...]:
        return self._to_egress, self._to_ingress, self._roaming, self.reports

    def _put_reports(self, reports: list[Report]) -> bool:
        for report in reports:
            self.reports.put(encode_report(report))
        return bool(reports)

    def _apply_to_egress(self, message: bytes) -> None:
        if self.seal is not None:
            self.seal.apply(decode_command(message), now=self._now())

    def _apply_to_ingress(self, message: bytes) -> None:
        if self.open is not None:
            self.open.apply(decode_command(message), now=self._now())
