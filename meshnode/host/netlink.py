"""Addresses, routes and link settings, by rtnetlink through pyroute2.

Every function opens a socket of its own for one job and closes it: a pyroute2 socket
that is kept binds a descriptor and an event loop to each thread that touches it.
pyroute2 itself is imported on the first call, so a process that changes nothing does
not pay for it. All of it acts in the network namespace of the calling thread.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any

from meshnode.errors import ConfigError, HostError, PrivilegeError
from meshnode.types import Prefix

if TYPE_CHECKING:
    from pyroute2 import IPRoute

ROUTE_PROTOCOL = 109
"""Marks our routes: "m", a number that neither the kernel's rtnetlink.h nor the
rt_protos of iproute2 gives to anybody (187, for one, is IS-IS)."""

MAIN_TABLE = 254
"""The kernel's main routing table."""

_IFF_UP = 0x1
_ALREADY_GONE = (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Link:
    """One interface; `kind` is the driver's name such as "tun", "" for hardware."""

    name: str
    index: int
    mtu: int
    up: bool
    kind: str


def link_by_name(name: str) -> Link | None:
    """Return the interface called *name*, or None.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    with _route_socket() as netlink, _explained(f"look up {name}"):
        try:
            found = netlink.link("get", ifname=name)
        except _netlink_error() as error:
            if error.code == errno.ENODEV:
                return None
            raise
        return _link_from(found[0])


def set_mtu(index: int, mtu: int) -> None:
    """Set the MTU in bytes; raises `HostError` if the driver does not take it."""
    with _route_socket() as netlink, _explained(f"set the MTU to {mtu}"):
        netlink.link("set", index=index, mtu=mtu)


def set_up(index: int) -> None:
    """Bring the interface up; raises `HostError`."""
    with _route_socket() as netlink, _explained("bring the interface up"):
        netlink.link("set", index=index, state="up")


def set_down(index: int) -> None:
    """Bring the interface down; raises `HostError`."""
    with _route_socket() as netlink, _explained("bring the interface down"):
        netlink.link("set", index=index, state="down")


def add_address(index: int, address: str) -> None:
    """Give the interface *address*, written `host/length`.

    Raises:
        ConfigError: if *address* is none.
        HostError: if the kernel refuses it, also when it is there already.
    """
    interface = _parse_interface(address)
    with _route_socket() as netlink, _explained(f"add the address {interface}"):
        netlink.addr("add", index=index, **_address_fields(interface))


def delete_address(index: int, address: str) -> bool:
    """Take *address* away; False if it was not there.

    Raises:
        ConfigError: if *address* is none.
        HostError: if the kernel refuses.
    """
    interface = _parse_interface(address)
    with _route_socket() as netlink, _explained(f"delete the address {interface}"):
        return _delete(
            lambda: netlink.addr("del", index=index, **_address_fields(interface))
        )


def add_route(prefix: Prefix, index: int, *, table: int = MAIN_TABLE) -> None:
    """Route *prefix* to the interface, marked as ours.

    Raises:
        HostError: if the kernel refuses it, also when the route is there already.
    """
    with _route_socket() as netlink, _explained(f"add the route {prefix}"):
        netlink.route("add", **_route_fields(prefix, index, table))


def delete_route(prefix: Prefix, index: int, *, table: int = MAIN_TABLE) -> bool:
    """Delete our route; False if there is none that carries our mark.

    Raises:
        HostError: if the kernel refuses.
    """
    with _route_socket() as netlink, _explained(f"delete the route {prefix}"):
        return _delete(
            lambda: netlink.route("del", **_route_fields(prefix, index, table))
        )


def _netlink_error() -> Any:
    from pyroute2.netlink.exceptions import NetlinkError

    return NetlinkError


@contextmanager
def _route_socket() -> "Iterator[IPRoute]":
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        yield netlink


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turn the kernel's refusal into an error that names the remedy."""
    try:
        yield
    except _netlink_error() as error:
        raise _explain(action, error.code) from error


def _explain(action: str, number: int) -> HostError:
    if number == errno.EPERM:
        return PrivilegeError(
            f"not allowed to {action}: run as root or with CAP_NET_ADMIN",
            errno=number,
        )
    if number == errno.EACCES:
        reason = "IPv6 is off here: set sysctl net.ipv6.conf.all.disable_ipv6=0"
    elif number == errno.ENODEV:
        reason = "the interface is gone"
    elif number == errno.ENETDOWN:
        reason = "the interface is down: bring it up first"
    elif number == errno.EEXIST:
        reason = "it exists already: remove the other one first (ip address, ip route)"
    else:
        reason = os.strerror(number)
    return HostError(f"cannot {action}: {reason}", errno=number)


def _delete(request: Any) -> bool:
    try:
        request()
    except _netlink_error() as error:
        if error.code in _ALREADY_GONE:
            return False
        raise
    return True


def _parse_interface(address: str) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(address)
    except ValueError:
        raise ConfigError(f"{address!r} is not ADDRESS/LENGTH") from None


def _address_fields(interface: IPv4Interface | IPv6Interface) -> dict[str, object]:
    return {
        "address": str(interface.ip),
        "prefixlen": interface.network.prefixlen,
    }


def _route_fields(prefix: Prefix, index: int, table: int) -> dict[str, object]:
    return {
        "family": 2 if prefix.version == 4 else 10,
        "dst": str(prefix),
        "oif": index,
        "table": table,
        "proto": ROUTE_PROTOCOL,
    }


def _link_from(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & _IFF_UP),
        kind=(info.get_attr("IFLA_INFO_KIND") if info else "") or "",
    )
