"""Real nodes behind NATs: a dozen pairs that stand for the grid of 121.

`tools/nat-grid` plays all of it. Here are pairs for each way of getting together: one
side lets everybody in, both send at once, the first datagram must die early, a port is
foreseen, searched in a block, or among all; and those that only a relay joins.
"""

from collections.abc import Iterator

import pytest

from meshnode.simulation.grid_cells import Cell, Way, parse_pairs
from meshnode.simulation.nat_kinds import NatKind
from topology.hosts import Lab
from topology.nat_grid import Grid, running
from topology.nat_grid_plan import hosts_of, rounds

pytestmark = pytest.mark.root

PAIRS = parse_pairs(
    "open,fullcone;apdf,apdf;apdf,apdf-acc;apdf-acc,apdf;adf,sym;apdf,sym-seq;"
    "sym-blk,apdf;apdf-acc,sym-blk;sym,apdf;sym,sym-blk;blocked,apdf;open,blocked"
)
SEARCHED = {
    NatKind.SYMMETRIC_SEQUENTIAL,
    NatKind.SYMMETRIC_BLOCK,
    NatKind.SYMMETRIC,
}
AT_ONCE = 6
OF_A_KIND = 2
ANSWERED_WITHIN = 5.0
"""Seconds to the first answer, on a machine that does much else."""


@pytest.fixture(scope="module")
def grid() -> Iterator[Grid]:
    """A mesh of hosts behind all the NATs that the pairs need."""
    kinds = dict.fromkeys(kind for pair in PAIRS for kind in pair)
    with Lab() as lab, running(lab, hosts_of(kinds, OF_A_KIND)) as made:
        yield made


@pytest.mark.timeout(300)
def test_every_pair_gets_together_as_its_nats_allow(grid: Grid) -> None:
    """Connected at once, and directly, by a relay, or by TLS, as the oracle says."""
    cells = [cell for some in rounds(PAIRS, AT_ONCE) for cell in grid.play(some)]
    assert len(cells) == len(PAIRS)
    missed = [(c.initiator, c.responder) for c in cells if _may_miss(c)]
    cells = [cell for cell in cells if not _may_miss(cell)]
    for some in rounds(missed, AT_ONCE):
        cells += grid.play(some)
    wrong = [f"{_wanted(cell)}: {cell}" for cell in cells if not _is_right(cell)]
    assert not wrong, "\n".join(wrong + grid.explained)


def _wanted(cell: Cell) -> Way:
    if cell.can_be_direct:
        return Way.DIRECT
    is_blocked = NatKind.BLOCKED in (cell.initiator, cell.responder)
    return Way.TLS if is_blocked else Way.RELAYED


def _may_miss(cell: Cell) -> bool:
    """Whether this is a port that was searched for in vain, as a few per cent are.

    Then two other hosts of the kinds try. How few these are is for the simulations.
    """
    kinds = {cell.initiator, cell.responder}
    return cell.way is Way.RELAYED and cell.can_be_direct and bool(kinds & SEARCHED)


def _is_right(cell: Cell) -> bool:
    if cell.answered is None or cell.answered > ANSWERED_WITHIN:
        return False
    return cell.way is _wanted(cell)
