"""Kernel variables of the network namespace the calling thread is in: /proc/sys/net.

CAP_NET_ADMIN is enough for a process of root's.
"""

import errno
import os
from pathlib import Path

from meshnode.errors import HostError, PrivilegeError

_ROOT = Path("/proc/sys")


def read(key: str) -> str | None:
    """Return the value of *key*, such as `net/ipv4/ip_forward`; None if it is missing.

    Raises:
        HostError: if it is no variable of the network, or cannot be read.
    """
    try:
        return _path(key).read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _explain("read", key, error) from error


def write(key: str, value: str) -> None:
    """Set *key*; raises `HostError` as `read` does, and if the kernel refuses."""
    try:
        # Without O_CREAT: what is missing is an error.
        fd = os.open(_path(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode("ascii"))
        finally:
            os.close(fd)
    except OSError as error:
        raise _explain("set", key, error) from error


def _path(key: str) -> Path:
    # A journal may be of another version, but never reaches beyond the network.
    if not key.startswith("net/") or ".." in key.split("/"):
        raise HostError(f"{key!r} is no variable of the network", errno=errno.EINVAL)
    return _ROOT / key


def _explain(action: str, key: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    if number in (errno.EPERM, errno.EACCES):
        return PrivilegeError(
            f"not allowed to {action} {key}: run as root or with CAP_NET_ADMIN",
            errno=number,
        )
    if number == errno.EROFS:
        return HostError(
            f"cannot {action} {key}: /proc/sys cannot be written here; set it where "
            f"the container is started (--sysctl {key.replace('/', '.')}=1)",
            errno=number,
        )
    return HostError(f"cannot {action} {key}: {os.strerror(number)}", errno=number)
