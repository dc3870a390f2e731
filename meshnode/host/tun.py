"""Create the TUN device: layer-3 packets behind a `virtio_net_hdr`, with offloads.

Every frame read from or written to a descriptor begins with the 10-byte,
little-endian header of `meshnode.codec.virtio`, whether or not offloads are on, so
there is one frame format. The device lives as long as a descriptor of it is open.
(Kernel documentation: networking/tuntap; uapi header linux/if_tun.h.)
"""

import enum
import errno
import fcntl
import os
import re
import socket
import struct
from dataclasses import replace

from meshnode.errors import HostError, PrivilegeError
from meshnode.offloads import AUTO, OFF, Offloads
from meshnode.values import frozen

VNET_HEADER_BYTES = 10
"""`struct virtio_net_hdr` without the field for merged receive buffers."""

_DEVICE_NODE = "/dev/net/tun"
_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")

_IFF_TUN = 0x0001
_IFF_MULTI_QUEUE = 0x0100
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000

# _IOW('T', n, int) and so on, in the encoding of every architecture but MIPS,
# PowerPC, SPARC and Alpha.
_IFF_DETACH_QUEUE = 0x0400

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUNGETIFF = 0x800454D2
_TUNSETVNETHDRSZ = 0x400454D8
_TUNSETQUEUE = 0x400454D9
_TUNSETVNETLE = 0x400454DC
_TUNGETDEVNETNS = 0x54E3

_IFREQ = struct.Struct("16sH22x")
_INT = struct.Struct("i")


class Offload(enum.IntFlag):
    """What the kernel may leave to us: TUN_F_* of linux/if_tun.h."""

    NONE = 0
    CSUM = 0x01  # transport checksums are not filled in
    TSO4 = 0x02  # TCP over IPv4 arrives in segments of up to 64 KiB
    TSO6 = 0x04  # the same over IPv6
    USO4 = 0x20  # UDP over IPv4 likewise (kernel 6.2)
    USO6 = 0x40  # the same over IPv6


TCP_OFFLOAD = Offload.CSUM | Offload.TSO4 | Offload.TSO6
UDP_OFFLOAD = Offload.CSUM | Offload.USO4 | Offload.USO6


@frozen
class TunDevice:
    """A TUN device and the descriptors that keep it alive, one a queue.

    The descriptors are non-blocking and closed on exec. `name` and `index` are
    those at creation: both can change later, and `LinkWatch` tells.
    """

    name: str
    index: int
    fds: tuple[int, ...]
    offload: Offload

    def close(self) -> None:
        """Close the descriptors; the device goes if nobody else holds one."""
        for fd in self.fds:
            os.close(fd)


def check_name(name: str) -> str:
    """Return *name* if an interface and its files can be called so.

    Raises:
        HostError: unless it is 1 to 15 of the characters that wg-quick allows.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise HostError(
            f"bad interface name {name!r}: use 1 to 15 of a-z A-Z 0-9 _ = + . -",
            errno=errno.EINVAL,
        )
    return name


def wanted_offload(offloads: Offloads) -> Offload:
    """Return what a device shall be asked for."""
    tcp = TCP_OFFLOAD if offloads.tun_tcp == AUTO else Offload.NONE
    udp = UDP_OFFLOAD if offloads.tun_udp == AUTO else Offload.NONE
    return tcp | udp


def agreed_offloads(offloads: Offloads, agreed: Offload) -> Offloads:
    """Return *offloads*, without those that a device has not agreed to."""
    if TCP_OFFLOAD not in agreed:
        offloads = replace(offloads, tun_tcp=OFF)
    if UDP_OFFLOAD not in agreed:
        offloads = replace(offloads, tun_udp=OFF)
    return offloads


def create_tun(
    name: str, *, queues: int = 1, wanted: Offload = TCP_OFFLOAD | UDP_OFFLOAD
) -> TunDevice:
    """Create the TUN device *name* in the network namespace of the caller.

    It has the offloads *wanted*, as far as the kernel knows them.

    Raises:
        HostError: if the name is bad or taken, or the machine has no TUN driver.
        PrivilegeError: without CAP_NET_ADMIN.
    """
    check_name(name)
    fds: list[int] = []
    try:
        # Exclusive: joining a device that somebody else made (a second node would
        # quietly become one more queue of the first) is never what is wanted.
        fds.append(_open_queue(name, interface_flags(queues) | _IFF_TUN_EXCL))
        agreed = _configure(fds[0], wanted)
        for _ in range(1, queues):
            # One by one, so that a failure closes those that were opened.
            fds.append(_open_queue(name, interface_flags(queues)))  # noqa: PERF401
        index = socket.if_nametoindex(name)
    except OSError as error:
        _close_all(fds)
        raise _explain(name, error) from error
    return TunDevice(name, index, tuple(fds), agreed)


def open_inlet(tun: TunDevice) -> int:
    """Return a new descriptor to write packets to a device of several queues by.

    Nothing arrives there, and what is written there leaves the choice of queues alone:
    else the kernel would hand the packets of a flow to the queue by which its answers
    came in, so that one peer, whose datagrams all take one way, had one queue.

    Raises:
        HostError: if there can be no more queues.
    """
    try:
        fd = _open_queue(tun.name, interface_flags(len(tun.fds)))
        try:
            fcntl.ioctl(fd, _TUNSETQUEUE, pack_ifreq("", _IFF_DETACH_QUEUE))
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise _explain(tun.name, error) from error
    return fd


def device_name(fd: int) -> str:
    """Return the present name of the device behind *fd*.

    Raises:
        HostError: with ENODEV when the device was deleted.
    """
    try:
        return unpack_ifreq(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))[0]
    except OSError as error:
        raise _gone(error) from error


def device_namespace(fd: int) -> int:
    """Return a new descriptor of the network namespace the device is in.

    Raises:
        HostError: with ENODEV when the device was deleted.
    """
    try:
        return fcntl.ioctl(fd, _TUNGETDEVNETNS)
    except OSError as error:
        raise _gone(error) from error


def interface_flags(queues: int) -> int:
    """Return the TUNSETIFF flags for a device of that many queues."""
    multi = _IFF_MULTI_QUEUE if queues > 1 else 0
    return _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR | multi


def pack_ifreq(name: str, flags: int) -> bytes:
    """Serialise a `struct ifreq` that holds a name and flags."""
    return _IFREQ.pack(name.encode("ascii"), flags)


def unpack_ifreq(data: bytes) -> tuple[str, int]:
    """Return the name and the flags of a `struct ifreq`."""
    name, flags = _IFREQ.unpack(data)
    return name.rstrip(b"\0").decode("ascii", "replace"), flags


def _open_queue(name: str, flags: int) -> int:
    fd = os.open(_DEVICE_NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, pack_ifreq(name, flags))
    except OSError:
        os.close(fd)
        raise
    return fd


def _configure(fd: int, wanted: Offload) -> Offload:
    """Set what all queues share; return the offloads the kernel agreed to."""
    fcntl.ioctl(fd, _TUNSETVNETHDRSZ, _INT.pack(VNET_HEADER_BYTES))
    fcntl.ioctl(fd, _TUNSETVNETLE, _INT.pack(1))
    # Before 6.2 a kernel knows no offloads of UDP.
    for known in (wanted, wanted & TCP_OFFLOAD):
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, int(known))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return known
    return Offload.NONE


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _gone(error: OSError) -> HostError:
    if error.errno in (errno.EBADFD, errno.EINVAL):
        return HostError("the TUN device was deleted", errno=errno.ENODEV)
    number = error.errno or errno.EIO
    return HostError(f"TUN device: {os.strerror(number)}", errno=number)


def _explain(name: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return HostError(
            f"{_DEVICE_NODE} is missing: load the driver (modprobe tun), or start "
            f"the container with --device {_DEVICE_NODE}",
            errno=number,
        )
    if number in (errno.EPERM, errno.EACCES):
        return PrivilegeError(
            f"not allowed to create {name}: run as root or with CAP_NET_ADMIN (in a "
            f"container: --cap-add NET_ADMIN --device {_DEVICE_NODE})",
            errno=number,
        )
    if number in (errno.EBUSY, errno.EEXIST):
        return HostError(
            f"interface {name} exists already: choose another name, or stop what "
            f"uses it (ip -details link show {name})",
            errno=number,
        )
    return HostError(f"cannot create {name}: {os.strerror(number)}", errno=number)
