"""What the sending half tells the tap, packet by packet."""

from collections.abc import Iterable
from typing import Any

from meshnode.codec.messages import CONTROL_FIRST_BYTE
from meshnode.codec.tap import GIVEN_UP, PASSED, TUNNEL_OUT, UNDERLAY_OUT, code_of
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.table import ForwardingTable
from meshnode.dataplane.tap import Tap
from meshnode.errors import DropReason
from meshnode.types import Path


class Notes:
    """Notes what leaves or is dropped, while somebody captures; *table* knows the ways.

    Keepalives and control frames are no packets of users: only the datagrams that
    carry them are noted.
    """

    def __init__(self, tap: Tap, table: ForwardingTable[Any, Any]) -> None:
        self._tap = tap
        self._table = table

    def leaving(self, slot: int, path: Path | None, packets: Iterable[bytes]) -> None:
        """Note packets on their way to *slot*, who is at *path*."""
        if not self._tap.sides:
            return
        way, label = (None, 0) if path is None else self._table.way_of(path)
        verdict = PASSED if way is not None else code_of(DropReason.NO_ENDPOINT)
        for packet in packets:
            if _is_users(packet):
                self._tap.note(
                    TUNNEL_OUT,
                    packet,
                    slot=slot,
                    verdict=verdict,
                    path=way,
                    channel=label,
                )

    def dropped(
        self, packets: Iterable[bytes], reason: DropReason | None, slot: int = -1
    ) -> None:
        """Note packets that go nowhere; no *reason* is that no session came."""
        if not self._tap.sides:
            return
        verdict = GIVEN_UP if reason is None else code_of(reason)
        for packet in packets:
            if _is_users(packet):
                self._tap.note(TUNNEL_OUT, packet, slot=slot, verdict=verdict)

    def burst(self, slot: int, burst: Burst, label: int) -> None:
        """Note the datagrams of *burst*, which is for *slot*."""
        if not self._tap.sides:
            return
        for one in burst.datagrams():
            self._tap.note(UNDERLAY_OUT, one, slot=slot, path=burst.path, channel=label)


def _is_users(packet: bytes) -> bool:
    return bool(packet) and packet[0] != CONTROL_FIRST_BYTE
