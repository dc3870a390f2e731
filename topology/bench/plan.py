"""What a benchmark is going to measure, and about how long that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from topology.bench.rows import ROWS
from topology.bench.sections import JOINED, LONE, Settings

SET_UP = 5.0
"""Seconds to start a tunnel and to warm it up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sections, rounds, and the rows that were asked for.

    `rows` empty means those that each section has by itself.
    """

    sections: tuple[str, ...]
    rows: tuple[str, ...]
    rounds: int
    settings: Settings

    def rows_of(self, section: str) -> tuple[str, ...]:
        """Return the rows that a section measures."""
        if section in LONE:
            # No other kind of program can do what these ask for.
            able = LONE[section].rows
            return tuple(name for name in able if not self.rows or name in self.rows)
        return self.rows or JOINED[section].rows or ROWS

    def rows_of_any(self, sections: Sequence[str]) -> list[str]:
        """Return the rows that any of these sections measures, in the usual order."""
        wanted = {name for section in sections for name in self.rows_of(section)}
        return [name for name in ROWS if name in wanted]

    @property
    def joined(self) -> list[str]:
        """The sections that are measured in tunnels that are up."""
        return [name for name in JOINED if name in self.sections]

    @property
    def lone(self) -> list[str]:
        """The sections that make laboratories of their own."""
        return [name for name in LONE if name in self.sections]

    @property
    def estimate(self) -> float:
        """About how many seconds it takes."""
        once = SET_UP * len(self.rows_of_any(self.joined))
        each = sum(
            (JOINED.get(name) or LONE[name]).estimate(self.settings)
            * len(self.rows_of(name))
            for name in self.sections
        )
        return once + self.rounds * each
