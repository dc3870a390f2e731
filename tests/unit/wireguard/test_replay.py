"""The replay window against the vectors of the kernel, and its edges."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES, WINDOW
from meshnode.wireguard.replay import ReplayWindow

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "replay.json").read_text()
)


def test_the_window_is_the_one_of_the_vectors() -> None:
    """The vectors say something only about a window of their size."""
    assert VECTORS["window"] == WINDOW


def test_kernel_steps() -> None:
    """The 34 steps of the kernel's self-test give its answers."""
    window = ReplayWindow()
    bases = {"0": 0, "limit": REJECT_AFTER_MESSAGES}
    for number, (base, offset, accepted) in enumerate(VECTORS["steps"], 1):
        counter = bases[base] + offset
        assert window.is_fresh(counter) is accepted, f"step {number}, before"
        assert window.accept(counter) is accepted, f"step {number}"
        assert not window.is_fresh(counter), f"step {number}, after"


@pytest.mark.parametrize("run", VECTORS["runs"])
def test_kernel_runs(run: dict[str, Any]) -> None:
    """The six bulk runs of the kernel's self-test give its answers."""
    window = ReplayWindow()
    step = 1 if run["first"] < run["last"] else -1
    for counter in range(run["first"], run["last"] + step, step):
        assert window.accept(counter), counter
    for counter, accepted in run["then"]:
        assert window.accept(counter) is accepted, counter


def test_asking_changes_nothing() -> None:
    """A forged counter that is only asked about shuts nothing out."""
    window = ReplayWindow()
    assert window.accept(5)
    assert window.is_fresh(1_000_000)
    assert window.is_fresh(6)
    assert window.accept(4)


@pytest.mark.parametrize("top", [WINDOW, WINDOW + 1, 8191, 8192, 8255, 2**40 + 63])
def test_edge_of_the_window(top: int) -> None:
    """The counter 8128 behind the greatest is new, the one before it is not."""
    window = ReplayWindow()
    assert window.accept(top)
    assert window.accept(top - WINDOW)
    assert not window.accept(top - WINDOW - 1)


def test_a_refused_counter_moves_nothing() -> None:
    """A counter at the limit leaves the window where it was."""
    window = ReplayWindow()
    assert window.accept(0)
    assert not window.accept(REJECT_AFTER_MESSAGES)
    assert not window.accept(2**64 - 1)
    assert window.accept(1)


@pytest.mark.parametrize("jump", [64, 8127, 8128, 8191, 8192, 8193, 16384, 2**50])
def test_a_jump_forgets_what_the_ring_held(jump: int) -> None:
    """After a jump every counter within the window but those seen is new."""
    window = ReplayWindow()
    for counter in range(200):
        window.accept(counter)
    assert window.accept(200 + jump)
    for counter in range(200, 200 + min(jump, 300)):
        expected = counter >= 200 + jump - WINDOW
        assert window.accept(counter) is expected, counter
