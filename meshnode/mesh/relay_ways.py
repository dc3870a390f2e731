"""Our own channels: those we asked for, and those that we were offered.

Each ends at us, under a number of ours, and leads to one member by one or several
relays, the first of which is the one we speak to. They are told apart from addresses by
their endpoints only (`meshnode.channels`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec.channels import encode_header
from meshnode.codec.early_calls import EARLY_CALL_TYPE
from meshnode.codec.messages import MAX_RELAYED_BYTES
from meshnode.codec.wireguard import message_type
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.ports import PathTunnels
from meshnode.ports import NEVER
from meshnode.types import Datagram, Endpoint, Path

INTRODUCTION_TYPE: Final = 7
_HANDSHAKE_TYPES: Final = (1, 2, 3)
_CARRIED: Final = (INTRODUCTION_TYPE, *_HANDSHAKE_TYPES, EARLY_CALL_TYPE)


@dataclass(slots=True, eq=False)
class Way:
    """One channel of ours to the member *key*.

    `relays` are those on the way, the one next to us first; of an offered channel we
    know only that one. `label` is the number it receives under, 0 as long as it has not
    said so. `tries` counts the questions without an answer, the first of them sent at
    `asked_at`; `heard_at` is when the relay itself last said anything of this channel.
    """

    key: bytes
    relays: tuple[bytes, ...]
    channel: int
    is_offered: bool
    began_at: float
    label: int = 0
    is_open: bool = False
    milliseconds: float | None = None
    ends_at: float = 0.0
    tries: int = 0
    asked_at: float = NEVER
    heard_at: float = NEVER
    kept: dict[int, bytes] = field(default_factory=dict)

    @property
    def relay(self) -> bytes:
        """Whom we speak to."""
        return self.relays[0]

    @property
    def endpoint(self) -> Endpoint:
        """What stands for the channel among endpoints."""
        return endpoint_of(self.channel)

    @property
    def is_doubted(self) -> bool:
        """Whether the way was there, and a question was not answered in time."""
        return self.is_open and self.tries > 1

    def take_kept(self) -> tuple[bytes, ...]:
        """Return what waits and fits into one question, in order, and keep the rest."""
        taken: list[bytes] = []
        room = MAX_RELAYED_BYTES
        # An introduction goes before the handshake that it announces.
        for kind in sorted(self.kept, key=_CARRIED.index):
            data = self.kept[kind]
            if len(data) > room:
                break
            room -= len(data)
            taken.append(data)
            del self.kept[kind]
        return tuple(taken)


class Ways:
    """The channels that end at us, by number and by member.

    `changed` are the members whose ways, or their order, are not what they were.
    """

    def __init__(self, tunnels: PathTunnels, numbers: ChannelNumbers) -> None:
        self.changed: set[bytes] = set()
        self._tunnels = tunnels
        self._numbers = numbers
        self._by_channel: dict[int, Way] = {}
        self._by_key: dict[bytes, list[Way]] = {}

    def __len__(self) -> int:
        return len(self._by_channel)

    def __iter__(self) -> Iterator[Way]:
        return iter(tuple(self._by_channel.values()))

    def at(self, channel: int, relay: bytes) -> Way | None:
        """Return our way with this number, if that relay is the one next to us."""
        way = self._by_channel.get(channel)
        return way if way is not None and way.relay == relay else None

    def of(self, key: bytes) -> tuple[Way, ...]:
        """Return the ways to a member, the best first."""
        return tuple(sorted(self._by_key.get(key, ()), key=_rank))

    def in_use(self, key: bytes) -> Way | None:
        """Return the way by which the member is spoken to now, if it is one of ours."""
        path = self._tunnels.path_of(key)
        return None if path is None else self._by_channel.get(channel_of(path))

    def add(
        self, key: bytes, relays: tuple[bytes, ...], *, label: int = 0, now: float
    ) -> Way:
        """Make a way; the relay may send by it from now on.

        With the *label* of the relay it is one that was offered.
        """
        way = Way(key, relays, self._numbers.draw(), bool(label), now, label)
        self._by_channel[way.channel] = way
        self._by_key.setdefault(key, []).append(way)
        self.changed.add(key)
        # Until the relay says its number, ours stands for it: there it leads nowhere.
        number = label or way.channel
        self._tunnels.open_channel(way.channel, way.relay, number, now=now)
        return way

    def use_label(self, way: Way, label: int, *, now: float) -> None:
        """Send by the way under this number from now on."""
        if label != way.label:
            way.label = label
            self._tunnels.open_channel(way.channel, way.relay, label, now=now)

    def remove(self, way: Way, *, now: float) -> None:
        """Close the way on our side."""
        del self._by_channel[way.channel]
        left = self._by_key[way.key]
        left.remove(way)
        if not left:
            del self._by_key[way.key]
        self.changed.add(way.key)
        self._tunnels.close_channel(way.channel, now=now)
        self._numbers.free(way.channel)

    def carry(self, datagram: Datagram) -> Datagram | None:
        """Return what to send in place of a datagram of control to a channel.

        None if it is kept for the question that will open the channel, or there is no
        such channel, or it is nothing that goes by one.
        """
        way = self._by_channel.get(channel_of(datagram.path.remote))
        kind = message_type(datagram.data)
        if way is None or kind not in _CARRIED:
            return None
        if not way.is_open:
            _keep(way, kind, datagram.data)
            return None
        path = self._tunnels.path_of(way.relay)
        if path is None or channel_of(path):
            return None
        data = encode_header(way.label) + datagram.data
        return replace(datagram, data=data, path=Path(path))


def _keep(way: Way, kind: int, data: bytes) -> None:
    # An introduction and one message of a handshake, the newest of each.
    if kind in _HANDSHAKE_TYPES:
        for other in _HANDSHAKE_TYPES:
            way.kept.pop(other, None)
    way.kept[kind] = data


def _rank(way: Way) -> tuple[bool, bool, float, float]:
    trip = float("inf") if way.milliseconds is None else way.milliseconds
    return way.is_doubted, not way.is_open, trip, -way.began_at
