"""What goes on to other peers by our channels: checked, limited, made bursts of.

Nothing is opened or kept, and what leaves has the size of what came. The datagrams of
a run stay together, so that one segmented send carries them on as one receive brought
them.
"""

from collections.abc import Callable
from typing import Any

from meshnode.codec.channels import relabel
from meshnode.dataplane.channel_table import Channel
from meshnode.dataplane.interface import Burst
from meshnode.dataplane.table import ForwardingTable
from meshnode.errors import DropReason
from meshnode.types import Path


class Relay:
    """Looks channels up, and forwards by those that do not end here.

    `datagrams` and `octets` count what was forwarded; what was dropped is counted in
    *drops*.
    """

    def __init__(
        self, table: ForwardingTable[Any, Any], drops: dict[DropReason, int]
    ) -> None:
        self.datagrams = 0
        self.octets = 0
        self._table = table
        self._drops = drops
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
        self, channel: Channel, data: bytearray, segment_size: int, *, now: float
    ) -> None:
        """Send the datagrams in *data* on, which becomes ours; all have a header."""
        command = channel.command
        path = (
            None if command.onward is None else self._table.direct_path(command.onward)
        )
        count = -(-len(data) // segment_size)
        if path is None:
            self._drops[DropReason.NO_ENDPOINT] += count
            return
        taken = channel.take(count, segment_size, now=now)
        self._drops[DropReason.CHANNEL_LIMIT] += count - taken
        del data[taken * segment_size :]
        if not taken:
            return
        relabel(data, segment_size, command.label)
        self.datagrams += taken
        self.octets += len(data)
        self._bursts.append(Burst(path, segment_size, data))

    def bursts(self) -> list[Burst]:
        """Return and forget what is to be sent."""
        bursts, self._bursts = self._bursts, []
        return bursts
