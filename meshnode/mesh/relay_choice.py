"""By which relays to go to a member: a pure function of what is known of them.

A route is judged by the sum of its round trips, from us to its first relay, between
relays, and from the last one to the member, and by what speaks against a relay. What
is not known is assumed to be long. A route that is in use is only left for one that is
better by more than measurements differ by.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from meshnode.codec.records import RelayHint
from meshnode.values import frozen

UNKNOWN: Final = 150
"""Milliseconds assumed of a round trip that nobody has measured."""

FAR: Final = 400
"""The same for a relay that the member does not name among those near to it."""

BETWEEN: Final = 100
"""The same between two relays."""

FACTOR: Final = 0.8
MARGIN: Final = 5
"""Another route must have at most that share, less so many milliseconds."""


@frozen
class Route:
    """Relays on the way to a member, the one next to us first, and the whole trip."""

    relays: tuple[bytes, ...]
    milliseconds: float


def rank_routes(
    relays: Iterable[bytes],
    *,
    ours: Mapping[bytes, float],
    theirs: Iterable[RelayHint],
    between: Mapping[bytes, Iterable[RelayHint]],
    burdens: Mapping[bytes, float],
    in_use: Iterable[tuple[bytes, ...]] = (),
) -> tuple[Route, ...]:
    """Return the routes by these *relays*, the best first.

    Args:
        relays: who may be asked at all.
        ours: milliseconds from us to those that were measured.
        theirs: what the member says of relays near to it.
        between: what relays say of relays near to them.
        burdens: milliseconds to add for a relay that is busy or did not answer.
        in_use: routes that are used now.

    Two relays are only thought of where no one relay is known to be near to both.
    """
    allowed = dict.fromkeys(relays)
    near = {hint.key: float(hint.milliseconds) for hint in theirs}
    far = FAR if near else UNKNOWN
    routes = [
        Route((key,), ours.get(key, UNKNOWN) + near.get(key, far)) for key in allowed
    ]
    if not any(key in ours and key in near and key in allowed for key in near):
        routes += [
            Route((first, last), ours[first] + _gap(first, last, between) + near[last])
            for first in ours
            for last in near
            if first != last and first in allowed and last in allowed
        ]
    kept = set(in_use)

    def cost(route: Route) -> tuple[float, tuple[bytes, ...]]:
        whole = route.milliseconds + sum(burdens.get(key, 0) for key in route.relays)
        if route.relays in kept:
            whole = whole * FACTOR - MARGIN
        return whole, route.relays

    return tuple(sorted(routes, key=cost))


def nearest(
    measured: Mapping[bytes, float], before: Iterable[bytes], count: int
) -> tuple[bytes, ...]:
    """Return the *count* relays with the shortest round trips, in milliseconds.

    Those that were chosen *before* stay as long as they are not clearly worse.
    """
    kept = set(before)

    def cost(key: bytes) -> tuple[float, bytes]:
        trip = measured[key]
        return (trip * FACTOR - MARGIN if key in kept else trip), key

    return tuple(sorted(measured, key=cost)[:count])


def _gap(
    one: bytes, other: bytes, between: Mapping[bytes, Iterable[RelayHint]]
) -> float:
    for first, second in ((one, other), (other, one)):
        for hint in between.get(first, ()):
            if hint.key == second:
                return hint.milliseconds
    return BETWEEN
