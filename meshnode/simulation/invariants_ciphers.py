"""The rule about ciphers, judged by what leaves a host and what its peer had said."""

from typing import TYPE_CHECKING

from meshnode.codec.message_bytes import decode_message
from meshnode.codec.messages import Accepts
from meshnode.codec.wireguard import DATA_TYPE, message_type
from meshnode.errors import CodecError
from meshnode.forwarding import Command, InstallSession, SendControl
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.invariants_keys import data_header
from meshnode.simulation.invariants_relays import content_of
from meshnode.simulation.trace import Flight

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World


class AskedCiphers(Invariant):
    """Who is sent data of another type than WireGuard's said so, in that session."""

    rule = "nobody is sent data by a cipher that it did not ask for in that session"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._peers: dict[tuple[str, int], str | None] = {}
        self._asked: set[tuple[str | None, int, int]] = set()

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Learn whose sessions are, and what a host asks for."""
        match command:
            case InstallSession(slot, session):
                name = host.name_of_slot(slot)
                self._peers[host.name, session.remote_index] = name
            case SendControl(_, frame):
                self._note_asked(host.name, frame)

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Check the type of data; what a relay sends on is of others' sessions."""
        data = content_of(flight.data)
        header, kind = data_header(data), message_type(data)
        if header is None or kind == DATA_TYPE:
            return
        index, _ = header
        name = self._peers.get((host.name, index))
        if name is None and data is not flight.data:
            return
        if (name, index, kind) not in self._asked:
            self.fail(host, f"{name} was sent type {kind} and did not ask for it")

    def _note_asked(self, name: str, frame: bytes) -> None:
        try:
            message = decode_message(frame)
        except CodecError:
            return  # nonsense of an insider
        if isinstance(message, Accepts):
            for index in message.sessions:
                self._asked |= {(name, index, kind) for kind in message.ciphers}
