"""What the NAT before us does, judged from how others saw datagrams of ours."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from meshnode.codec.records import Mapping, NatHint
from meshnode.types import Endpoint

SAMPLES: Final = 16
"""Sockets whose outer ports tell a block."""

ENOUGH_SAMPLES: Final = 12
"""Answers below which nothing is said of a block: its ends would be guesses."""

MAX_BLOCK: Final = 4096
"""Ports of a range that is worth a search; ports spread wider are in no block."""

AHEAD: Final = 20
"""Ports of a sequence that are predicted."""

_STEP: Final = 16
_PAD: Final = 0.12
_LAST_PORT: Final = 65535


def judge(
    seen: Sequence[Endpoint], samples: Sequence[Endpoint], *, port: int
) -> NatHint:
    """Return the hint for others.

    Args:
        seen: our own socket as different endpoints saw it, in order of time.
        samples: `SAMPLES` other sockets as one endpoint saw them, in order of time, if
            they were asked.
        port: our own.
    """
    if len(seen) < 2:
        return NatHint()
    if len(set(seen)) == 1 or preserved(seen, port) is not None:
        return NatHint(Mapping.ENDPOINT_INDEPENDENT)
    # Our own socket's mappings may be old, and not made in the order of asking.
    first, last = _sequence(seen) or _range(samples) or (0, 0)
    return NatHint(Mapping.ENDPOINT_DEPENDENT, first, last)


def preserved(seen: Sequence[Endpoint], port: int) -> Endpoint | None:
    """Return our outer endpoint if the NAT keeps our own *port* for us, else None.

    Two must have seen it, which is no chance. Who saw another had sent us something too
    early: to such a sender many NATs answer from another port, and to nobody else.
    """
    kept = [one for one in seen if one.port == port]
    return kept[-1] if len(kept) > 1 else None


def _sequence(seen: Sequence[Endpoint]) -> tuple[int, int] | None:
    """Return the next ports of a NAT that counts; two steps must say that it does."""
    steps = [after.port - before.port for before, after in pairwise(seen)]
    if len(steps) < 2:
        return None
    if all(0 < step <= _STEP for step in steps):
        return next_ports(seen[-1].port, is_rising=True)
    if all(-_STEP <= step < 0 for step in steps):
        return next_ports(seen[-1].port, is_rising=False)
    return None


def next_ports(last: int, *, is_rising: bool) -> tuple[int, int]:
    """Return the first and the last of the ports that follow *last* in a sequence."""
    if is_rising:
        return min(last + 1, _LAST_PORT), min(last + AHEAD, _LAST_PORT)
    return max(last - AHEAD, 1), max(last - 1, 1)


def _range(samples: Sequence[Endpoint]) -> tuple[int, int] | None:
    if len(samples) < ENOUGH_SAMPLES:
        return None
    return _sequence(samples) or _block([sample.port for sample in samples])


def _block(ports: Sequence[int]) -> tuple[int, int] | None:
    low, high = min(ports), max(ports)
    if high - low >= MAX_BLOCK:
        return None
    pad = round(_PAD * (high - low + 1))
    return max(low - pad, 1), min(high + pad, _LAST_PORT)
