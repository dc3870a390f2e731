"""A link between two processes of a simulated host: in order, lossless, perhaps slow.

It holds what was written while nobody reads, as the kernel does for a process that
the supervisor is about to restart.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol


class Schedule(Protocol):
    """The part of the world that a channel needs: its time, and to be called later."""

    @property
    def now(self) -> float:
        """World seconds."""

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Call *action* at world time *time*."""


class Channel:
    """Carries messages to *deliver*, each after up to *slowness* seconds.

    The order is kept. With no slowness and an open end the message is delivered
    before `put` returns; otherwise *settle* is called when some were delivered.
    """

    def __init__(
        self,
        schedule: Schedule,
        random: Random,
        deliver: Callable[[bytes], None],
        *,
        settle: Callable[[], None],
        slowness: float,
    ) -> None:
        self.slowness = slowness
        self._settle = settle
        self._schedule = schedule
        self._random = random
        self._deliver = deliver
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._is_open = True
        self._last_ready_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: bytes) -> None:
        """Send one message."""
        now = self._schedule.now
        delay = self.slowness * self._random.random() if self.slowness else 0.0
        self._last_ready_at = ready_at = max(self._last_ready_at, now + delay)
        self._waiting.append((ready_at, message))
        if ready_at > now:
            self._schedule.at(ready_at, self._arrive)
        else:
            self.pump()

    def pump(self) -> None:
        """Deliver what is due, if somebody reads."""
        waiting = self._waiting
        while self._is_open and waiting and waiting[0][0] <= self._schedule.now:
            self._deliver(waiting.popleft()[1])

    def close(self) -> None:
        """Nobody reads any more: hold everything."""
        self._is_open = False

    def open(self) -> None:
        """Somebody reads again: deliver what was held."""
        self._is_open = True
        self.pump()

    def _arrive(self) -> None:
        before = len(self._waiting)
        self.pump()
        if len(self._waiting) != before:
            self._settle()
