"""Signals that ask a poll loop to end, as a descriptor to poll."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def ending_signals() -> Iterator[socket.socket]:
    """Catch SIGTERM, SIGINT and SIGHUP; yield a socket readable once one came.

    SIGHUP stays ignored where it is ignored already. The handlers before are put
    back at the end. For the main thread only.
    """
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, _nothing) for number in wanted}
    # One byte wakes the loop; more of them, should the socket be full, say the same.
    old_descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()


def _nothing(number: int, frame: FrameType | None) -> None:
    """Only the byte written to the wake-up descriptor counts."""
