"""Tell what is done on the terminal: a line for each step, with a mark and its time."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WIDTH = 58


class Narrator:
    """Tell each step as it ends, and how it ended, with its time."""

    def __init__(self) -> None:
        colourful = sys.stdout.isatty()
        self._tick = "\033[32m✓\033[0m" if colourful else "✓"
        self._cross = "\033[31m✗\033[0m" if colourful else "✗"
        self._started = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """Time one step; lines put into the yielded list are shown below it."""
        details: list[str] = []
        started = time.monotonic()
        mark = self._cross
        try:
            yield details
            mark = self._tick
        finally:
            elapsed = time.monotonic() - started
            print(f" {mark} {title:<{_WIDTH}} {elapsed:6.2f} s")
            for detail in details:
                print(f"     {detail}")
            sys.stdout.flush()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started
