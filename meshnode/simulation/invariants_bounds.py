"""The rules about liveness and memory: I9 (timers) and I10 (bounds)."""

from typing import TYPE_CHECKING, Final

from meshnode.simulation import inside
from meshnode.simulation.invariants import Invariant
from meshnode.wireguard.constants import HANDSHAKE_QUEUE, MAX_STAGED_PACKETS
from meshnode.wireguard.limiter import DEFAULT_CAPACITY

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost

# Previous, current and next key pair, and the handshake under way.
_INDICES_PER_PEER: Final = 4


class ArmedTimers(Invariant):
    """Whoever has packets waiting for a peer also has a timer running for it."""

    rule = "I9: every tunnel with queued traffic has an armed timer"

    def settled(self, host: "SimulatedHost") -> None:
        """Check, unless messages are under way that will arm one."""
        control, workers = host.control, host.workers
        if control is None or workers is None or not workers.is_quiet:
            return
        waiting = inside.staged(workers)
        if not waiting or not inside.is_up(control) or host.is_programming:
            return
        for slot, count in waiting.items():
            if not inside.may_wait(workers, slot):
                continue
            if not inside.has_identity(control):
                continue
            if not inside.will_handshake(control, slot):
                name = host.name_of_slot(slot)
                self.fail(host, f"{count} packets wait for {name} and no timer runs")


class Bounds(Invariant):
    """Every queue and table stays within its bound."""

    rule = "I10: every queue and table is within its bound"

    def settled(self, host: "SimulatedHost") -> None:
        """Compare each with its bound."""
        if host.workers is not None:
            staged = max(inside.staged(host.workers).values(), default=0)
            self._check(host, "staged packets of one peer", staged, MAX_STAGED_PACKETS)
        control = host.control
        if control is None:
            return
        peers = len(inside.peers(control))
        self._check(host, "handshake queue", len(control.inbox), HANDSHAKE_QUEUE)
        self._check(
            host, "indices", inside.indices_in_use(control), _INDICES_PER_PEER * peers
        )
        self._check(host, "deadline heap", inside.heap_size(control), 65 + 5 * peers)
        self._check(host, "limiter", inside.limited_sources(control), DEFAULT_CAPACITY)

    def _check(self, host: "SimulatedHost", what: str, count: int, bound: int) -> None:
        if count > bound:
            self.fail(host, f"{what}: {count}, more than {bound}")
