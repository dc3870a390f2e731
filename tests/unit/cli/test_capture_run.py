"""How a capture ends."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.api_client import NotRunningError
from tests.tap_parts import LentTap
from tests.unit.capture.test_pcapng import blocks
from tests.unit.cli.test_capture import lent

Run = Callable[..., Any]
__all__ = ["lent"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_well(
    meshnode: Run, lent: LentTap, tmp_path: Path, number: signal.Signals
) -> None:
    """And SIGUSR1 writes what a ring keeps."""
    path = tmp_path / "last.pcapng"

    def send() -> None:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.1)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    before = signal.getsignal(number)
    # Should the capture have ended already, the signal ends nothing else.
    signal.signal(number, signal.SIG_IGN)
    try:
        thread.start()
        result = meshnode("capture", "--ring", "1m", "-w", str(path))
    finally:
        thread.join()
        signal.signal(number, before)
    assert result.code == 0
    assert result.err.count(f"3 packets written to {path}") == 2
    assert [kind for kind, _ in blocks(path.read_bytes())].count(6) == 3


def test_the_end_of_the_node_ends_it(meshnode: Run, lent: LentTap) -> None:
    """With what was captured before."""
    lent.said.append(NotRunningError("the node ended"))
    result = meshnode("capture")
    assert result.code == 1
    assert "the node ended" in result.err


def test_a_reader_that_has_gone_ends_it(
    meshnode: Run, lent: LentTap, tmp_path: Path
) -> None:
    """Well: it has seen enough."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def leave() -> None:
        time.sleep(0.1)
        os.close(reader)
        lent.tap.note(1, b"x")
        lent.tap.publish()

    thread = threading.Thread(target=leave)
    thread.start()
    result = meshnode("capture", "-w", str(path))
    thread.join()
    assert result.code == 0
    assert "4 packets captured" in result.err
