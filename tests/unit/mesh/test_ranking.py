"""Ranking: the same for all, even, and stable when servers come and go."""

import random
from collections import Counter

from meshnode.mesh.ranking import rank_by_hash


def test_the_order_does_not_depend_on_who_asks_how(rng: random.Random) -> None:
    """However the servers are listed, all rank them alike."""
    subject = rng.randbytes(32)
    servers = [rng.randbytes(32) for _ in range(20)]
    ranked = rank_by_hash(subject, servers)
    assert sorted(ranked) == sorted(servers)
    rng.shuffle(servers)
    assert rank_by_hash(subject, iter(servers)) == ranked


def test_a_server_that_goes_moves_nobody_else(rng: random.Random) -> None:
    """Without one server, the rest stand in the same order."""
    subject = rng.randbytes(32)
    servers = [rng.randbytes(32) for _ in range(20)]
    ranked = rank_by_hash(subject, servers)
    gone = ranked.pop(2)
    servers.remove(gone)
    assert rank_by_hash(subject, servers) == ranked


def test_the_load_is_spread(rng: random.Random) -> None:
    """Each of five servers is first for about a fifth of the keys."""
    servers = [rng.randbytes(32) for _ in range(5)]
    first = Counter(rank_by_hash(rng.randbytes(32), servers)[0] for _ in range(2000))
    assert len(first) == 5
    assert min(first.values()) > 250
