"""The commands' way to the journal, and to kill switches that are not wanted."""

from pathlib import Path

import pytest

from meshnode.host.changes import RemoveSocket
from meshnode.host.journal import open_journal
from meshnode.node import cleanup
from meshnode.node.cleanup import clean_up
from tests.founded_node import directories_in


def test_only_what_nobody_owns_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living node's journal stays; once it is let go of, it is undone."""
    directories = directories_in(tmp_path)
    monkeypatch.setattr(cleanup, "lift_unwanted", lambda directories: [])
    journal = open_journal("wg9", directories.run)
    journal.record(RemoveSocket(str(tmp_path / "wg9.sock")))
    assert clean_up(directories) == []
    journal.close()
    clean_up(directories)
    assert list(directories.run.glob("*.journal")) == []


def test_kill_switches_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lifted is told as the rest is."""
    monkeypatch.setattr(cleanup, "lift_unwanted", lambda directories: ["lifted it"])
    assert clean_up(directories_in(tmp_path)) == ["lifted it"]
