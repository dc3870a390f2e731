"""What the proxy process shall serve: of configuration and mesh, as values."""

import ipaddress
from collections.abc import Iterable
from typing import Final

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    OWN_SOCKET,
    MemberName,
    PlannedExit,
    PlannedListener,
    PlannedResolver,
    PlannedUser,
    ProxyPlan,
)
from meshnode.codec.records import Role
from meshnode.errors import ConfigError
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.proxy_text import ProxyListener
from meshnode.manage.users_file import load_users
from meshnode.mesh.identifiers import ula_prefix
from meshnode.mesh.node import MeshNode
from meshnode.mesh.trust import VerifiedMember
from meshnode.node.name_table import own_addresses
from meshnode.types import Endpoint, Prefix
from meshnode.values import frozen

EXIT_PORT: Final = 1080
"""TCP port at the overlay addresses of an exit, where members find SOCKS5."""

DNS_PORT: Final = 53


@frozen
class Facts:
    """What is known besides the configuration: of the host, and of sockets we bound.

    *interface* is the overlay's, *own* are all addresses of the host, *resolvers* whom
    it asks for names, and *bound* the places of Unix sockets that there are.
    """

    interface: str
    own: tuple[str, ...]
    bound: frozenset[str]
    resolvers: tuple[Endpoint, ...] = ()


def make_plan(
    config: NetworkConfig, node: MeshNode, facts: Facts
) -> tuple[ProxyPlan, tuple[str, ...]]:
    """Return the plan, and what of the configuration it leaves out, and why.

    Its Unix sockets are those that the process has.
    """
    listeners, problems = [], []
    for one in config.proxies:
        is_path = not isinstance(one.listen, Endpoint)
        if is_path and one.place not in facts.bound:
            continue  # why there is no socket was said by who did not get it
        try:
            users = _users(one)
        except ConfigError as error:
            problems.append(str(error))
            continue
        exits, missing = _exits(one, node)
        problems += [f"{one.place}: {text}" for text in missing]
        listeners.append(
            PlannedListener(
                place=one.place,
                kind=one.kind,
                socket=KEPT_SOCKET if is_path else OWN_SOCKET,
                exits=exits,
                users=users,
                allow=one.allow,
                deny=one.deny,
                set_headers=one.set_headers,
                remove_headers=one.remove_headers,
            )
        )
    charter = node.trust.charter
    plan = ProxyPlan(
        network=charter.name,
        overlay=(charter.cidr, ula_prefix(charter.network_id)),
        listeners=tuple(listeners),
        exit=_exit(config, node, facts),
        members=tuple(map(_name_of, _members(node))),
        resolver=_resolver(config, node, facts),
    )
    return plan, tuple(problems)


def _resolver(
    config: NetworkConfig, node: MeshNode, facts: Facts
) -> PlannedResolver | None:
    if not config.dns.resolver:
        return None
    return PlannedResolver(
        own=node.own.certificate.name,
        places=tuple(Endpoint(one, DNS_PORT) for one in own_addresses(node)),
        upstream=_upstream(config, node, facts),
        learns=any(rule.domains for rule in config.steer),
    )


def _upstream(
    config: NetworkConfig, node: MeshNode, facts: Facts
) -> tuple[Endpoint, ...]:
    """Return who is asked for names that are not of the mesh."""
    if config.dns.upstream:
        return config.dns.upstream
    if config.exit.offer:
        return facts.resolvers
    known = [node.membership.by_name(name) for name in config.exit.use]
    return tuple(
        Endpoint(_addresses_of(member)[0], DNS_PORT)
        for member in known
        if member is not None and member.key != node.key
    )


def _users(listener: ProxyListener) -> tuple[PlannedUser, ...] | None:
    if listener.users_file is None:
        return None
    users = load_users(listener.users_file)
    return tuple(PlannedUser(name, str(known)) for name, known in users.items())


def _exits(
    listener: ProxyListener, node: MeshNode
) -> tuple[tuple[Endpoint, ...] | None, list[str]]:
    """Return where to go out by, who does not answer last, and who is unknown."""
    if not listener.exit:
        return None, []
    missing: list[str] = []
    found: list[VerifiedMember] = []
    for name in listener.exit:
        member = node.membership.by_name(name)
        if member is None:
            missing.append(f"exit {name} is no member; see: meshnode peers")
        elif member.key == node.key:
            missing.append(f"exit {name} is this node itself; leave it out")
        else:
            found.append(member)
            if not member.certificate.roles & Role.EXIT:
                missing.append(
                    f"exit {name} is certified for no such thing; at an issuer: "
                    f"meshnode cert grant {name} --role exit"
                )
    unhealthy = node.owners.unhealthy
    found.sort(key=lambda member: member.key in unhealthy)  # stable
    return tuple(exit_places(map(_addresses_of, found))), missing


def exit_places(addresses: Iterable[tuple[str, str]]) -> Iterable[Endpoint]:
    """Yield where exits with these overlay addresses (IPv4, IPv6) serve SOCKS5."""
    for ipv4, _ in addresses:
        yield Endpoint(ipv4, EXIT_PORT)


def _exit(config: NetworkConfig, node: MeshNode, facts: Facts) -> PlannedExit | None:
    ours = node.membership.by_key(node.key)
    if not config.exit.offer or ours is None or not ours.certificate.roles & Role.EXIT:
        return None
    announced = [route.mapped or route.prefix for route in config.announced]
    return PlannedExit(
        places=tuple(Endpoint(one, EXIT_PORT) for one in _addresses_of(ours)),
        device=facts.interface,
        own=facts.own,
        announced=tuple(_without_defaults(announced)),
    )


def _without_defaults(prefixes: Iterable[Prefix]) -> Iterable[Prefix]:
    seen: set[Prefix] = set()
    for prefix in prefixes:
        if prefix.length and prefix not in seen:
            seen.add(prefix)
            yield prefix


def _members(node: MeshNode) -> list[VerifiedMember]:
    return sorted(node.membership, key=lambda member: member.certificate.name)


def _addresses_of(member: VerifiedMember) -> tuple[str, str]:
    v4, v6 = (str(one).partition("/")[0] for one in member.addresses)
    return v4, v6


def _name_of(member: VerifiedMember) -> MemberName:
    v4, v6 = (ipaddress.ip_address(one).packed for one in _addresses_of(member))
    return MemberName(member.certificate.name, v4, v6)
