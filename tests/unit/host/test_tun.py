"""TUN devices: names, flags and structures; creation itself is tested as root."""

import errno
import os

import pytest

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import tun
from meshnode.host.tun import (
    TCP_OFFLOAD,
    UDP_OFFLOAD,
    Offload,
    agreed_offloads,
    check_name,
    create_tun,
    device_name,
    interface_flags,
    pack_ifreq,
    unpack_ifreq,
    wanted_offload,
)
from meshnode.offloads import Offloads


@pytest.mark.parametrize("name", ["a", "wg0", "a" * 15, "A_=+.-9", "..."])
def test_good_names_pass(name: str) -> None:
    """Whatever wg-quick allows is a name."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a" * 16, ".", "..", "a/b", "a b", "tun%d", "wg0\n", "wg\0", "wé", "a:b"],
)
def test_bad_names_are_refused(name: str) -> None:
    """Nothing that the kernel or a path would read differently passes."""
    with pytest.raises(HostError, match="bad interface name") as caught:
        create_tun(name)
    assert caught.value.errno == errno.EINVAL


def test_flags_are_those_of_the_kernel() -> None:
    """IFF_TUN, IFF_NO_PI, IFF_VNET_HDR; IFF_MULTI_QUEUE for more than one."""
    assert interface_flags(1) == 0x5001
    assert interface_flags(2) == 0x5101


def test_ifreq_is_forty_bytes() -> None:
    """The name is padded to 16 bytes, the flags follow."""
    packed = pack_ifreq("wg0", 0x5001)
    assert packed == b"wg0".ljust(16, b"\0") + b"\x01\x50" + bytes(22)
    assert unpack_ifreq(packed) == ("wg0", 0x5001)
    assert unpack_ifreq(pack_ifreq("a" * 15, 0))[0] == "a" * 15


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.ENOENT, HostError, "modprobe tun"),
        (errno.ENODEV, HostError, "--device /dev/net/tun"),
        (errno.EPERM, PrivilegeError, "CAP_NET_ADMIN"),
        (errno.EACCES, PrivilegeError, "run as root"),
        (errno.EMFILE, HostError, "Too many open files"),
    ],
)
def test_refusals_name_the_remedy(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[HostError], remedy: str
) -> None:
    """Each errno becomes one line that says what to do."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tun.os, "open", refuse)
    with pytest.raises(HostError, match=remedy) as caught:
        create_tun("wg0")
    assert type(caught.value) is kind
    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("offloads", "wanted"),
    [
        (Offloads(), TCP_OFFLOAD | UDP_OFFLOAD),
        (Offloads(tun_tcp="off"), UDP_OFFLOAD),
        (Offloads(tun_udp="off"), TCP_OFFLOAD),
        (Offloads(tun_tcp="off", tun_udp="off"), Offload.NONE),
    ],
)
def test_a_device_is_asked_for_what_may_be_used(
    offloads: Offloads, wanted: Offload
) -> None:
    """And if it agrees, that is what there is."""
    assert wanted_offload(offloads) == wanted
    assert agreed_offloads(offloads, wanted) == offloads


def test_what_a_device_has_not_agreed_to_is_off() -> None:
    """The rest stays as it is set."""
    offloads = Offloads(udp_segmentation="whole")
    assert agreed_offloads(offloads, TCP_OFFLOAD) == Offloads("whole", tun_udp="off")
    none = Offloads("whole", tun_tcp="off", tun_udp="off")
    assert agreed_offloads(offloads, Offload.CSUM) == none


@pytest.mark.parametrize(
    ("wanted", "known", "agreed"),
    [
        (TCP_OFFLOAD | UDP_OFFLOAD, TCP_OFFLOAD, TCP_OFFLOAD),
        (UDP_OFFLOAD, TCP_OFFLOAD, Offload.CSUM),
        (TCP_OFFLOAD, Offload.NONE, Offload.NONE),
    ],
)
def test_an_old_kernel_gives_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, wanted: Offload, known: Offload, agreed: Offload
) -> None:
    """A request with anything unknown is refused whole, so less is asked for."""

    def ioctl(fd: int, request: int, argument: object) -> None:
        if isinstance(argument, int) and argument & ~known:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(tun.fcntl, "ioctl", ioctl)
    assert tun._configure(0, wanted) == agreed


def test_descriptor_of_something_else_is_an_error() -> None:
    """A pipe has no interface."""
    reading, writing = os.pipe()
    with pytest.raises(HostError):
        device_name(reading)
    os.close(reading)
    os.close(writing)
