"""Signals as a descriptor."""

import os
import select
import signal

import pytest

from meshnode.node.signals import ending_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_ending_signal_makes_the_socket_readable(number: signal.Signals) -> None:
    """It wakes a poll loop and does nothing else, however often it comes."""
    with ending_signals() as descriptor:
        assert select.select([descriptor], [], [], 0)[0] == []
        for _ in range(3):
            os.kill(os.getpid(), number)
        assert select.select([descriptor], [], [], 5)[0] == [descriptor]


def test_an_ignored_hangup_stays_ignored() -> None:
    """A daemon, or a program under nohup, does not end with its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_signals() as descriptor:
            os.kill(os.getpid(), signal.SIGHUP)
            assert select.select([descriptor], [], [], 0)[0] == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_handlers_before_are_put_back() -> None:
    """Whoever calls gets its own handlers again."""
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with ending_signals():
        pass
    after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    assert after == before
