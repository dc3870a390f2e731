"""Control groups of version 2, as nft names them.

nft looks for a group below `/sys/fs/cgroup`, and asks the kernel for its inode. Where
both versions are mounted the second has a directory of its own there, which then
stands before the path; its depth does not count.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Final

from meshnode.steering import ControlGroup

_BASE: Final = PurePosixPath("/sys/fs/cgroup")
_MOUNTS: Final = Path("/proc/self/mountinfo")


def find_group(path: str, mounts: str | None = None) -> ControlGroup | None:
    """Return the group at *path*, such as `/user.slice`; None if there is none.

    Args:
        path: from the root of the hierarchy of version 2.
        mounts: the text of /proc/self/mountinfo, None to read it.
    """
    root = find_root(_MOUNTS.read_text() if mounts is None else mounts)
    words = [word for word in path.split("/") if word]
    if root is None or not words or ".." in words:
        return None
    place = root.joinpath(*words)
    try:
        inode = os.stat(place).st_ino
    except OSError:
        return None
    return ControlGroup(str(place.relative_to(_BASE)), len(words), inode)


def find_root(mounts: str) -> PurePosixPath | None:
    """Return where version 2 is mounted below /sys/fs/cgroup; None if it is not."""
    for line in mounts.splitlines():
        # proc(5): mount point is the fifth word, the type comes after a lone hyphen.
        left, _, right = line.partition(" - ")
        words = left.split()
        if right.startswith("cgroup2 ") and len(words) > 4:
            place = PurePosixPath(words[4])
            if place.is_relative_to(_BASE):
                return place
    return None
