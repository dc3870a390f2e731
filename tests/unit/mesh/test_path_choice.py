"""Which path is taken: a table, and no alternating whatever the noise."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.mesh.path_choice import (
    DWELL,
    LOSSY,
    Chooser,
    Measured,
    PathKind,
    is_better_class,
    is_cheaper,
)
from meshnode.types import Endpoint, Path

A, B, C = (Path(Endpoint(f"192.0.2.{n}", 51820)) for n in (1, 2, 3))
LAN, DIRECT, TLS, RELAYED = PathKind


def direct(seconds: float | None = 0.04, loss: float = 0.0) -> Measured:
    """Return a direct path."""
    return Measured(DIRECT, seconds, loss)


def relayed(seconds: float | None = 0.08, loss: float = 0.0, hops: int = 1) -> Measured:
    """Return one by relays."""
    return Measured(RELAYED, seconds, loss, hops)


def test_the_cost_is_the_round_trip_with_loss_and_extra_hops() -> None:
    """Hops beyond the first."""
    assert direct(0.04).cost == pytest.approx(0.04)
    assert direct(0.04, 0.25).cost == pytest.approx(0.12)
    assert relayed(0.08, hops=3).cost == pytest.approx(0.088)
    assert relayed(None).cost == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("present", "other", "changes"),
    [
        pytest.param(relayed(0.08), direct(0.04), True, id="direct over relayed"),
        pytest.param(relayed(0.03), direct(0.2), True, id="direct, slower as it is"),
        pytest.param(relayed(0.04), direct(0.04), True, id="direct in a tie"),
        pytest.param(relayed(0.08), direct(None), True, id="direct, not measured"),
        pytest.param(direct(0.04), Measured(LAN, 0.04), True, id="the same link"),
        pytest.param(direct(0.2), relayed(0.02), False, id="not back to a relay"),
        pytest.param(direct(0.2, LOSSY), relayed(0.02), False, id="nor for some loss"),
        pytest.param(direct(0.2, 0.2), relayed(0.02), True, id="for more loss"),
        pytest.param(direct(0.04, 0.1), relayed(0.08), False, id="unless it is slower"),
        pytest.param(relayed(0.08), relayed(0.07), False, id="not a fifth less"),
        pytest.param(relayed(0.010), relayed(0.006), False, id="not 5 ms less"),
        pytest.param(relayed(0.08), relayed(0.06), True, id="a cheaper relay"),
        pytest.param(relayed(0.08), relayed(0.062, hops=3), False, id="two hops more"),
        pytest.param(Measured(TLS, 0.08), relayed(0.06), True, id="a relay over TLS"),
        pytest.param(relayed(0.08), direct(0.04, 0.5), False, id="a lossy direct one"),
    ],
)
def test_what_is_taken_in_the_long_run(
    present: Measured, other: Measured, changes: bool
) -> None:
    """After a hundred probes."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    for second in range(100):
        chooser.choose({A: present, B: other}, now=float(second))
    assert chooser.path == (B if changes else A)


def test_a_better_class_is_taken_at_once() -> None:
    """Nothing is waited for."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    assert chooser.choose({A: relayed(), B: direct()}, now=0.1) == B
    assert chooser.since == 0.1


def test_a_cheaper_one_only_after_three_probes_and_half_a_minute() -> None:
    """In a row."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    alive = {A: relayed(0.1), B: relayed(0.04)}
    assert chooser.choose(alive, now=1.0) == A
    assert chooser.choose(alive, now=DWELL + 1) == A
    assert chooser.choose({A: relayed(0.1), B: relayed(0.09)}, now=DWELL + 2) == A
    assert [chooser.choose(alive, now=DWELL + n) for n in (3, 4, 5)] == [A, A, B]


def test_from_a_dead_one_the_best_is_taken_at_once() -> None:
    """If nothing lives, nothing changes."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    assert chooser.choose({B: relayed(0.09), C: relayed(0.03)}, now=0.1) == C
    assert chooser.choose({}, now=0.2) == C


def test_what_was_left_for_its_loss_is_taken_again_after_half_a_minute() -> None:
    """Else its loss could make it alternate."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    for second in (31, 32, 33):
        chooser.choose({A: direct(loss=0.5), B: relayed()}, now=float(second))
    assert chooser.path == B
    healed = {A: direct(), B: relayed()}
    assert chooser.choose(healed, now=34.0) == B
    assert chooser.choose(healed, now=33.0 + DWELL + 0.1) == A


def test_direct_is_taken_at_once_though_one_relay_was_just_left_for_another() -> None:
    """Nothing spoke against a direct path then."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    alive = {A: relayed(0.18), B: relayed(0.12)}
    for second in range(3):
        chooser.choose(alive, now=DWELL + 1 + second)
    assert chooser.path == B
    assert chooser.choose({**alive, C: direct(0.2)}, now=DWELL + 4) == C


def test_what_died_is_taken_again_as_soon_as_it_lives() -> None:
    """It was not left by choice."""
    chooser = Chooser()
    chooser.use(A, now=0.0)
    chooser.choose({B: relayed()}, now=1.0)
    assert chooser.choose({A: direct(), B: relayed()}, now=1.5) == A


_measured = st.builds(
    Measured,
    st.sampled_from(PathKind),
    st.one_of(st.none(), st.floats(0.0, 2.0)),
    st.floats(0.0, 1.0),
    st.integers(0, 3),
)


@given(_measured, _measured)
def test_of_two_never_each_is_better(one: Measured, other: Measured) -> None:
    """Neither by cost nor by class."""
    assert not (is_cheaper(one, other) and is_cheaper(other, one))
    assert not (is_better_class(one, other) and is_better_class(other, one))


@given(st.integers(0, 2**32), st.lists(_measured, min_size=2, max_size=4))
def test_no_noise_makes_paths_alternate(seed: int, true: list[Measured]) -> None:
    """Round trips up to a tenth off and no loss: once for the class, once for cost."""
    rng = random.Random(seed)
    chooser = Chooser()
    paths = [Path(Endpoint("192.0.2.1", 1 + n)) for n in range(len(true))]
    chooser.use(rng.choice(paths), now=0.0)
    changes = 0
    for second in range(1, 600):
        alive = {}
        for path, one in zip(paths, true, strict=True):
            seconds = (one.seconds or 0.05) * rng.uniform(0.9, 1.1)
            alive[path] = Measured(one.kind, seconds, 0.0, one.hops)
        before = chooser.path
        changes += chooser.choose(alive, now=float(second)) != before
    assert changes <= len(true)


@given(st.integers(0, 2**32), st.integers(2, 4))
def test_whatever_is_measured_paths_change_twice_a_minute_at_most(
    seed: int, count: int
) -> None:
    """Loss and round trips are arbitrary."""
    rng = random.Random(seed)
    chooser = Chooser()
    paths = [Path(Endpoint("192.0.2.1", 1 + n)) for n in range(count)]
    kinds = [rng.choice(list(PathKind)) for _ in paths]
    chooser.use(paths[0], now=0.0)
    changes = 0
    for second in range(1, 600):
        alive = {
            path: Measured(kind, rng.uniform(0.001, 1.0), rng.random() ** 4)
            for path, kind in zip(paths, kinds, strict=True)
        }
        before = chooser.path
        changes += chooser.choose(alive, now=float(second)) != before
    # Besides those, from one class to a better one at once.
    assert changes <= 2 * (600 / DWELL + 1) + 2
