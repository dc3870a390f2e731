"""The relay channels and standby paths that the data plane was told to keep.

They are part of what a worker is programmed with, and go with the peers that they are
of, for a slot is given to somebody else one day.
"""

from collections.abc import Iterator

from meshnode.forwarding import Command, OpenChannel, SetStandby


class Ways:
    """Channels by our number, and standby paths by slot."""

    def __init__(self) -> None:
        self._channels: dict[int, OpenChannel] = {}
        self._standbys: dict[int, SetStandby] = {}

    def open(self, command: OpenChannel) -> None:
        """Keep a channel."""
        self._channels[command.channel] = command

    def close(self, channel: int) -> bool:
        """Forget a channel; return whether there was one."""
        return self._channels.pop(channel, None) is not None

    def set_standby(self, command: SetStandby) -> None:
        """Keep a standby path, or that there is none."""
        if command.path is None:
            self._standbys.pop(command.slot, None)
        else:
            self._standbys[command.slot] = command

    def remove_slot(self, slot: int) -> None:
        """Forget what is of the peer in *slot*, at either end."""
        self._standbys.pop(slot, None)
        for command in list(self._channels.values()):
            if slot in (command.slot, command.onward):
                del self._channels[command.channel]

    def commands(self) -> Iterator[Command]:
        """Yield what makes a new table know all of them; its peers come before."""
        yield from self._standbys.values()
        yield from self._channels.values()
