"""The grid of NATs in simulation: each ordered pair of kinds, with real mesh nodes.

    cells = play_grid(seed=1)                    # all 121
    cells = play_grid(seed=1, kinds=CONES, loss=0.05)

One mesh settles once. Then come rounds: in each, every kind begins once and is reached
once, by members that are strangers to each other. The application of the one sends a
request each 50 ms; the meter looks on, at every step of both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from meshnode.channels import channel_of
from meshnode.codec.wireguard import message_type
from meshnode.simulation.application import parse_inner
from meshnode.simulation.grid_cells import KINDS, Cell, Way
from meshnode.simulation.grid_world import GridWorld
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind, Scope
from meshnode.simulation.trace import Flight
from meshnode.types import Endpoint

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost

REQUEST_EVERY: Final = 0.05
PATIENCE: Final = 8.0
"""Seconds a direct path may take: the longest search takes 6."""

STAYING: Final = 1.0
"""Seconds that all go on afterwards: who is direct has to stay so."""

_PROBE_TYPE: Final = 6

CONES: Final = tuple(
    kind
    for kind in KINDS
    if kind not in BEHAVIOURS
    or (
        BEHAVIOURS[kind].mapping is Scope.ENDPOINT_INDEPENDENT
        and not BEHAVIOURS[kind].blocks_udp
    )
)
"""The kinds without a side that gives each peer another port."""


@dataclass(slots=True)
class _Run:
    """One pair at work: what was seen of it so far."""

    kinds: tuple[NatKind, NatKind]
    names: tuple[str, str]
    began_at: float
    requests: dict[int, float] = field(default_factory=dict)
    first_byte: float | None = None
    answered: float | None = None
    direct: float | None = None
    round_trip: float | None = None
    probes: int = 0
    sockets: set[tuple[str, int]] = field(default_factory=set)


class Meter(Invariant):
    """Follows the pairs that are at work."""

    def __init__(self, world: GridWorld) -> None:
        super().__init__(world)
        self._grid = world
        self.runs: list[_Run] = []

    def emitted(self, host: "SimulatedHost", flight: Flight) -> None:
        """Count probes and the ports they leave from."""
        for run in self._of(host):
            run.sockets.add((host.name, flight.source.port))
            run.probes += message_type(flight.data) == _PROBE_TYPE

    def delivered(self, host: "SimulatedHost", packet: bytes) -> None:
        """Look for the first request, and for answers."""
        inner = parse_inner(packet)
        for run in self._of(host):
            after = self._world.now - run.began_at
            if inner.number in run.requests and run.first_byte is None:
                run.first_byte = after
            sent = run.requests.get(inner.answers)
            if sent is not None:
                run.round_trip = self._world.now - sent
                if run.answered is None:
                    run.answered = after

    def settled(self, host: "SimulatedHost") -> None:
        """Look whether the one that began has a direct path now."""
        for run in self._of(host):
            is_open = run.direct is None and run.names[0] == host.name
            if is_open and self.way_of(run) is Way.DIRECT:
                run.direct = self._world.now - run.began_at

    def way_of(self, run: _Run) -> Way:
        """Return how the one that began speaks to the other now."""
        one, other = (self._grid.homes[name] for name in run.names)
        life = one.life
        if one.node is None or life is None or not one.node.has_session(other.key):
            return Way.NONE
        way = way_by(life.tunnels.path_of(other.key))
        # Where UDP is blocked, it is TLS that leads to the relay.
        is_blocked = NatKind.BLOCKED in run.kinds
        return Way.TLS if is_blocked and way is not Way.NONE else way

    def _of(self, host: "SimulatedHost") -> list[_Run]:
        return [run for run in self.runs if host.name in run.names]


def way_by(endpoint: Endpoint | None) -> Way:
    """Return what a path to this endpoint is."""
    if endpoint is None:
        return Way.NONE
    return Way.RELAYED if channel_of(endpoint) else Way.DIRECT


def play_grid(
    seed: int | str,
    *,
    kinds: Sequence[NatKind] = KINDS,
    loss: float = 0.0,
    patience: float = PATIENCE,
) -> list[Cell]:
    """Play every ordered pair of *kinds* once, each pair of members meeting first.

    *loss* is the share of datagrams lost on each way. A round ends when all its pairs
    that can be direct are, at the latest after *patience* seconds.

    Raises:
        Violation: if a rule of the world breaks.
        LookupError: if there are not enough strangers: another seed has others.
    """
    world = GridWorld(seed, kinds, loss=loss)
    meter = Meter(world)
    world.watch.add(meter)
    met: set[frozenset[str]] = set()
    cells: dict[tuple[NatKind, NatKind], Cell] = {}
    for turn in range(len(kinds)):
        pairs = [
            (one, kinds[(place + turn) % len(kinds)]) for place, one in enumerate(kinds)
        ]
        for cell in _play_round(world, meter, pairs, met, patience):
            cells[cell.initiator, cell.responder] = cell
    return [cells[one, other] for one in kinds for other in kinds]


def _play_round(
    world: GridWorld,
    meter: Meter,
    pairs: Iterable[tuple[NatKind, NatKind]],
    met: set[frozenset[str]],
    patience: float,
) -> list[Cell]:
    busy: set[str] = set()
    for kinds in pairs:
        names = _strangers(world, kinds, met, busy)
        met.add(frozenset(names))
        busy.update(names)
        meter.runs.append(_Run(kinds, names, world.now))
    for run in meter.runs:
        _send(world, meter, run)
    wanted = [run for run in meter.runs if _cell(run, Way.NONE).can_be_direct]
    end = world.now + patience
    while world.now < end and any(run.direct is None for run in wanted):
        world.run(REQUEST_EVERY)
    world.run(STAYING)
    runs, meter.runs = meter.runs, []
    return [_cell(run, meter.way_of(run)) for run in runs]


def _strangers(
    world: GridWorld,
    kinds: tuple[NatKind, NatKind],
    met: set[frozenset[str]],
    busy: set[str],
) -> tuple[str, str]:
    """Choose two members behind such NATs, of those that do least in this round."""
    found = [
        (one, other)
        for one in world.behind[kinds[0]]
        for other in world.behind[kinds[1]]
        if one != other and frozenset((one, other)) not in met
        if world.are_strangers(one, other)
    ]
    if not found:
        kinds_text = " and ".join(kind.value for kind in kinds)
        raise LookupError(f"no two members behind {kinds_text} are strangers")
    return min(found, key=lambda names: len(busy.intersection(names)))


def _send(world: GridWorld, meter: Meter, run: _Run) -> None:
    """Send a request now and again, as long as the round lasts."""
    if run not in meter.runs:
        return
    sent_at = world.now
    number = world.send(*run.names)
    if number is not None:
        run.requests[number] = sent_at
    world.after(REQUEST_EVERY, lambda: _send(world, meter, run))


def _cell(run: _Run, way: Way) -> Cell:
    return Cell(
        *run.kinds,
        way=way if run.answered is not None else Way.NONE,
        first_byte=run.first_byte,
        answered=run.answered,
        direct=run.direct,
        round_trip=run.round_trip,
        probes=run.probes,
        sockets=len(run.sockets),
    )
