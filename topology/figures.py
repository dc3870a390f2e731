"""Figures of several programs, and the table that shows them side by side."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """All values of one program, by the name of what was measured, in order."""

    program: str
    values: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, *values: float) -> None:
        """Keep *values* of *name*, which ends in its unit."""
        self.values.setdefault(name, []).extend(values)


def table(figures: Sequence[Figures]) -> str:
    """Return the table: a line for each thing measured, a column for each program."""
    names = list(dict.fromkeys(name for one in figures for name in one.values))
    width = max(map(len, names), default=0)
    head = " " * width + "".join(f"  {one.program:>26}" for one in figures)
    lines = [
        name.ljust(width)
        + "".join(f"  {summary(one.values.get(name, [])):>26}" for one in figures)
        for name in names
    ]
    return "\n".join([head, *lines])


def summary(values: Sequence[float]) -> str:
    """Return the median of *values* with the least and the greatest."""
    if not values:
        return "–"
    least, median, most = min(values), statistics.median(values), max(values)
    return f"{_number(median)} ({_number(least)}–{_number(most)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
