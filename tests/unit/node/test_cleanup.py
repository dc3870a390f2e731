"""The commands' way to the journal."""

from meshnode.host.changes import RemoveSocket
from meshnode.host.journal import open_journal
from meshnode.node.cleanup import clean_up


def test_only_what_nobody_owns_is_undone(tmp_path):
    """A living node's journal stays; once it is let go of, it is undone."""
    journal = open_journal("wg9", tmp_path)
    journal.record(RemoveSocket(str(tmp_path / "wg9.sock")))
    assert clean_up(tmp_path) == []
    journal.close()
    clean_up(tmp_path)
    assert list(tmp_path.glob("*.journal")) == []
