"""A switch goes down only, is told once a step, and is summed up over sockets."""

import logging

import pytest

from meshnode.dataplane.switches import Switch, summarise
from meshnode.offloads import (
    AUTO,
    FULL,
    OFF,
    READS,
    STATES,
    TUN_TCP,
    UDP_SEGMENTATION,
    WHOLE,
)


def test_a_switch_begins_as_it_is_set() -> None:
    """And that is no lowering."""
    for setting, state in ((AUTO, FULL), (WHOLE, WHOLE), (OFF, OFF)):
        switch = Switch(UDP_SEGMENTATION, setting)
        assert (switch.state, switch.lowered) == (state, 0)


def test_each_step_down_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """With what happened, and the setting that has it so from the start."""
    switch = Switch(UDP_SEGMENTATION, AUTO)
    with caplog.at_level(logging.WARNING):
        for state in (WHOLE, WHOLE, OFF, OFF, WHOLE, FULL):
            switch.lower(state, f"to {state}")
    assert (switch.state, switch.lowered) == (OFF, 2)
    first, second = caplog.messages
    assert first.startswith("udp-segmentation is now whole: to whole (")
    assert "udp-segmentation=whole" in first
    assert second.startswith("udp-segmentation is now off: to off (")
    assert "udp-segmentation=off" in second


def test_a_state_that_cannot_be_set_is_forced_by_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is no setting that only reads."""
    with caplog.at_level(logging.WARNING):
        Switch(TUN_TCP, AUTO).lower(READS, "refused")
    assert "tun-tcp=off" in caplog.text


def test_the_lowest_counts_and_all_steps() -> None:
    """Two numbers a key, in the order of the states."""
    low, lower = Switch(UDP_SEGMENTATION, AUTO), Switch(UDP_SEGMENTATION, AUTO)
    low.lower(WHOLE, "x")
    lower.lower(WHOLE, "x")
    lower.lower(OFF, "x")
    numbers = summarise([lower, low, Switch(TUN_TCP, OFF)])
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    assert dict(zip(STATES, pairs, strict=True)) == {
        "udp-segmentation": (2, 3),
        "udp-coalescing": (0, 0),
        "tun-tcp": (2, 0),
        "tun-udp": (0, 0),
    }
    assert summarise([]) == [0] * (2 * len(STATES))
