"""What comes through as ever more is offered: a row's peak, and the curve around it."""

from collections.abc import Callable

from topology.bench.columns import UNLIMITED
from topology.bench.results import Round
from topology.iperf import Datagrams

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)

_START = 5_000.0

_GROWTH = 1.1
"""How many times more must come through for a doubled rate to be doubled again."""

Send = Callable[[float], Datagrams]
"""Offers so many datagrams a second, 0 for as many as can be sent."""


def find_peak(send: Send) -> float:
    """Return about the most datagrams a second that are received at any rate.

    The rate is doubled as long as clearly more comes through.
    """
    best, rate = 0.0, _START
    while (received := send(rate).received) > _GROWTH * best:
        best = received
        rate *= 2
    return max(best, received)


def curve(send: Send, peak: float) -> Round:
    """Offer the `FACTORS` of *peak*, and then without a limit."""
    figures = {}
    for factor in (*FACTORS, 0.0):
        result = send(factor * peak)
        x = f"{factor:g}" if factor else UNLIMITED
        figures[f"overload.offered.{x}"] = result.offered
        figures[f"overload.received.{x}"] = result.received
    return Round(figures)
