"""Routing rules by mark, and tables in which everything goes one way.

By rtnetlink through pyroute2, as in `meshnode.host.netlink`, with its protocol number.
IPv6 is left out where the kernel or the host has none.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from meshnode.errors import HostError
from meshnode.host import sysctl
from meshnode.host.netlink import ROUTE_PROTOCOL
from meshnode.values import frozen

if TYPE_CHECKING:
    from pyroute2 import IPRoute

MARK_PRIORITY: Final = 5200
"""Of our rules by mark: before those of prefixes, which look at every packet."""

_FAMILIES: Final = {4: 2, 6: 10}
_ANYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}
_LOCAL: Final = 2
_UNREACHABLE: Final = 7
_HOST_SCOPE: Final = 254
_LAST: Final = 2**32 - 1
"""The metric of what counts if there is nothing else."""

_GONE: Final = (
    *(errno.ENOENT, errno.ESRCH, errno.ENODEV),
    *(errno.EAFNOSUPPORT, errno.EOPNOTSUPP),  # a kernel without IPv6 has none of it
)


@frozen
class MarkRule:
    """Packets whose mark is *mark* in the bits of *mask* look into *table*."""

    mark: int
    mask: int
    table: int


def add_mark_rule(rule: MarkRule) -> None:
    """Add the rule for both IP versions, unless it is there; raises `HostError`."""
    for version in _versions():
        with _netlink(f"add the routing rule to table {rule.table}") as netlink:
            _add(netlink.rule, _rule(rule, version))


def delete_mark_rule(rule: MarkRule) -> bool:
    """Delete it; False if it was not there; raises `HostError`."""
    was_there = False
    with _netlink(f"delete the routing rule to table {rule.table}") as netlink:
        for version in _FAMILIES:
            was_there |= _delete(netlink.rule, _rule(rule, version))
    return was_there


def route_all_into(interface: str, table: int) -> None:
    """Let *table* lead into *interface*, and nowhere while that is down or gone.

    Raises:
        HostError: if the kernel refuses.
    """
    index = _index_of(interface)
    for version in _versions():
        common = _route(version, table)
        nowhere = {**common, "type": _UNREACHABLE, "priority": _LAST}
        with _netlink(f"route table {table} into {interface}") as netlink:
            _add(netlink.route, nowhere)
            if version in _versions(interface):
                _add(netlink.route, {**common, "oif": index})


def route_all_here(table: int) -> None:
    """Let everything that looks into *table* be delivered to this host.

    Raises:
        HostError: if the kernel refuses.
    """
    local = {"type": _LOCAL, "scope": _HOST_SCOPE, "oif": _index_of("lo")}
    for version in _versions():
        with _netlink(f"route table {table} to this host") as netlink:
            _add(netlink.route, {**_route(version, table), **local})


def empty_table(table: int) -> bool:
    """Delete what carries our mark in *table*; False if nothing; raises `HostError`."""
    was_there = False
    with _netlink(f"empty the routing table {table}") as netlink:
        for version, family in _FAMILIES.items():
            for message in list(netlink.get_routes(family=family, table=table)):
                # A kernel without a version answers with all it has.
                if (message["family"], message["proto"]) != (family, ROUTE_PROTOCOL):
                    continue
                fields = {
                    **_route(version, table),
                    "type": message["type"],
                    "scope": message["scope"],
                }
                priority = message.get_attr("RTA_PRIORITY")
                if priority:
                    fields["priority"] = priority
                was_there |= _delete(netlink.route, fields)
    return was_there


def _versions(interface: str = "lo") -> list[int]:
    """Return the IP versions that *interface* speaks."""
    has_none = sysctl.read(f"net/ipv6/conf/{interface}/disable_ipv6") != "0"
    return [4] if has_none else [4, 6]


def _rule(rule: MarkRule, version: int) -> dict[str, object]:
    return {
        "family": _FAMILIES[version],
        "table": rule.table,
        "priority": MARK_PRIORITY,
        "fwmark": rule.mark,
        "fwmask": rule.mask,
        "protocol": ROUTE_PROTOCOL,
    }


def _route(version: int, table: int) -> dict[str, object]:
    return {
        "family": _FAMILIES[version],
        "dst": _ANYWHERE[version],
        "table": table,
        "proto": ROUTE_PROTOCOL,
    }


def _index_of(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise HostError(
            f"the interface {interface} is gone: start the network again",
            errno=errno.ENODEV,
        ) from error


def _add(request: Callable[..., Any], fields: dict[str, object]) -> None:
    """Add something unless it is there already."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        request("add", **fields)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise


def _delete(request: Callable[..., Any], fields: dict[str, object]) -> bool:
    """Delete something; False if it was not there."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        request("del", **fields)
    except NetlinkError as error:
        if error.code in _GONE:
            return False
        raise
    return True


@contextmanager
def _netlink(action: str) -> "Iterator[IPRoute]":
    """Open a socket for one job; turn the kernel's refusal into our error."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as netlink:
        try:
            yield netlink
        except NetlinkError as error:
            raise HostError(
                f"cannot {action}: {os.strerror(error.code)}", errno=error.code
            ) from error
