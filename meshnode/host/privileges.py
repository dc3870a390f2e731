"""Give up every privilege a process does not need, for good.

The order matters and is the kernel's (capabilities(7), prctl(2)): the bounding set
first, while CAP_SETPCAP is there; then groups and user; then what capabilities are
left; dumpability and the parent-death signal last, because changing credentials
resets both. What was reached is read back: a process that could not drop must not go
on.
"""

import ctypes
import errno
import os
import resource
import signal
import struct

from meshnode.errors import PrivilegeError
from meshnode.host import libc
from meshnode.host.userns import knows_user
from meshnode.values import frozen

CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
NOBODY = 65534
CARRIER_GROUP = 65531
"""The group of processes that carry others' connections: theirs are never steered.

Only root can be in it. It has no name: Debian's policy reserves its range, and
systemd's table of ids calls it unused. It is small enough for containers, too.
"""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_LIMIT = 64
_HEADER = struct.Struct("=Ii")  # version, thread (0 for ourselves)
_DATA = struct.Struct("=6I")  # (effective, permitted, inheritable), low then high


@frozen
class Privileges:
    """What /proc/PID/status says of a process; capability sets are bit masks.

    `uids` and `gids` are real, effective, saved and file system's.
    """

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privs: bool


def parse_status(text: str) -> Privileges:
    """Read the text of /proc/PID/status (proc(5)).

    Raises:
        ValueError: if a field is missing or is not what it should be.
    """
    fields = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.split()
    try:
        sets = {name: int(fields[name][0], 16) for name in _STATUS_SETS}
        return Privileges(
            uids=tuple(map(int, fields["Uid"])),
            gids=tuple(map(int, fields["Gid"])),
            groups=tuple(map(int, fields["Groups"])),
            inheritable=sets["CapInh"],
            permitted=sets["CapPrm"],
            effective=sets["CapEff"],
            bounding=sets["CapBnd"],
            ambient=sets["CapAmb"],
            no_new_privs=fields["NoNewPrivs"] == ["1"],
        )
    except (KeyError, IndexError) as error:
        raise ValueError("not the status of a process") from error


_STATUS_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def current_privileges() -> Privileges:
    """Return what this process may do."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        return parse_status(status.read())


def require_net_admin() -> None:
    """Refuse to go on without CAP_NET_ADMIN.

    Raises:
        PrivilegeError: naming how to get it; the command line ends with code 5.
    """
    effective, _, _ = _capabilities()
    if not effective >> CAP_NET_ADMIN & 1:
        raise PrivilegeError(
            "CAP_NET_ADMIN is missing: run as root (sudo), in a container with "
            "--cap-add NET_ADMIN, or for this user alone: meshnode up --rootless",
            errno=errno.EPERM,
        )


def drop_to_worker() -> None:
    """Become nobody, with no capability and no way to get one.

    In the user namespace of a rootless node there is nobody but its maker, and no
    group can be left: there the user stays who he is, without a capability.

    Import everything first: nobody may not be allowed to read our modules, or even
    the standard library.

    Raises:
        PrivilegeError: if anything is left; the process must end then.
    """
    _drop(keep=0, user=NOBODY if _knows(NOBODY) else None)


def drop_to_control() -> None:
    """Keep the user and CAP_NET_ADMIN, and no way to get more.

    The user stays, because the run directory and the API socket are root's; of
    root's powers over other things none is left.

    Raises:
        PrivilegeError: if anything else is left; the process must end then.
    """
    _drop(keep=1 << CAP_NET_ADMIN, user=None)


def drop_to_proxy() -> None:
    """Become nobody who may listen on ports below 1024, and no way to get more.

    What the process sends is never steered: who uses a listener, or an exit, has
    chosen its way. Import everything first, as for `drop_to_worker`.

    Raises:
        PrivilegeError: if anything else is left; the process must end then.
    """
    user = NOBODY if _knows(NOBODY) else None
    _drop(keep=1 << CAP_NET_BIND_SERVICE, user=user, group=CARRIER_GROUP)


def die_with_parent(parent: int, death_signal: signal.Signals) -> None:
    """Ask the kernel for *death_signal* when the process *parent* ends.

    If it has ended already, the signal is sent at once. Call it after dropping
    privileges: that forgets the request. The kernel means the thread that made us,
    so the parent must start children from its main thread.
    """
    _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)


def _drop(*, keep: int, user: int | None, group: int = NOBODY) -> None:
    try:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _limit_bounding_set(keep)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        if _knows(NOBODY):
            os.setgroups([])
        if user is not None:
            # Or the change of user would take what shall be kept.
            _prctl(_PR_SET_KEEPCAPS, int(keep != 0))
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        _set_capabilities(keep)
        _prctl(_PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except OSError as error:
        raise PrivilegeError(
            f"cannot drop privileges ({error.strerror}): start as root",
            errno=error.errno or errno.EPERM,
        ) from error
    _verify(keep, user, group)


def _verify(keep: int, user: int | None, group: int) -> None:
    left = _capabilities() != (keep, keep, 0) or _bounding_set() & ~keep
    identity = user is not None and (
        set(os.getresuid()) != {user} or set(os.getresgid()) != {group}
    )
    if left or identity or (os.getgroups() and _knows(NOBODY)):
        raise PrivilegeError("privileges are left after dropping them", errno=1)


def _knows(user: int) -> bool:
    """Whether our user namespace knows *user*; else nobody can become another."""
    with open("/proc/self/uid_map", encoding="utf-8") as uid_map:
        return knows_user(uid_map.read(), user)


def _limit_bounding_set(keep: int) -> None:
    for capability in _bits(_bounding_set() & ~keep):
        _prctl(_PR_CAPBSET_DROP, capability)


def _bounding_set() -> int:
    found = 0
    for capability in range(_CAPABILITY_LIMIT):
        try:
            found |= _prctl(_PR_CAPBSET_READ, capability) << capability
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # beyond the last one this kernel has
    return found


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(_CAPABILITY_LIMIT) if mask >> bit & 1]


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    # Five arguments always: for some options the kernel insists on zeros.
    return libc.call("prctl", option, *map(ctypes.c_ulong, padded))


def _capabilities() -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable sets."""
    header = ctypes.create_string_buffer(_HEADER.pack(_CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(_DATA.size)
    libc.call("capget", header, data)
    low_high = _DATA.unpack(data.raw[: _DATA.size])
    effective, permitted, inheritable = (
        low_high[i] | low_high[i + 3] << 32 for i in range(3)
    )
    return effective, permitted, inheritable


def _set_capabilities(keep: int) -> None:
    low, high = keep & 0xFFFFFFFF, keep >> 32
    header = ctypes.create_string_buffer(_HEADER.pack(_CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(_DATA.pack(low, low, 0, high, high, 0))
    libc.call("capset", header, data)
