"""Undo what killed nodes left on this host; the commands' way to the journal."""

from meshnode.host import journal
from meshnode.manage.paths import Directories
from meshnode.node.exit_lock import lift_unwanted


def clean_up(directories: Directories) -> list[str]:
    """Undo the journals whose nodes are gone; say what was undone.

    Kill switches that no configuration wants are lifted, too.

    Raises:
        HostError: if a journal cannot be read or a change not be undone.
    """
    return [*journal.cleanup(directories.run), *lift_unwanted(directories)]
