"""The network of the real grid: who is behind what, and who plays when."""

from itertools import chain

import pytest

from meshnode.simulation.grid_cells import KINDS, parse_pairs
from meshnode.simulation.nat_kinds import NatKind
from topology.nat_grid_plan import HUBS, blocked_boxes, describe, hosts_of, rounds


def test_all_kinds_fit_into_one_network():
    """Each host but the open ones has a router of its own, with that kind of NAT."""
    hosts = hosts_of(KINDS, 3)
    description = describe(hosts)
    assert description.founder is not None
    assert description.founder.name == HUBS[0]
    for kind, names in hosts.items():
        assert len(names) == 3
        for name in names:
            node = description.node(name)
            if kind is NatKind.OPEN:
                assert not node.gateway
                continue
            nat = description.node(node.gateway).nat
            assert nat is not None
            wanted = NatKind.PORT_RESTRICTED if kind is NatKind.BLOCKED else kind
            assert nat.kind is wanted


def test_who_is_blocked_is_enrolled_first():
    """The routers are named that block UDP afterwards."""
    hosts = hosts_of((NatKind.BLOCKED, NatKind.OPEN), 2)
    boxes = blocked_boxes(describe(hosts), hosts)
    assert [box.name for box in boxes] == ["box-blocked-1", "box-blocked-2"]
    assert all(box.nat and box.nat.kind is NatKind.BLOCKED for box in boxes)
    assert blocked_boxes(describe(hosts_of(KINDS[:1], 1)), {}) == []


@pytest.mark.parametrize("at_once", [1, 4, 11])
def test_no_round_lets_a_kind_do_two_things_at_once(at_once):
    """All pairs are played once."""
    pairs = parse_pairs("")
    split = rounds(pairs, at_once)
    assert sorted(map(str, chain(*split))) == sorted(map(str, pairs))
    for some in split:
        assert 0 < len(some) <= at_once
        assert len({one for one, _ in some}) == len(some)
        assert len({other for _, other in some}) == len(some)
