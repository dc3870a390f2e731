"""Where steered traffic is handed in: a door for each exit and proxy of the rules."""

import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from meshnode.codec.steer_link import (
    TCP,
    UDP,
    CloseDoor,
    ControlMessage,
    OpenDoor,
)
from meshnode.errors import HostError
from meshnode.host.transparent import (
    open_transparent_listener,
    open_transparent_receiver,
)
from meshnode.steering import MAX_DOORS, Door, ViaExit, ViaProxy
from meshnode.types import Target
from meshnode.values import frozen

Say = Callable[[ControlMessage, Sequence[int]], None]
"""Sends a message with descriptors to the process; raises `HostError`."""

_HTTP: Final = "http"
_OPEN: Final = {TCP: open_transparent_listener, UDP: open_transparent_receiver}


@frozen
class Upstream:
    """Who carries what is handed in: the scheme, places in order, and who we are."""

    scheme: str
    places: tuple[Target, ...] = ()
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Upstream({self.scheme!r}, {self.places!r})"


class SteerDoors:
    """Opens doors, and says to the process behind them what they lead to.

    Their sockets stay open here, so a process that dies loses nothing that waits.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._doors: dict[ViaExit | ViaProxy, Door] = {}
        self._sockets: dict[int, dict[str, socket.socket]] = {}
        self._told: dict[int, Upstream] = {}

    def door(self, via: ViaExit | ViaProxy) -> Door:
        """Return the door for *via*, opened if there is none; raises `HostError`.

        An HTTP proxy carries no datagrams, so its door takes none.
        """
        if via not in self._doors:
            used = {door.number for door in self._doors.values()}
            number = min(set(range(1, MAX_DOORS + 1)) - used)
            is_http = isinstance(via, ViaProxy) and via.scheme == _HTTP
            sockets = _open_sockets((TCP,) if is_http else (TCP, UDP))
            ports = {name: one.getsockname()[1] for name, one in sockets.items()}
            self._doors[via] = Door(number=number, **ports)
            self._sockets[number] = sockets
        return self._doors[via]

    def lead(self, via: ViaExit | ViaProxy, upstream: Upstream) -> None:
        """Let the door of *via* lead to *upstream*; raises `HostError`."""
        number = self._doors[via].number
        before = self._told.get(number)
        if before == upstream:
            return
        sockets = self._sockets[number] if before is None else {}
        message = OpenDoor(
            number,
            upstream.scheme,
            upstream.places,
            upstream.user,
            upstream.password,
            tuple(TCP if name.startswith(TCP) else UDP for name in sockets),
        )
        self._say(message, [one.fileno() for one in sockets.values()])
        self._told[number] = upstream

    def keep_only(self, vias: Collection[ViaExit | ViaProxy]) -> None:
        """Close the doors of all others, which nothing leads to any more."""
        for via in [via for via in self._doors if via not in vias]:
            number = self._doors.pop(via).number
            if self._told.pop(number, None) is not None:
                with suppress(HostError):
                    self._say(CloseDoor(number), [])
            for one in self._sockets.pop(number).values():
                one.close()

    def forget_told(self) -> None:
        """Another process carries now: it must be told everything."""
        self._told = {}

    def close(self) -> None:
        """Close all sockets."""
        for sockets in self._sockets.values():
            for one in sockets.values():
                one.close()
        self._sockets = {}
        self._doors = {}


def _open_sockets(kinds: Sequence[str]) -> dict[str, socket.socket]:
    """Return sockets of these kinds, by the names of the ports of a `Door`."""
    opened: dict[str, socket.socket] = {}
    try:
        for version in (4, 6):
            for kind in kinds:
                one = _OPEN[kind](version)
                if one is not None:
                    opened[f"{kind}{version}"] = one
    except HostError:
        for one in opened.values():
            one.close()
        raise
    return opened
