"""The node of a network as others on its host see it: whether it runs, and its end.

Nothing here takes what a node itself is made of, so that asking takes no time.
"""

import time
from pathlib import Path
from typing import Final

from meshnode.errors import HostError
from meshnode.manage.api_client import NotRunningError, call
from meshnode.manage.paths import Directories

STOP_TIMEOUT: Final = 15.0
"""Seconds until a node that was told to stop must be gone."""

IN_TOUCH_TIMEOUT: Final = 6.0
"""Seconds until a node that has just joined should be in touch with others."""

_POLL: Final = 0.02


def is_up(network: str, directories: Directories) -> bool:
    """Whether a node of *network* answers on this host."""
    try:
        call(directories, network, "hello")
    except NotRunningError:
        return False
    return True


def await_mesh(network: str, directories: Directories) -> bool:
    """Wait until the mesh knows the node and the node the mesh; return whether.

    It is worth waiting for at most `IN_TOUCH_TIMEOUT`: by then others are down.
    """
    give_up_at = time.monotonic() + IN_TOUCH_TIMEOUT
    while time.monotonic() < give_up_at:
        try:
            if call(directories, network, "hello")["isInTouch"]:
                return True
        except NotRunningError:
            return False
        time.sleep(_POLL)
    return False


def stop_network(network: str, directories: Directories) -> bool:
    """Stop the node of *network* and wait for its end; return whether it ran.

    Raises:
        HostError: if it does not end in time.
    """
    try:
        told = call(directories, network, "stop")
    except NotRunningError:
        return False
    process = Path(f"/proc/{told['pid']}")
    give_up_at = time.monotonic() + STOP_TIMEOUT
    while _runs(process):
        if time.monotonic() > give_up_at:
            raise HostError(
                f"the node of {network} was told to stop and is still there after "
                f"{STOP_TIMEOUT:g} s"
            )
        time.sleep(_POLL)
    return True


def _runs(process: Path) -> bool:
    """Whether a process has not ended; one nobody has collected yet has."""
    try:
        state = (process / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != b"Z"
