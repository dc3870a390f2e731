"""What processes use: the texts of /proc, and this process."""

import os
import time

import pytest

from topology.usage import Usage, memory_of, proportional_bytes, usage_of

ROLLUP = """\
55f0-7ffd ---p 00000000 00:00 0    [rollup]
Rss:               10240 kB
Pss:                5130 kB
Pss_Anon:           4000 kB
"""


def test_the_proportional_memory_is_read() -> None:
    """The line of the whole, and none that begins alike."""
    assert proportional_bytes(ROLLUP) == 5130 * 1024
    with pytest.raises(ValueError, match="smaps_rollup"):
        proportional_bytes("")


def test_usage_is_subtracted_part_by_part() -> None:
    """So that two looks tell what was used between them."""
    used = Usage(2.5, 10) - Usage(1.0, 4)
    assert used == Usage(1.5, 6)


def test_this_process_uses_what_it_does() -> None:
    """Sleeping is a wakeup and no processor time; computing is processor time."""
    before = usage_of([os.getpid()])
    time.sleep(0.01)
    slept = usage_of([os.getpid()])
    assert slept.wakeups > before.wakeups
    started = time.process_time()
    while time.process_time() - started < 0.05:
        pass
    assert (usage_of([os.getpid()]) - slept).processor_seconds > 0.04
    assert memory_of([os.getpid()]) > 1_000_000
