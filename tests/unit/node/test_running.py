"""Asking whether a node runs, and stopping it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.manage.api_client import NotRunningError
from meshnode.manage.paths import Directories
from meshnode.node import running
from meshnode.node.running import is_up, stop_network


def test_network_that_is_not_up_is_not_stopped(tmp_path: Path) -> None:
    """Its directories need not be there."""
    directories = Directories(tmp_path, tmp_path, tmp_path / "none", tmp_path)
    assert not is_up("home", directories)
    assert not stop_network("home", directories)


def test_node_that_nobody_collects_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its parent may be busy, and may be who waits for us."""
    node = subprocess.Popen([sys.executable, "-c", ""])
    try:
        monkeypatch.setattr(running, "call", lambda *_: {"pid": node.pid})
        monkeypatch.setattr(running, "STOP_TIMEOUT", 20.0)
        began = time.monotonic()
        assert stop_network("home", Directories(run=tmp_path))
        assert time.monotonic() - began < 15
    finally:
        node.wait(20)
    assert stop_network("home", Directories(run=tmp_path))


def test_node_that_stays_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here it is ourselves."""
    monkeypatch.setattr(running, "call", lambda *_: {"pid": os.getpid()})
    monkeypatch.setattr(running, "STOP_TIMEOUT", 0.05)
    with pytest.raises(HostError, match="still there"):
        stop_network("home", Directories(run=tmp_path))


def test_node_that_ends_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not up, then."""

    def ended(*_: object) -> None:
        raise NotRunningError("ended")

    monkeypatch.setattr(running, "call", ended)
    assert not is_up("home", Directories())
    assert not stop_network("home", Directories())
