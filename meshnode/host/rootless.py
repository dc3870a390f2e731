"""A network namespace of our own, made without any privilege on the host.

We become root of a new user namespace and stay in the network of the host, where the
node's outer packets travel as any program's. A network namespace beside it, owned by
that user namespace, gets the TUN device; whoever shall use the mesh lives there.
"""

import errno
import fcntl
import logging
import os
import socket
import struct

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import sysctl
from meshnode.host.namespaces import create_namespace, run_inside
from meshnode.host.userns import become_root

_TUN = "/dev/net/tun"
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ_FLAGS = struct.Struct("16sh22x")

_OPEN_TO_US = (
    # Who lives there is the user whose network it is: no port and no ping is above him.
    ("net/ipv4/ping_group_range", "0 0"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
)
_log = logging.getLogger("meshnode.node")


def enter_rootless() -> int:
    """Become root of a user namespace; return a new network namespace of it.

    The descriptor is the caller's, and keeps the namespace alive. Loopback is up
    there. For a process of one thread.

    Raises:
        PrivilegeError: naming what this host does not allow, and the remedy.
    """
    _require_tun()
    become_root()
    namespace = create_namespace()
    try:
        run_inside(namespace, _prepare)
    except BaseException:
        os.close(namespace)
        raise
    return namespace


def _require_tun() -> None:
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as error:
        raise PrivilegeError(
            f"{_TUN} is closed to this user: let root run chmod 0666 {_TUN}, as most "
            "systems have it (it gives nobody a device of the host)",
            errno=errno.EACCES,
        ) from error
    except OSError as error:
        raise HostError(
            f"{_TUN} is missing: load the driver (modprobe tun), or start the "
            f"container with --device {_TUN}",
            errno=error.errno or errno.ENOENT,
        ) from error


def _prepare() -> None:
    _set_up("lo")
    for key, value in _OPEN_TO_US:
        try:
            sysctl.write(key, value)
        except HostError as error:
            # In a container /proc/sys may be read-only: pings need root then.
            _log.warning("%s", error)


def _set_up(name: str) -> None:
    # Not by netlink: its library would stay in the supervisor's memory for ever.
    raw = name.encode("ascii")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _IFREQ_FLAGS.pack(raw, 0))
            flags = _IFREQ_FLAGS.unpack(answer)[1] | _IFF_UP
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(raw, flags))
    except OSError as error:
        raise HostError(
            f"cannot bring {name} up: {error.strerror}", errno=error.errno or errno.EIO
        ) from error
