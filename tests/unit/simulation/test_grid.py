"""How the grid is played: the meter's facts, and the rounds."""

import pytest

from meshnode.channels import endpoint_of
from meshnode.simulation import grid
from meshnode.simulation.grid import CONES, play_grid, way_by
from meshnode.simulation.grid_cells import Way
from meshnode.simulation.nat_kinds import NatKind
from meshnode.types import Endpoint

KINDS = (NatKind.OPEN, NatKind.FULL_CONE)


def test_a_path_says_what_it_is():
    """By a channel it is relayed."""
    assert way_by(None) is Way.NONE
    assert way_by(endpoint_of(7)) is Way.RELAYED
    assert way_by(Endpoint("198.18.0.1", 51820)) is Way.DIRECT


def test_cones_give_all_peers_one_port():
    """Five of them, and who has no NAT."""
    assert len(CONES) == 6
    assert NatKind.OPEN in CONES
    assert NatKind.MASQUERADE in CONES
    assert NatKind.BLOCKED not in CONES


def test_all_ordered_pairs_are_played(monkeypatch):
    """In the order of rows; what needs no punching is direct."""
    monkeypatch.setattr(grid, "STAYING", 0.3)
    cells = play_grid(1, kinds=KINDS, patience=3.0)
    pairs = [(cell.initiator, cell.responder) for cell in cells]
    assert pairs == [(one, other) for one in KINDS for other in KINDS]
    for cell in cells:
        assert cell.way is Way.DIRECT
        assert cell.first_byte is not None
        assert cell.answered is not None
        assert cell.direct is not None
        assert 0.0 < cell.first_byte < cell.answered < 1.0
        assert cell.round_trip == pytest.approx(0.04)
        assert cell.sockets >= 2


def test_without_strangers_nothing_can_be_measured(monkeypatch):
    """Who knows each other already does not meet."""
    monkeypatch.setattr(grid.GridWorld, "are_strangers", lambda *names: False)
    monkeypatch.setattr("meshnode.simulation.grid_world.SETTLING", 0.0)
    with pytest.raises(LookupError, match="open and open"):
        play_grid(1, kinds=(NatKind.OPEN,))
