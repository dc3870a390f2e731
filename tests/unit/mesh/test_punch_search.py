"""The pace and the order of a search."""

import random

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.punch_search import (
    FIRST_PORT,
    LAST_PORT,
    MAX_PROBES,
    Search,
    Shot,
    has_block,
    is_narrow,
    narrow_ports,
    ports_to_try,
)
from meshnode.types import Endpoint

PLACE = Endpoint("203.0.113.1", 7)
DEPENDENT = Mapping.ENDPOINT_DEPENDENT


def test_shots_leave_at_the_rate() -> None:
    """No more than that many a second, and in order."""
    for rate in (200.0, 1000.0):
        search = Search(begins_at=5.0, rate=rate, sockets=0)
        search.aim(Shot(PLACE, port) for port in range(500))
        left: list[int] = []
        times: list[float] = []
        assert search.take_due(4.9) == []
        while (at := search.next_at()) is not None:
            due = search.take_due(at)
            left += [shot.port for shot in due]
            times += [at] * len(due)
        assert left == list(range(500))
        assert times[0] == 5.0
        assert times[-1] >= 5.0 + 485 / rate
        assert times[-1] < 5.0 + 510 / rate


def test_who_opens_sockets_waits_for_them() -> None:
    """First they are asked for, then there is nothing to do until they are there."""
    search = Search(begins_at=5.0, rate=100.0, sockets=64)
    assert search.next_at() == 5.0
    search.has_asked = True
    assert search.next_at() is None
    search.aim(iter([Shot(PLACE, 1)]))
    assert search.next_at() == 5.0


def test_ports_are_tried_in_random_order_and_once(rng: random.Random) -> None:
    """Those of the block, else any, no more than the most."""
    block = ports_to_try(NatHint(DEPENDENT, 2000, 2999), rng.randbytes)
    assert sorted(block) == list(range(2000, 3000))
    assert block != sorted(block)
    wide = ports_to_try(NatHint(DEPENDENT, 2000, 5999), rng.randbytes)
    assert len(set(wide)) == len(wide) == MAX_PROBES
    assert all(2000 <= port < 6000 for port in wide)
    anywhere = ports_to_try(NatHint(DEPENDENT), rng.randbytes)
    assert len(set(anywhere)) == len(anywhere) == MAX_PROBES
    assert all(FIRST_PORT <= port <= LAST_PORT for port in anywhere)


def test_a_narrow_range_is_no_search() -> None:
    """Its ports are candidates, at the address where the member is seen."""
    narrow, wide = NatHint(DEPENDENT, 10, 29), NatHint(DEPENDENT, 10, 200)
    assert is_narrow(narrow)
    assert not is_narrow(wide)
    assert has_block(wide)
    assert not has_block(NatHint(DEPENDENT, 30, 20))
    ports = [endpoint.port for endpoint in narrow_ports(PLACE, narrow)]
    assert ports == list(range(10, 30))
    assert narrow_ports(PLACE, wide) == narrow_ports(None, narrow) == ()
