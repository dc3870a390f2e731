"""The boottime clock and its timer descriptor."""

import errno
import os
import resource
import select
from collections.abc import Iterator

import pytest
import trio

from meshnode.errors import HostError
from meshnode.host.clock import BootTimer, boottime


@pytest.fixture
def timer() -> Iterator[BootTimer]:
    """A timer that is not set."""
    one = BootTimer()
    yield one
    one.close()


def readable(timer: BootTimer, milliseconds: int) -> bool:
    """Poll the timer for at most that long."""
    poll = select.poll()
    poll.register(timer.fileno(), select.POLLIN)
    return bool(poll.poll(milliseconds))


def test_boottime_never_goes_back() -> None:
    """A later reading is not smaller."""
    first = boottime()
    assert boottime() >= first > 0


def test_unset_timer_is_silent(timer: BootTimer) -> None:
    """A new timer is not readable."""
    assert not readable(timer, 0)


def test_timer_fires_at_its_moment_and_not_before(timer: BootTimer) -> None:
    """It becomes readable, and by then the moment has come."""
    at = boottime() + 0.02
    timer.set(at)
    assert readable(timer, 10_000)
    assert boottime() >= at


@pytest.mark.parametrize("at", [0.0, -5.0, 1e-12])
def test_past_moment_fires_at_once(timer: BootTimer, at: float) -> None:
    """A moment that has passed, even the very first one, is due now."""
    timer.set(at)
    assert readable(timer, 10_000)


def test_clearing_makes_it_silent(timer: BootTimer) -> None:
    """An expiry is reported until it is cleared; clearing twice is harmless."""
    timer.set(0.0)
    assert readable(timer, 10_000)
    timer.clear()
    timer.clear()
    assert not readable(timer, 0)


def test_setting_again_replaces_the_moment(timer: BootTimer) -> None:
    """An expiry not cleared yet does not outlive a new moment or None."""
    timer.set(0.0)
    assert readable(timer, 10_000)
    timer.set(boottime() + 3600)
    assert not readable(timer, 0)
    timer.set(0.0)
    assert readable(timer, 10_000)
    timer.set(None)
    assert not readable(timer, 0)


def test_descriptor_is_not_inherited(timer: BootTimer) -> None:
    """The descriptor is closed on exec and does not block."""
    assert not os.get_inheritable(timer.fileno())
    assert not os.get_blocking(timer.fileno())


async def test_trio_can_wait_for_it(timer: BootTimer) -> None:
    """A Trio task sleeps on the descriptor."""
    timer.set(boottime() + 0.01)
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(timer.fileno())
    timer.clear()


def test_closing_twice_is_harmless() -> None:
    """A closed timer can be closed again."""
    one = BootTimer()
    one.close()
    one.close()


def test_no_descriptor_left_is_an_error() -> None:
    """A process at its limit of descriptors is told so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(HostError) as caught:
            BootTimer()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
