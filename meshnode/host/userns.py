"""User namespaces: be root over a network of one's own, and oneself again.

A user namespace that an unprivileged process makes knows one user and one group, its
maker (user_namespaces(7)). In it the maker may have every capability; they count for
what the namespace owns, such as a network namespace made there, and for nothing of
the host.
"""

import ctypes
import errno
import os
from pathlib import Path

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import libc

_CLONE_NEWUSER = 0x10000000

_SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
"""Kernel variables that forbid user namespaces by a value, and what allows them."""


def become_root(*, proc: Path = Path("/proc")) -> None:
    """Enter a new user namespace in which our user is root with all capabilities.

    For a process of one thread. Network and files stay those of the host.

    Raises:
        PrivilegeError: if this host allows nobody a user namespace, with the remedy.
    """
    try:
        _enter_mapped(0, 0, os.geteuid(), os.getegid())
    except OSError as error:
        raise refused(error, proc) from error


def become_user(uid: int, gid: int) -> None:
    """Let root of a user namespace be *uid* and *gid* again, without capabilities.

    It is the user that root stands for there; what is executed next has no capability.

    Raises:
        HostError: if the kernel refuses.
    """
    try:
        _enter_mapped(uid, gid, os.geteuid(), os.getegid())
    except OSError as error:
        raise HostError(
            f"cannot become user {uid} again: {error.strerror}", errno=error.errno or 5
        ) from error


def knows_user(uid_map: str, uid: int) -> bool:
    """Whether a user namespace knows *uid*: pure.

    Args:
        uid_map: the text of /proc/PID/uid_map: lines of first, outer first, count.
        uid: as it is in the namespace.
    """
    for line in uid_map.splitlines():
        fields = line.split()
        if len(fields) == 3 and all(one.isascii() and one.isdigit() for one in fields):
            first, _, count = map(int, fields)
            if first <= uid < first + count:
                return True
    return False


def refused(error: OSError, proc: Path) -> HostError:
    """Say what keeps users from having a user namespace, as *proc* tells."""
    number = error.errno or errno.EPERM
    for name, value, remedy in _SWITCHES:
        try:
            found = (proc / "sys" / name).read_text().strip()
        except OSError:
            continue  # this kernel has no such variable
        if found == value:
            return PrivilegeError(
                "this host allows users no user namespace: set sysctl "
                f"{remedy}, or run meshnode as root",
                errno=number,
            )
    if number in (errno.ENOSPC, errno.EUSERS):
        text = "too many user namespaces are open: raise user.max_user_namespaces"
    else:
        text = (
            f"no user namespace can be had ({os.strerror(number)}): allow them (in a "
            "container by its seccomp profile), or run meshnode as root"
        )
    return PrivilegeError(text, errno=number)


def _enter_mapped(uid: int, gid: int, outer_uid: int, outer_gid: int) -> None:
    libc.call("unshare", ctypes.c_int(_CLONE_NEWUSER))
    # Who could drop a group could reach what is forbidden to the group: so an
    # unprivileged process must give that up before it may map one.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1\n")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1\n")
