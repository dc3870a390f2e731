"""Addresses, routes, rules and link settings, by rtnetlink through pyroute2.

Every function opens a socket of its own for one job and closes it: a pyroute2 socket
that is kept binds a descriptor and an event loop to each thread that touches it.
pyroute2 itself is imported on the first call, so a process that changes nothing does
not pay for it. All of it acts in the network namespace of the calling thread.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any

from meshnode.errors import ConfigError, HostError, PrivilegeError
from meshnode.types import Prefix
from meshnode.values import frozen

if TYPE_CHECKING:
    from pyroute2 import IPRoute

ROUTER_ADVERTISEMENT = 9
"""The protocol of what the kernel learnt from IPv6 routers (RTPROT_RA)."""

ROUTE_PROTOCOL = 109
"""Marks our routes: "m", a number that neither the kernel's rtnetlink.h nor the
rt_protos of iproute2 gives to anybody (187, for one, is IS-IS)."""

MAIN_TABLE = 254
"""The kernel's main routing table."""

RULE_PRIORITY = 5210
"""Of our rules: after the local table (0), before the main one (32766)."""

_IFF_UP = 0x1
_RULE_INVERTED = 0x2
_LINK_SCOPE = 253
_RTN_THROW = 9
_FAMILIES = {4: 2, 6: 10}
_ALREADY_GONE = (
    *(errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENOENT),
    *(errno.EAFNOSUPPORT, errno.EOPNOTSUPP),  # a kernel without IPv6 has none of it
)


@frozen
class Link:
    """One interface; `kind` is the driver's name such as "tun", "" for hardware."""

    name: str
    index: int
    mtu: int
    up: bool
    kind: str


@frozen
class HostRoute:
    """One route of a table.

    `gateways` are the next hops, none for a network that is connected; `is_throw`
    says that the lookup goes on in the tables after. `mtu` is in bytes, 0 for that of
    the interface; `segment` is what TCP tells the other end to send at once, in bytes,
    0 for what `mtu` allows.
    """

    prefix: Prefix
    interface: int
    gateways: tuple[str, ...] = ()
    protocol: int = ROUTE_PROTOCOL
    is_throw: bool = False
    mtu: int = 0
    segment: int = 0


@frozen
class Rule:
    """Packets of one version without our mark look into our table first."""

    version: int
    fwmark: int
    table: int


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


def addresses_of(index: int) -> list[str]:
    """Return the addresses of the interface, `host/length`; not the link-local ones.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    with _route_socket() as netlink, _explained("list addresses"):
        return [
            f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}"
            f"/{message['prefixlen']}"
            for message in netlink.get_addr(index=index)
            if message["scope"] != _LINK_SCOPE
        ]


def routes_of(table: int) -> list[HostRoute]:
    """Return the routes of *table*, IPv4 first.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    with _route_socket() as netlink, _explained("list routes"):
        return [
            _host_route(version, message)
            for version, family in _FAMILIES.items()
            for message in netlink.get_routes(family=family, table=table)
            # A kernel without a version answers with all it has.
            if message["family"] == family
        ]


def change_routes(
    table: int, *, delete: Iterable[HostRoute], add: Iterable[HostRoute]
) -> None:
    """Delete routes of ours in *table*, then add others; both may be none.

    Raises:
        HostError: if the kernel refuses one; those before it are done.
    """
    with _route_socket() as netlink:
        for route in delete:
            with _explained(f"delete the route {route.prefix}"):
                fields = _host_route_fields(route, table)
                _delete(lambda f=fields: netlink.route("del", **f))
        for route in add:
            with _explained(f"add the route {route.prefix}"):
                netlink.route("add", **_host_route_fields(route, table))


def our_rules(table: int) -> list[Rule]:
    """Return our rules that lead to *table*.

    Raises:
        HostError: if the kernel cannot be asked.
    """
    with _route_socket() as netlink, _explained("list routing rules"):
        return [
            Rule(version, message.get_attr("FRA_FWMARK") or 0, table)
            for version, family in _FAMILIES.items()
            for message in netlink.get_rules(family=family)
            if message["family"] == family
            and message.get_attr("FRA_TABLE") == table
            and message.get_attr("FRA_PRIORITY") == RULE_PRIORITY
            and message.get_attr("FRA_PROTOCOL") == ROUTE_PROTOCOL
        ]


def add_rule(rule: Rule) -> None:
    """Add a rule; raises `HostError`."""
    with _route_socket() as netlink, _explained("add the routing rule"):
        netlink.rule("add", **_rule_fields(rule))


def delete_rule(rule: Rule) -> bool:
    """Delete a rule of ours; False if it was not there; raises `HostError`."""
    with _route_socket() as netlink, _explained("delete the routing rule"):
        return _delete(lambda: netlink.rule("del", **_rule_fields(rule)))


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
        "family": _FAMILIES[prefix.version],
        "dst": str(prefix),
        "oif": index,
        "table": table,
        "proto": ROUTE_PROTOCOL,
    }


def _host_route(version: int, message: Any) -> HostRoute:
    text = message.get_attr("RTA_DST") or ("0.0.0.0" if version == 4 else "::")
    hops = [message, *(message.get_attr("RTA_MULTIPATH") or ())]
    found = [hop.get_attr("RTA_GATEWAY") or hop.get_attr("RTA_VIA") for hop in hops]
    is_throw = message["type"] == _RTN_THROW
    return HostRoute(
        Prefix.parse(f"{text}/{message['dst_len']}"),
        # The kernel shows an IPv6 throw route as one of loopback.
        0 if is_throw else message.get_attr("RTA_OIF") or 0,
        tuple(hop["addr"] if isinstance(hop, dict) else hop for hop in found if hop),
        message["proto"],
        is_throw,
        _metric(message, "RTAX_MTU"),
        _metric(message, "RTAX_ADVMSS"),
    )


def _metric(message: Any, name: str) -> int:
    metrics = message.get_attr("RTA_METRICS")
    return (metrics.get_attr(name) if metrics else None) or 0


def _host_route_fields(route: HostRoute, table: int) -> dict[str, object]:
    fields = _route_fields(route.prefix, route.interface, table)
    if route.is_throw:
        del fields["oif"]
        fields["type"] = _RTN_THROW
    metrics = {"mtu": route.mtu, "advmss": route.segment}
    if any(metrics.values()):
        fields["metrics"] = {key: value for key, value in metrics.items() if value}
    return fields


def _rule_fields(rule: Rule) -> dict[str, object]:
    return {
        "family": _FAMILIES[rule.version],
        "table": rule.table,
        "priority": RULE_PRIORITY,
        "fwmark": rule.fwmark,
        "flags": _RULE_INVERTED,
        "protocol": ROUTE_PROTOCOL,
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
