"""Ports are given out by the rule of the behaviour, until none is left."""

from random import Random

import pytest

from meshnode.simulation.nat_kinds import (
    FIRST_IN_SEQUENCE,
    FIRST_PORT,
    LAST_PORT,
    SEQUENCE,
    Allocation,
    NatBehaviour,
)
from meshnode.simulation.nat_ports import Ports
from meshnode.types import Endpoint

INNER, NEIGHBOUR = Endpoint("192.168.1.2", 5000), Endpoint("192.168.1.3", 5000)


def ports(allocation, *, block=0, seed=1):
    """Return the ports of a NAT."""
    return Ports(NatBehaviour(allocation=allocation, block=block), Random(seed))


@pytest.mark.parametrize("allocation", [Allocation.PRESERVING, Allocation.OVERLOADING])
def test_the_inner_port_is_kept_while_it_is_free(allocation):
    """Else it is any that is."""
    assert ports(allocation).choose(INNER, lambda port: True) == 5000
    other = ports(allocation).choose(INNER, lambda port: port != 5000)
    assert other != 5000
    assert FIRST_PORT <= other <= LAST_PORT


def test_a_sequence_goes_up_and_around():
    """What is taken is left out."""
    counting = ports(Allocation.SEQUENTIAL)
    drawn = [counting.choose(INNER, lambda port: True) for _ in range(SEQUENCE)]
    assert drawn == list(range(FIRST_IN_SEQUENCE, FIRST_IN_SEQUENCE + SEQUENCE))
    taken = {FIRST_IN_SEQUENCE, FIRST_IN_SEQUENCE + 1}
    again = counting.choose(INNER, lambda port: port not in taken)
    assert again == FIRST_IN_SEQUENCE + 2
    assert counting.choose(INNER, lambda port: False) is None


def test_random_ports_are_spread_and_seeded():
    """Over all of them, and the same for the same seed."""
    drawing = ports(Allocation.RANDOM)
    drawn = [drawing.choose(INNER, lambda port: True) for _ in range(1000)]
    assert min(drawn) < 2000
    assert max(drawn) > 64000
    again = ports(Allocation.RANDOM)
    assert drawn == [again.choose(INNER, lambda port: True) for _ in range(1000)]


def test_the_last_free_port_is_found():
    """However unlucky the draws are; then there is none."""
    assert ports(Allocation.RANDOM).choose(INNER, lambda port: port == 7777) == 7777
    assert ports(Allocation.RANDOM).choose(INNER, lambda port: False) is None


def test_each_inner_address_has_a_block_of_its_own():
    """Aligned to its size from the first port, and kept."""
    blocks = ports(Allocation.RANDOM, block=1024)

    def block(inner):
        drawn = {blocks.choose(inner, lambda port: True) for _ in range(200)}
        assert max(drawn) - min(drawn) < 1024
        return {(port - FIRST_PORT) // 1024 for port in drawn}

    mine, theirs = block(INNER), block(NEIGHBOUR)
    assert len(mine) == len(theirs) == 1
    assert mine != theirs
    assert block(INNER) == mine


def test_blocks_run_out():
    """A subscriber too many gets no port."""
    blocks = ports(Allocation.RANDOM, block=30_000)
    hosts = [Endpoint(f"100.64.0.{number}", 1) for number in range(3)]
    drawn = [blocks.choose(host, lambda port: True) for host in hosts]
    assert [port is None for port in drawn] == [False, False, True]
