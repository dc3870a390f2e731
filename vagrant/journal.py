"""What was done and measured, told as it happens and summed up at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from topology.narrator import Narrator

_WIDTH = 58


class Journal(Narrator):
    """A narrator that remembers: `rows` is the table, title and figure each."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, str]] = []

    @contextmanager
    def timed(self, title: str) -> Iterator[list[str]]:
        """Tell a step as `step` does, and put its seconds in the table."""
        began = time.monotonic()
        try:
            with self.step(title) as details:
                yield details
        finally:
            self.seconds(title, time.monotonic() - began)

    def seconds(self, title: str, value: float) -> None:
        """Put a time in the table."""
        self.rows.append((title, f"{value:.1f} s"))

    def rate(self, title: str, bits_per_second: float) -> str:
        """Put a throughput in the table and return how it reads."""
        text = f"{bits_per_second / 1e6:.1f} Mbit/s"
        self.rows.append((title, text))
        return text

    def figure(self, title: str, value: str) -> None:
        """Put any other figure in the table."""
        self.rows.append((title, value))

    def print_table(self) -> None:
        """Print what was measured."""
        print()
        for title, value in self.rows:
            print(f"  {title:<{_WIDTH}} {value:>16}")
