"""The one place that looks inside the engine and the data plane, for the invariants.

Production code offers no such view: nothing but a test has a use for it.
"""

from typing import TYPE_CHECKING

from meshnode.wireguard.peer import Peer
from meshnode.wireguard.timers import Timer

if TYPE_CHECKING:
    from meshnode.simulation.control import Control
    from meshnode.simulation.workers import Workers


def peers(control: "Control") -> dict[int, Peer]:
    """Return the engine's peers by slot."""
    return control.engine._configuration.peers


def will_handshake(control: "Control", slot: int) -> bool:
    """Whether a timer of the peer runs that leads to a handshake."""
    peer = peers(control).get(slot)
    if peer is None:
        return True
    traffic = control.engine._shared.traffic.read(slot)
    leading = (
        Timer.RETRANSMIT_HANDSHAKE,
        Timer.NEW_HANDSHAKE,
        Timer.PERSISTENT_KEEPALIVE,
    )
    return any(
        at is not None
        for timer, at in peer._timers._expiries(traffic)
        if timer in leading
    )


def is_up(control: "Control") -> bool:
    """Whether the engine's link is up."""
    return control.engine._shared.up


def has_identity(control: "Control") -> bool:
    """Whether the engine has a private key."""
    return control.engine._shared.identity is not None


def indices_in_use(control: "Control") -> int:
    """Return how many local indices stand for something."""
    return len(control.engine._shared.indices)


def limited_sources(control: "Control") -> int:
    """Return how many sources the rate limiter remembers."""
    return len(control.engine._limiter)


def heap_size(control: "Control") -> int:
    """Return the length of the deadline heap, superseded entries included."""
    return len(control.engine._deadlines._heap)


def staged(workers: "Workers") -> dict[int, int]:
    """Return how many packets wait at egress, by slot; only where any do."""
    if workers.seal is None:
        return {}
    peers_there = workers.seal._table.peers
    return {slot: len(peer.staged) for slot, peer in peers_there.items() if peer.staged}


def held_sessions(workers: "Workers") -> int:
    """Return how many sessions the workers hold, the greater number of both."""
    halves = [half for half in (workers.seal, workers.open) if half is not None]
    return max((len(half._table.sessions) for half in halves), default=0)


def may_wait(workers: "Workers", slot: int) -> bool:
    """Whether egress keeps packets for *slot*: it has an endpoint, or is sought."""
    if workers.seal is None:
        return False
    peer = workers.seal._table.peers.get(slot)
    return peer is not None and (peer.path is not None or peer.is_sought)
