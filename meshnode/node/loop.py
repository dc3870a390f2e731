"""A poll loop: descriptors, what to do when they are readable, and nothing more."""

import select
from collections.abc import Callable

from meshnode.host.clock import boottime


class PollLoop:
    """Calls the handler of each descriptor that is readable, or has ended."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def listen(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call *handler* from now on whenever *descriptor* is readable."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    def ignore(self, descriptor: int) -> None:
        """Forget *descriptor*; do so before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wait(self, until: float | None) -> None:
        """Sleep until something is readable and handle it.

        Sleep no longer than to *until*, boottime seconds; None is for ever.
        """
        timeout = None
        if until is not None:
            # One more millisecond, lest rounding down make the last one a busy loop.
            timeout = max(0.0, until - boottime()) * 1000 + 1
        for descriptor, _ in self._poll.poll(timeout):
            handler = self._handlers.get(descriptor)
            if handler is not None:  # an earlier handler may have ignored it
                handler()
