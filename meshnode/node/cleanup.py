"""Undo what killed nodes left on this host; the commands' way to the journal."""

from pathlib import Path

from meshnode.host import journal


def clean_up(run_dir: Path) -> list[str]:
    """Undo the journals in *run_dir* whose nodes are gone; say what was undone.

    Raises:
        HostError: if a journal cannot be read or a change not be undone.
    """
    return journal.cleanup(run_dir)
