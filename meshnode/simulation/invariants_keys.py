"""The rules about keys: I1 (counters), I5 (confirmation) and I6 (lifetime)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshnode.codec.wireguard import (
    DATA_HEADER,
    DATA_OVERHEAD,
    DATA_TYPES,
    INITIATION_TYPE,
    RESPONSE_TYPE,
    message_type,
)
from meshnode.forwarding import (
    Command,
    InstallSession,
    RemovePeer,
    RetireSession,
    Session,
)
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.invariants_relays import content_of, is_relayed
from meshnode.simulation.trace import Flight
from meshnode.wireguard.constants import REJECT_AFTER_TIME, ZERO_KEYS_AFTER

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World

_KEPT: Final = 256
"""Messages of a session that may go by a second path after the first."""

_EPHEMERAL: Final = {INITIATION_TYPE: slice(8, 40), RESPONSE_TYPE: slice(12, 44)}


def data_header(data: bytes) -> tuple[int, int] | None:
    """Return receiver index and counter of a data message, None for another.

    By whatever cipher, and by a relay or not: the counters of a session are of all.
    """
    data = content_of(data)
    if message_type(data) not in DATA_TYPES or len(data) < DATA_OVERHEAD:
        return None
    _, index, counter = DATA_HEADER.unpack_from(data)
    return index, counter


@dataclass(slots=True)
class _Known:
    """A session that control made, and whether a packet came under it."""

    slot: int
    session: Session
    is_confirmed: bool = False


class SessionBook:
    """The sessions of each host, by either index, since its node was started."""

    def __init__(self) -> None:
        self._by_remote: dict[tuple[str, int], _Known] = {}
        self._by_local: dict[tuple[str, int], _Known] = {}

    def note(self, host: str, command: InstallSession) -> None:
        """Enter a session."""
        known = _Known(command.slot, command.session)
        self._by_remote[host, command.session.remote_index] = known
        self._by_local[host, command.session.local_index] = known

    def sending(self, host: str, data: bytes) -> _Known | None:
        """Return the session that a data message of *host* was sent under."""
        header = data_header(data)
        return None if header is None else self._by_remote.get((host, header[0]))

    def receiving(self, host: str, data: bytes) -> _Known | None:
        """Return the session of *host* that a data message was made for."""
        header = data_header(data)
        return None if header is None else self._by_local.get((host, header[0]))

    def forget(self, host: str) -> None:
        """The node began anew."""
        for table in (self._by_remote, self._by_local):
            for key in [key for key in table if key[0] == host]:
                del table[key]


class CountersRise(Invariant):
    """No key encrypts two messages under one counter; no ephemeral is used twice."""

    rule = "I1: no (key, counter) ever encrypts twice"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._book = SessionBook()
        # By host and receiver index, what was sent under the last counters, in order.
        self._sent: dict[tuple[str, int], dict[int, bytes]] = {}
        self._ephemerals: dict[bytes, bytes] = {}

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Learn of sessions, to tell our own data from what we relay."""
        if isinstance(command, InstallSession):
            self._book.note(host.name, command)

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Counters under one receiver index rise; ephemerals are of one message.

        Copies of an initiation may go to several places, and of data by two paths.
        """
        data = content_of(flight.data)
        if is_relayed(flight.data) and self._book.sending(host.name, data) is None:
            return
        header = data_header(data)
        if header is not None:
            self._check_counter(host, *header, data)
            return
        where = _EPHEMERAL.get(message_type(data))
        if where is not None:
            ephemeral = data[where]
            if self._ephemerals.setdefault(ephemeral, data) != data:
                self.fail(host, f"ephemeral {ephemeral.hex()} was used before")

    def _check_counter(
        self, host: "SimulatedHost", index: int, counter: int, data: bytes
    ) -> None:
        sent = self._sent.setdefault((host.name, index), {})
        last = next(reversed(sent), -1)
        if counter <= last and sent.get(counter) != data:
            self.fail(host, f"counter {counter} after {last} under {index:#010x}")
        sent[counter] = data
        if len(sent) > _KEPT:
            del sent[next(iter(sent))]


class NoEarlySending(Invariant):
    """A responder waits for the first packet under a new key before it uses it."""

    rule = "I5: a responder never sends under an unconfirmed key"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._book = SessionBook()

    def started(self, host: "SimulatedHost") -> None:
        """Forget the sessions of the life before."""
        self._book.forget(host.name)

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Learn of sessions."""
        if isinstance(command, InstallSession):
            self._book.note(host.name, command)

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Accepted data confirms its session."""
        known = self._book.receiving(host.name, flight.data)
        if known is not None:
            known.is_confirmed = True

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Data may be sent as initiator, or under a confirmed session."""
        if data_header(flight.data) is None:
            return
        known = self._book.sending(host.name, flight.data)
        if known is None and is_relayed(flight.data):
            return  # what others sealed
        if known is None:
            self.fail(host, "data was sent under a session that control never made")
        if not known.session.is_initiator and not known.is_confirmed:
            index = known.session.local_index
            self.fail(host, f"data was sent under the unconfirmed key {index:#010x}")


class KeyLifetime(Invariant):
    """Keys are not used from 180 s on, and are forgotten 540 s after the last."""

    rule = "I6: no key is used at age >= 180 s, none exists at > 540 s idle"

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._book = SessionBook()
        self._live: dict[str, dict[int, set[int]]] = {}
        self._derived_at: dict[tuple[str, int], float] = {}

    def started(self, host: "SimulatedHost") -> None:
        """Forget the keys of the life before."""
        self._book.forget(host.name)
        self._live[host.name] = {}

    def commanded(self, host: "SimulatedHost", command: Command) -> None:
        """Learn of keys that come and go."""
        live = self._live[host.name]
        match command:
            case InstallSession(slot, session):
                self._book.note(host.name, command)
                live.setdefault(slot, set()).add(session.local_index)
                self._derived_at[host.name, slot] = host.now
            case RetireSession(slot, local_index):
                live.setdefault(slot, set()).discard(local_index)
            case RemovePeer(slot):
                live.pop(slot, None)

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Check the age of the key that data is sent under."""
        known = self._book.sending(host.name, flight.data)
        if known is not None:
            self._check_age(host, known, "sent")

    def accepted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Check the age of the key that data was accepted under."""
        known = self._book.receiving(host.name, flight.data)
        if known is not None:
            self._check_age(host, known, "accepted")

    def settled(self, host: "SimulatedHost") -> None:
        """No slot has keys 540 s after its last derivation, unless wakes are due."""
        control = host.control
        if control is None:
            return
        for slot, indices in self._live[host.name].items():
            idle = host.now - self._derived_at[host.name, slot] if indices else 0.0
            if idle <= ZERO_KEYS_AFTER:
                continue
            deadline = control.next_deadline()
            if deadline is None or deadline.at > host.now:
                self.fail(host, f"slot {slot} has keys, {idle:.3f} s after the last")

    def _check_age(self, host: "SimulatedHost", known: _Known, verb: str) -> None:
        age = host.now - known.session.born_at
        if age >= REJECT_AFTER_TIME:
            self.fail(host, f"data was {verb} under a key of {age:.3f} s")
