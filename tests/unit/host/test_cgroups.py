"""Control groups as nft names them."""

from pathlib import PurePosixPath

from meshnode.host.cgroups import find_group, find_root

HYBRID = (
    "30 23 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n"
)
PURE = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"


def test_the_hierarchy_is_found() -> None:
    """Alone, or beside the old ones; elsewhere nft could not see it."""
    assert find_root(PURE) == PurePosixPath("/sys/fs/cgroup")
    assert find_root(HYBRID) == PurePosixPath("/sys/fs/cgroup/unified")
    assert find_root("9 8 0:1 / /mnt rw - cgroup2 x rw\nnonsense - cgroup2 x") is None


def test_what_is_not_there_is_none() -> None:
    """As is what could be somewhere else."""
    assert find_group("/meshnode-has-no-such-group") is None
    assert find_group("/", PURE) is None
    assert find_group("/../etc", PURE) is None
    assert find_group("/x", "") is None


def test_a_group_has_depth_and_inode() -> None:
    """Any directory will do; the depth is counted from the hierarchy's root."""
    mounts = "30 23 0:26 / /sys/fs/cgroup/.. rw - cgroup2 cgroup2 rw\n"
    found = find_group("/cgroup", mounts)
    assert found is not None
    assert (found.path, found.level) == ("../cgroup", 1)
    assert found.inode > 0
