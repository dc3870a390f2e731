"""The rule about relays: what they send on, to whom, and that it is not more."""

from typing import TYPE_CHECKING

from meshnode.codec.channels import CHANNEL_TYPE, HEADER_SIZE, parse
from meshnode.codec.wireguard import message_type
from meshnode.forwarding import CloseChannel, Command, OpenChannel, RemovePeer
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.trace import Flight, describe

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World


def is_relayed(data: bytes) -> bool:
    """Whether this is a datagram on its way over a relay."""
    return message_type(data) == CHANNEL_TYPE and len(data) >= HEADER_SIZE


def content_of(data: bytes) -> bytes:
    """Return what a relay carries, or *data* itself if it is none of that."""
    return data[HEADER_SIZE:] if is_relayed(data) else data


class OnlyByChannels(Invariant):
    """A host sends type 5 by channels that it has, and forwards what came, once."""

    rule = (
        "I12: a relay sends on only what just came by one of its channels, once, in "
        "the same size and to the peer that the channel leads to"
    )

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        # By host and number; those that ended hold while commands may be under way.
        self._open: dict[str, dict[int, OpenChannel]] = {}
        self._ended: dict[str, dict[int, OpenChannel]] = {}
        # Where they lead: who is removed has no name any more.
        self._ends: dict[tuple[str, OpenChannel], str | None] = {}
        self._arriving: bytes | None = None

    def started(self, host: "SimulatedHost") -> None:
        """Begin without channels."""
        self._open[host.name] = {}
        self._ended[host.name] = {}

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Follow which channels there are."""
        channels = self._open[host.name]
        match command:
            case OpenChannel(channel):
                if channel in channels:
                    self._ended[host.name][channel] = channels[channel]
                channels[channel] = command
                slot = command.slot if command.onward is None else command.onward
                self._ends[host.name, command] = host.name_of_slot(slot)
            case CloseChannel(channel) if channel in channels:
                self._ended[host.name][channel] = channels.pop(channel)
            case RemovePeer(slot):
                for number, one in list(channels.items()):
                    if slot in (one.slot, one.onward):
                        self._ended[host.name][number] = channels.pop(number)

    def arriving(self, host: "SimulatedHost", flight: Flight) -> None:
        """Remember what may go on."""
        self._arriving = flight.data if is_relayed(flight.data) else None

    def arrived(self, host: "SimulatedHost", flight: Flight, *, accepted: bool) -> None:
        """It has gone on, or never will."""
        self._arriving = None

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Look for the channel."""
        if not is_relayed(flight.data):
            return
        label, content = parse(flight.data)
        for number, one in self._channels(host):
            if one.label != label or not self._leads_to(host, one, flight):
                continue
            if one.onward is None:
                return
            if self._arriving is not None and parse(self._arriving) == (
                number,
                content,
            ):
                self._arriving = None
                return
        what = describe(flight.data)
        self.fail(host, f"{what} went to {flight.destination} without a channel")

    def settled(self, host: "SimulatedHost") -> None:
        """Commands that arrived leave no doubt about what has ended."""
        if self._ended[host.name] and (host.workers is None or host.workers.is_quiet):
            self._ended[host.name].clear()

    def _channels(self, host: "SimulatedHost") -> list[tuple[int, OpenChannel]]:
        ended, channels = self._ended[host.name], self._open[host.name]
        return [*channels.items(), *ended.items()]

    def _leads_to(
        self, host: "SimulatedHost", channel: OpenChannel, flight: Flight
    ) -> bool:
        """Whether that is where the peer is; behind a NAT anybody may be."""
        owner = self._world.network.owner(flight.destination)
        leads_to = self._ends[host.name, channel]
        return owner not in self._world.hosts or owner == leads_to
