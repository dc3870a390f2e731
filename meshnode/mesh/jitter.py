"""Spread timers, so that nodes that started together do not stay in step."""

from meshnode.ports import Entropy


def spread(seconds: float, entropy: Entropy) -> float:
    """Return *seconds* times a random factor of 0.75 to 1.25."""
    draw = int.from_bytes(entropy(2), "little")
    return seconds * (0.75 + draw / 131070)
