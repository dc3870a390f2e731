"""Signals that end a laboratory: turn them into exceptions, or hold them back."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_end_the_block() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block by an exception, as SIGINT does."""

    # Python turns SIGINT into an exception by itself, but dies of the others without
    # running a single `finally`.
    def leave(number: int, frame: FrameType | None) -> NoReturn:
        # Not SystemExit: a test runner would take that for one failed test.
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {
        number: signal.signal(number, leave)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let the signals that end a laboratory wait until the block is left."""
    # A second, impatient Ctrl-C must not stop the removal half-way. Its length is
    # bounded: every step above has a time limit.
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
