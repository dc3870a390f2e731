"""One path and its probes: round trip, loss, life and death."""

import pytest

from meshnode.channels import endpoint_of
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_ways import (
    CANDIDATE_PAUSES,
    LOST_AFTER,
    MAX_RETRY,
    PROBES,
    RETRY,
    STEADY,
    Quality,
    Way,
    place_of,
)
from meshnode.types import Endpoint, Path, Source

HERE = Endpoint("192.0.2.1", 51820)


def test_round_trips_are_smoothed() -> None:
    """By an eighth of the difference."""
    quality = Quality()
    for nonce, seconds in ((b"1", 0.04), (b"2", 0.12)):
        quality.ask(nonce, now=10.0)
        assert quality.answer(nonce, now=10.0 + seconds)
    assert quality.seconds == pytest.approx(0.05)
    assert not quality.answer(b"1", now=11.0)
    assert not quality.answer(b"?", now=11.0)


def test_loss_is_that_of_the_last_probes() -> None:
    """A late answer is none any more."""
    quality = Quality()
    assert quality.loss == 0.0
    quality.ask(b"lost", now=0.0)
    assert quality.give_up(now=LOST_AFTER - 0.1) == 0
    assert quality.give_up(now=LOST_AFTER) == 1
    assert not quality.answer(b"lost", now=LOST_AFTER)
    assert quality.loss == 1.0
    for number in range(PROBES - 1):
        nonce = b"%d" % number
        quality.ask(nonce, now=2.0)
        quality.answer(nonce, now=2.1)
    assert quality.loss == pytest.approx(1 / PROBES)
    quality.ask(b"last", now=3.0)
    quality.answer(b"last", now=3.1)
    assert quality.loss == 0.0


def test_one_lost_probe_of_few_is_no_judgement() -> None:
    """And what was lost before the first answer is no loss of the path."""
    way = Way(Path(HERE), PathKind.DIRECT)
    way.quality.ask(b"early", now=0.0)
    way.quality.give_up(now=LOST_AFTER)
    way.prove(now=2.0)
    assert way.quality.loss == 0.0
    for number in range(2):
        way.quality.ask(b"%d" % number, now=2.0)
    way.quality.answer(b"0", now=2.1)
    way.quality.give_up(now=2.0 + LOST_AFTER)
    assert way.quality.loss == 0.5
    assert way.measured.loss == 1 / PROBES
    assert not way.measured.is_lossy


def test_a_candidate_is_one_until_it_was_asked_often_enough() -> None:
    """With growing pauses; a channel is none."""
    way = Way(Path(HERE), PathKind.DIRECT)
    pauses = []
    while way.is_candidate:
        way.asked += 1
        pauses.append(way.pause())
    assert tuple(pauses[:-1]) == CANDIDATE_PAUSES
    assert not way.is_alive
    assert not Way(Path(endpoint_of(1)), PathKind.RELAYED).is_candidate


def test_who_dies_soon_again_is_asked_less_often() -> None:
    """Until it has lived for a minute."""
    way = Way(Path(HERE), PathKind.DIRECT)
    now, retries = 0.0, []
    for lived in (STEADY, 1.0, 1.0, 1.0, STEADY):
        way.prove(now=now)
        assert way.is_alive
        now += lived
        way.die(now=now)
        assert not way.is_alive
        retries.append(way.retry)
    assert retries == [RETRY, 2 * RETRY, MAX_RETRY, MAX_RETRY, RETRY]
    assert way.next_at == now + RETRY


def test_paths_are_told_apart_by_remote_and_port() -> None:
    """The local address may be any."""
    assert place_of(Path(HERE)) == place_of(Path(HERE, Source("198.51.100.1", 2)))
    assert place_of(Path(HERE)) != place_of(Path(HERE, Source("198.51.100.1", 2, 7)))
