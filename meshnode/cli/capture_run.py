"""The life of a capture: packets go on to a sink until something ends it."""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from meshnode.cli.capture_sinks import Sink
from meshnode.cli.tap import PAUSE, Tap


def record(tap: Tap, sink: Sink, *, count: int | None, duration: float | None) -> int:
    """Hand packets on until something ends it; return how many.

    That is *count* packets, *duration* seconds, SIGINT, SIGTERM, or that nobody reads
    what the sink writes any more. SIGUSR1 lets the sink save what it keeps.

    Raises:
        NotRunningError: if the node has ended.
    """
    ends_at = float("inf") if duration is None else time.monotonic() + duration
    kept = 0
    with _signals() as signals:
        try:
            while True:
                # Looked at first, so what came before the end is read after it.
                is_over = signals.is_over or time.monotonic() >= ends_at
                packets = tap.read()
                sink.keys(tap.keys())
                if count is not None:
                    packets = packets[: count - kept]
                kept += len(packets)
                sink.lost(*tap.losses())
                sink.put(packets)
                if signals.is_asked:
                    signals.is_asked = False
                    sink.save()
                if is_over or kept == count:
                    break
                if not packets:
                    time.sleep(PAUSE)
        except BrokenPipeError:
            pass  # who read us has seen enough
    return kept


class _Signals:
    """What signals asked for."""

    is_over = False
    is_asked = False

    def end(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True

    def save(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True


@contextmanager
def _signals() -> Generator[_Signals, None, None]:
    """Let SIGINT and SIGTERM end the capture well, and SIGUSR1 save it."""
    signals = _Signals()
    handlers = {
        signal.SIGINT: signals.end,
        signal.SIGTERM: signals.end,
        signal.SIGUSR1: signals.save,
    }
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    try:
        yield signals
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
