"""What goes on to other peers by our channels: checked, limited, made bursts of.

Nothing is opened or kept, and what leaves has the size of what came. The datagrams of
a run stay together, so that one segmented send carries them on as one receive brought
them.
"""

from collections.abc import Callable
from typing import Any

from meshnode.codec.channels import relabel
from meshnode.codec.tap import FORWARDED, UNDERLAY_IN, UNDERLAY_OUT, code_of
from meshnode.dataplane.channel_table import Channel
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.table import ForwardingTable
from meshnode.dataplane.tap import NoTap, Tap
from meshnode.errors import DropReason
from meshnode.types import Path


class Relay:
    """Looks channels up, and forwards by those that do not end here.

    `datagrams` and `octets` count what was forwarded; what was dropped is counted in
    *drops*. *tap* sees it come and go.
    """

    def __init__(
        self,
        table: ForwardingTable[Any, Any],
        drops: dict[DropReason, int],
        tap: Tap | None = None,
    ) -> None:
        self.datagrams = 0
        self.octets = 0
        self._table = table
        self._drops = drops
        self._tap = tap or NoTap()
        self._bursts: list[Burst] = []

    def find(
        self, number: int, path: Path, count: int, catch_up: Callable[[], object]
    ) -> Channel | None:
        """Return the channel of *count* datagrams that came by *path*.

        None if there is none, or the peer that has it is not there: then they were
        dropped. *catch_up* is called before a channel is taken for unknown.
        """
        channel = self._table.channels.find(number)
        if channel is None:
            catch_up()
            channel = self._table.channels.find(number)
        if channel is None:
            self._drops[DropReason.UNKNOWN_CHANNEL] += count
            return None
        known = self._table.direct_path(channel.command.slot)
        if known is None or known.remote != path.remote:
            self._drops[DropReason.CHANNEL_SOURCE] += count
            return None
        return channel

    def forward(
        self,
        channel: Channel,
        data: bytearray,
        segment_size: int,
        came_by: Path,
        *,
        now: float,
    ) -> None:
        """Send the datagrams in *data* on, which becomes ours; all have a header."""
        command = channel.command
        path = (
            None if command.onward is None else self._table.direct_path(command.onward)
        )
        count = -(-len(data) // segment_size)
        if path is None:
            self._drops[DropReason.NO_ENDPOINT] += count
            came = Burst(came_by, segment_size, data)
            self._note_arrival(channel, came, 0, DropReason.NO_ENDPOINT)
            return
        taken = channel.take(count, segment_size, now=now)
        self._drops[DropReason.CHANNEL_LIMIT] += count - taken
        came = Burst(came_by, segment_size, data)
        self._note_arrival(channel, came, taken, DropReason.CHANNEL_LIMIT)
        del data[taken * segment_size :]
        if not taken:
            return
        relabel(data, segment_size, command.label)
        self.datagrams += taken
        self.octets += len(data)
        burst = Burst(path, segment_size, data)
        self._bursts.append(burst)
        if self._tap.sides:
            for one in burst.datagrams():
                self._tap.note(
                    UNDERLAY_OUT,
                    one,
                    slot=-1 if command.onward is None else command.onward,
                    verdict=FORWARDED,
                    path=path,
                    channel=command.label,
                )

    def _note_arrival(
        self, channel: Channel, burst: Burst, taken: int, reason: DropReason
    ) -> None:
        """Let the tap have what came, of which the first *taken* go on."""
        if not self._tap.sides:
            return
        for number, one in enumerate(burst.datagrams()):
            self._tap.note(
                UNDERLAY_IN,
                one,
                slot=channel.command.slot,
                verdict=FORWARDED if number < taken else code_of(reason),
                path=burst.path,
                channel=channel.command.channel,
            )

    def bursts(self) -> list[Burst]:
        """Return and forget what is to be sent."""
        bursts, self._bursts = self._bursts, []
        return bursts
