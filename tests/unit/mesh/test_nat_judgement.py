"""What is said of a NAT by what others saw."""

import random
from collections.abc import Sequence

import pytest

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.nat_judgement import (
    AHEAD,
    ENOUGH_SAMPLES,
    SAMPLES,
    preserved,
)
from meshnode.mesh.nat_judgement import judge as judge_with
from meshnode.types import Endpoint

DEPENDENT = Mapping.ENDPOINT_DEPENDENT
PORT = 51820


def judge(seen: Sequence[Endpoint], samples: Sequence[Endpoint]) -> NatHint:
    """Judge what was seen of a socket of ours at `PORT`."""
    return judge_with(seen, samples, port=PORT)


def at(*ports: int) -> list[Endpoint]:
    """Return endpoints of one host."""
    return [Endpoint("203.0.113.1", port) for port in ports]


@pytest.mark.parametrize("seen", [(), (40000,)])
def test_one_witness_says_nothing(seen: tuple[int, ...]) -> None:
    """Two are needed."""
    assert judge(at(*seen), ()) == NatHint()


def test_one_endpoint_for_all_is_independent() -> None:
    """Whatever it is."""
    assert judge(at(9, 9, 9), at(5)) == NatHint(Mapping.ENDPOINT_INDEPENDENT)


def test_a_port_that_is_kept_for_two_is_kept() -> None:
    """Who sent to a NAT too early sees another; it is of no other kind for that."""
    for seen in (at(PORT, 1025, PORT), at(1025, PORT, PORT), at(PORT, PORT, 1025)):
        assert judge(seen, ()) == NatHint(Mapping.ENDPOINT_INDEPENDENT)
        assert preserved(seen, PORT) == at(PORT)[0]
    assert judge(at(PORT, 1025), ()).mapping is DEPENDENT
    assert judge(at(9, 9, 1025), ()).mapping is DEPENDENT
    assert preserved(at(PORT, 1025, 9), PORT) is None


def test_a_sequence_tells_the_next_ports() -> None:
    """Upwards or downwards, if two small steps go the same way."""
    assert judge(at(100, 101, 104), ()) == NatHint(DEPENDENT, 105, 104 + AHEAD)
    assert judge(at(100, 99, 90), ()) == NatHint(DEPENDENT, 70, 89)
    assert judge(at(100, 101), ()) == NatHint(DEPENDENT)
    assert judge(at(100, 101, 100), ()) == NatHint(DEPENDENT)
    assert judge(at(65533, 65534, 65535), ()) == NatHint(DEPENDENT, 65535, 65535)


def test_samples_tell_a_block_with_some_room(rng: random.Random) -> None:
    """12 % at each end; the true ends are within nearly always."""
    inside = 0
    for _ in range(200):
        samples = at(*rng.sample(range(20480, 21504), SAMPLES))
        hint = judge(at(20500, 21400, 20700), samples)
        assert hint.mapping is DEPENDENT
        ports = [sample.port for sample in samples]
        assert hint.first_port < min(ports)
        assert hint.last_port > max(ports)
        inside += hint.first_port <= 20490 and hint.last_port >= 21493
    assert inside > 120


def test_too_few_or_too_wide_samples_tell_nothing(rng: random.Random) -> None:
    """Their ends would be guesses, and a search among them no better than any."""
    few = at(*range(20000, 20000 + ENOUGH_SAMPLES - 1))
    assert judge(at(5000, 60000), few) == NatHint(DEPENDENT)
    wide = at(*rng.sample(range(1024, 65536), SAMPLES - 2), 1024, 65535)
    assert judge(at(5000, 60000), wide) == NatHint(DEPENDENT)
