"""The grid of NATs, 11 × 11: who connects, how, and how soon."""

import pytest

from meshnode.simulation.grid import CONES, play_grid
from meshnode.simulation.grid_cells import Cell, Way, as_text, direct_share
from meshnode.simulation.grid_world import RELAY_ONE_WAY
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind, Scope

SEED = 1
RELAY_ROUND_TRIP = 2 * RELAY_ONE_WAY

FIRST_BYTE = 1.5 * RELAY_ROUND_TRIP + 0.05
"""Seconds to the first byte. No record is cached, yet nobody waits for a lookup."""

CONE_WITHIN = RELAY_ROUND_TRIP + 0.15
"""Seconds to a direct path without an endpoint-dependent side. The members never met:
the handshake by the relay comes first."""

BLOCKED_WITHIN = 5.0
SEARCH_WITHIN = 6.5
"""Seconds that a search for a port may take, at the pace that is safe in the field."""

LOSSY_CONE_WITHIN = 0.75 + RELAY_ROUND_TRIP


def _is_symmetric(kind: NatKind) -> bool:
    behaviour = BEHAVIOURS.get(kind)
    return behaviour is not None and behaviour.mapping is not Scope.ENDPOINT_INDEPENDENT


def _name(cell: Cell) -> str:
    return f"{cell.initiator.value} → {cell.responder.value}: {cell}"


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Every ordered pair, played once."""
    return play_grid(SEED)


@pytest.mark.timeout(600)
def test_everybody_reaches_everybody(cells):
    """All 121 pairs, whatever is between them."""
    lost = [_name(cell) for cell in cells if not cell.is_connected]
    assert len(cells) == 121
    assert not lost, "\n".join(lost)


def test_who_can_be_direct_is(cells):
    """Exactly those of whom the oracle says so: 84."""
    wrong = [
        _name(cell) for cell in cells if (cell.way is Way.DIRECT) != cell.can_be_direct
    ]
    assert not wrong, "\n".join([*wrong, as_text(cells)])
    assert sum(cell.way is Way.DIRECT for cell in cells) == 84


def test_the_rest_is_relayed_by_tls_only_where_udp_is_blocked(cells):
    """On either side."""
    for cell in cells:
        is_blocked = NatKind.BLOCKED in (cell.initiator, cell.responder)
        if not cell.can_be_direct:
            assert cell.way is (Way.TLS if is_blocked else Way.RELAYED), _name(cell)


def test_the_first_byte_does_not_wait_for_a_path(cells):
    """It goes by a relay at once; where UDP is blocked, TLS is there already."""
    late = [
        _name(cell)
        for cell in cells
        if cell.first_byte is None or cell.first_byte > FIRST_BYTE
    ]
    assert not late, "\n".join(late)


def test_cones_are_direct_at_once(cells):
    """Poisonable ones, too."""
    late = [
        _name(cell)
        for cell in cells
        if cell.initiator in CONES
        and cell.responder in CONES
        and (cell.direct is None or cell.direct > CONE_WITHIN)
    ]
    assert not late, "\n".join(late)


def test_searches_keep_within_their_bounds(cells):
    """256 sockets and 1,024 probes, beside what opens and what answers.

    The node's own sockets come to that, and those that earlier searches won.
    """
    for cell in cells:
        if cell.can_be_direct and (
            _is_symmetric(cell.initiator) or _is_symmetric(cell.responder)
        ):
            assert cell.direct is not None, _name(cell)
            assert cell.direct < SEARCH_WITHIN, _name(cell)
            assert cell.probes < 1024 + 256 + 256, _name(cell)
            assert cell.sockets <= 256 + 2 + 6, _name(cell)


def test_the_field_is_mostly_direct(cells):
    """With the shares that kinds have among members, as assumed."""
    assert direct_share(cells, with_udp=True) >= 0.98
    assert direct_share(cells, with_udp=False) >= 0.92


@pytest.mark.timeout(600)
def test_losses_cost_little():
    """5 % on each way: all pairs without a search but one are within the bound."""
    cells = play_grid(SEED, kinds=CONES, loss=0.05)
    times = sorted(
        float("inf") if cell.direct is None else cell.direct for cell in cells
    )
    assert len(times) == 36
    assert all(cell.is_connected for cell in cells)
    assert times[-2] < LOSSY_CONE_WITHIN, times[-5:]


def test_the_same_seed_gives_the_same_cells():
    """To the microsecond."""
    kinds = (NatKind.FULL_CONE, NatKind.SYMMETRIC_BLOCK)
    assert play_grid(2, kinds=kinds) == play_grid(2, kinds=kinds)
