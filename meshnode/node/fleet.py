"""The workers as control sees them: who is told what, and where sessions are shared."""

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from meshnode.codec.lifeline import Direction, Worker
from meshnode.dataplane.shared_sessions import (
    PlaceBook,
    egress_holder,
    ingress_holder,
)
from meshnode.forwarding import (
    Command,
    InstallSession,
    RetireSession,
    SendControl,
    SendKeepalive,
    SendProbe,
)
from meshnode.host.udp import UdpPair
from meshnode.node.program_link import ProgramLink, encode_all

_log = logging.getLogger("meshnode.node")

_SENT_ONCE = (SendKeepalive, SendControl, SendProbe)
"""What is sent to a peer by one worker only."""

_ORDER = (Direction.INGRESS, Direction.EGRESS)
"""Ingress first: it must know a session before egress provokes answers."""


def bit_of(worker: Worker) -> int:
    """Return the bit of *worker* among the holders of a session."""
    is_egress = worker.direction is Direction.EGRESS
    return 1 << (egress_holder if is_egress else ingress_holder)(worker.number)


def open_book(memory: memoryview, workers: Iterable[Worker]) -> PlaceBook:
    """Return the book of what these workers share."""
    return PlaceBook(memory, sum(map(bit_of, workers)))


class Fleet:
    """The links to all workers.

    Args:
        links: one for each worker.
        places: where sessions are shared, None for a single worker of each direction.
    """

    def __init__(
        self, links: Mapping[Worker, ProgramLink], places: PlaceBook | None = None
    ) -> None:
        self.links = links
        self._places = places
        self._pairs: Sequence[UdpPair] = ()
        self._beside: Sequence[socket.socket] = ()
        self._place_of: dict[int, int] = {}
        self._in_order = sorted(
            links, key=lambda w: (_ORDER.index(w.direction), w.number)
        )

    def forward(self, commands: Iterable[Command]) -> None:
        """Send *commands* to all workers; what is sent to a peer, to one of them."""
        for_all = self._with_places(commands)
        if not for_all:
            return
        silent = [c for c in for_all if not isinstance(c, _SENT_ONCE)]
        messages = encode_all(for_all)
        fewer = messages if len(silent) == len(for_all) else encode_all(silent)
        for worker in self._in_order:
            is_told = worker.direction is Direction.INGRESS or worker.number == 0
            if is_told or fewer:
                self.links[worker].put_messages(messages if is_told else fewer)

    def start_over(
        self, worker: Worker, generation: int, program: Iterable[Command]
    ) -> None:
        """Give *worker* the whole table; what still waited for it is in there."""
        if self._beside:
            # It was started with the node's own sockets only.
            pair = self._pairs[worker.number]
            self.links[worker].use_sockets(pair, self._beside)
        self.links[worker].start_over(generation, program)

    def generation(self, worker: Worker) -> int:
        """Return the generation that *worker* was last given a table for."""
        return self.links[worker].generation

    def bury(self, worker: Worker) -> None:
        """Note that *worker* holds no session of those there were until now."""
        if self._places is not None:
            self._places.bury(bit_of(worker))

    def use_sockets(self, pairs: Sequence[UdpPair]) -> None:
        """Let each worker speak by the pair of its number."""
        self._pairs = pairs
        self._give_sockets()

    def use_beside(self, sockets: Sequence[socket.socket]) -> None:
        """Let every worker speak by these, too, which are on other ports."""
        self._beside = sockets
        self._give_sockets()

    def _give_sockets(self) -> None:
        for worker, link in self.links.items():
            link.use_sockets(self._pairs[worker.number], self._beside)

    def _with_places(self, commands: Iterable[Command]) -> list[Command]:
        if self._places is None:
            return list(commands)
        placed = [self._place(command, self._places) for command in commands]
        return [command for command in placed if command is not None]

    def _place(self, command: Command, book: PlaceBook) -> Command | None:
        match command:
            case InstallSession(slot, session):
                place = book.give()
                if place is None:
                    # The peer will ask for another one, which may find a place.
                    _log.error("no place for a session: it is not used")
                    return None
                self._place_of[session.local_index] = place
                return InstallSession(slot, replace(session, place=place))
            case RetireSession(_, local_index):
                # Of a session from before our time, the place rests already.
                place = self._place_of.pop(local_index, None)
                if place is not None:
                    book.retire(place)
        return command
