"""Which relays are the best, by tables."""

import pytest

from meshnode.codec.records import RelayHint
from meshnode.mesh.relay_choice import nearest, rank_routes

A, B, C = b"a", b"b", b"c"


def hints(**milliseconds: int) -> tuple[RelayHint, ...]:
    """Return hints by name."""
    return tuple(RelayHint(k.encode(), trip) for k, trip in milliseconds.items())


@pytest.mark.parametrize(
    ("ours", "theirs", "burdens", "in_use", "best"),
    [
        ({A: 10, B: 20}, hints(a=10, b=20), {}, (), [(A,), (B,), (C,)]),
        ({A: 10, B: 20}, hints(a=30, b=5), {}, (), [(B,), (A,), (C,)]),
        # Nothing known of the member: the relay that is near to us.
        ({A: 90, B: 20}, (), {}, (), [(B,), (A,), (C,)]),
        # One that is busy, or did not answer, comes later.
        ({A: 10, B: 20}, hints(a=10, b=20), {A: 600}, (), [(B,), (C,), (A,)]),
        # One in use stays if the other is not clearly better.
        ({A: 10, B: 12}, hints(a=10, b=12), {}, ((B,),), [(B,), (A,), (C,)]),
        ({A: 10, B: 50}, hints(a=10, b=50), {}, ((B,),), [(A,), (B,), (C,)]),
        # No common one: two relays, before those that only one side is near to.
        ({A: 10}, hints(b=10), {}, (), [(A, B), (B,), (A,), (C,)]),
        ({A: 10}, hints(b=10), {B: 500}, (), [(A,), (C,), (A, B), (B,)]),
        # Who is no relay any more is not thought of.
        ({b"x": 1, A: 10}, hints(y=1, a=9), {}, (), [(A,), (B,), (C,)]),
    ],
)
def test_routes_are_ranked(
    ours: dict[bytes, float],
    theirs: tuple[RelayHint, ...],
    burdens: dict[bytes, float],
    in_use: tuple[tuple[bytes, ...], ...],
    best: list[tuple[bytes, ...]],
) -> None:
    """By round trips, burdens and what is in use."""
    routes = rank_routes(
        [A, B, C],
        ours=ours,
        theirs=theirs,
        between={},
        burdens=burdens,
        in_use=in_use,
    )
    assert [route.relays for route in routes] == best


def test_what_relays_say_of_each_other_counts() -> None:
    """Whichever of the two says it."""
    for between in ({A: hints(c=3)}, {C: hints(a=3)}):
        first, *_ = rank_routes(
            [A, B, C],
            ours={A: 10},
            theirs=hints(b=10, c=10),
            between=between,
            burdens={},
        )
        assert first.relays == (A, C)
        assert first.milliseconds == 23


def test_the_nearest_stay_until_others_are_clearly_nearer() -> None:
    """So that nobody moves for what measurements differ by."""
    trips = {A: 20.0, B: 18.0, C: 50.0}
    assert nearest(trips, (), 2) == (B, A)
    assert nearest(trips, (A,), 1) == (A,)
    assert nearest({**trips, B: 5.0}, (A,), 1) == (B,)
    assert nearest({}, (A,), 2) == ()
