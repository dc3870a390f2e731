"""One nftables table for each network: what enters, what is forwarded, what is mapped.

Pure: a plan in, the text of its table out; `meshnode.host.nft` loads it. The table is
replaced whole, so the kernel never has half of it, and flows that conntrack knows go
on under the new rules.

Its chains, in the order a packet meets them:

* `guard` drops packets for our overlay addresses that do not come out of the tunnel
  (CVE-2019-14899: a neighbour on the LAN could otherwise probe them).
* `know`, `answer` and `note` tell flows that pass outside of a full tunnel.
* `admit` is the access policy. It stands before destinations are mapped, so it sees
  the addresses the network knows, and serves for what is ours and what is forwarded.
* `map_in` turns a prefix of the network into the LAN's real one.
* `transit` lets the network reach, beyond this host, only what is announced, and makes
  TCP segments fit.
* `map_out` is the way back: masquerading, and the LAN's prefix turned into ours.

Without a policy nothing here needs conntrack unless the host forwards, so that a busy
server's connections are not counted for our sake. Linux 5.8 is the oldest that has
all of it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_interface

from meshnode.host.flow_marks import mark_chains
from meshnode.host.nft import FAMILY
from meshnode.hostplan import Allow, Announced, Filter, HostPlan, Service, Transport
from meshnode.types import Prefix

_WORD = {4: "ip", 6: "ip6"}
PRIVATE = tuple(
    map(
        Prefix.parse,
        (
            *("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "fc00::/7", "fe80::/10"),
        ),
    )
)
"""What is nowhere on the Internet, but maybe around an exit (RFC 1918, 4193, 6598)."""

_PING = {4: "icmp", 6: "ipv6-icmp"}

_ICMP_ERRORS = (
    "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, "
    "parameter-problem } accept",
)


def table_name(network: str) -> str:
    """Return the name of the table of *network*, with what nft allows in one."""
    return "meshnode_" + re.sub(r"[^A-Za-z0-9]", "_", network)


def needs_rules(plan: HostPlan) -> bool:
    """Whether the plan cannot do without its table; the guard alone is a precaution."""
    return (
        plan.filter is not None
        or bool(plan.announced)
        or plan.forwards
        or plan.full_tunnel is not None
    )


def firewall_text(plan: HostPlan, *, near: Sequence[Prefix] = ()) -> str:
    """Return the commands for nft that put the plan's table in place, "" for none.

    *near* are the networks that the host itself is in: who leaves by it as an exit
    does not reach them unless they are announced.
    """
    chains = [
        *chain_lines("guard", "filter hook prerouting priority raw", _guard(plan)),
        *_marks(plan),
        *chain_lines("admit", "filter hook prerouting priority mangle", _admit(plan)),
        *chain_lines("map_in", "nat hook prerouting priority dstnat", _map_in(plan)),
        *chain_lines(
            "transit", "filter hook forward priority mangle", _transit(plan, near)
        ),
        *chain_lines("map_out", "nat hook postrouting priority srcnat", _map_out(plan)),
    ]
    if not chains:
        return ""
    table = f"table {FAMILY} {table_name(plan.network)}"
    # Adding it first lets deleting succeed when it was not there.
    lines = [f"add {table}", f"delete {table}", f"{table} {{", *chains, "}", ""]
    return "\n".join(lines)


def chain_lines(name: str, hook: str, rules: Iterable[str]) -> list[str]:
    """Return the lines of a chain, none if it has no rules."""
    lines = [f"\t\t{rule}" for rule in rules]
    if not lines:
        return []
    head = [f"\tchain {name} {{", f"\t\ttype {hook}; policy accept;"]
    return [*head, *lines, "\t}"]


def _guard(plan: HostPlan) -> Iterator[str]:
    for version in (4, 6):
        ours = [
            interface.ip.compressed
            for interface in map(ip_interface, plan.addresses)
            if interface.version == version
        ]
        if ours:
            yield (
                f'iifname != {{ "{plan.interface}", "lo" }} {_WORD[version]} daddr '
                f"{{ {', '.join(ours)} }} counter drop"
            )


def _admit(plan: HostPlan) -> Iterator[str]:
    yield from _from_exit(plan)
    yield from _at_exit(plan)
    if plan.filter is None:
        return
    yield f'iifname != "{plan.interface}" accept'
    yield "ct state established,related accept"
    yield from _ICMP_ERRORS
    yield from _allowed(plan.filter)
    yield "counter drop"


def _allowed(rules: Filter) -> Iterator[str]:
    for allow in rules.allows:
        for version in (4, 6):
            match = _match_addresses(allow, version)
            if match is not None:
                for service in _match_services(allow.services, version):
                    yield " ".join([*match, *service, "accept"])


def _match_addresses(allow: Allow, version: int) -> list[str] | None:
    """Return the words that match addresses of *version*; None if none can match."""
    sources = collapse(allow.sources, version)
    destinations = collapse(allow.destinations, version)
    if not sources or not destinations:
        return None
    return [
        _match(version, "saddr", sources),
        _match(version, "daddr", destinations),
    ]


def _match_services(services: tuple[Service, ...], version: int) -> Iterator[list[str]]:
    kinds = {service.transport for service in services}
    if Transport.ANY in kinds:
        yield []
        return
    if Transport.ICMP in kinds:
        yield [f"meta l4proto {_PING[version]}"]
    for transport in (Transport.TCP, Transport.UDP):
        ranges = [s for s in services if s.transport is transport]
        if any(not service.first for service in ranges):
            yield [f"meta l4proto {transport.value}"]
        elif ranges:
            yield [f"{transport.value} dport {{ {', '.join(port_ranges(ranges))} }}"]


def port_ranges(services: Iterable[Service]) -> Iterator[str]:
    """Yield the ports in order, ranges that touch or overlap made one."""
    merged: list[list[int]] = []
    for first, last in sorted((service.first, service.last) for service in services):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    for first, last in merged:
        yield str(first) if first == last else f"{first}-{last}"


def _map_in(plan: HostPlan) -> Iterator[str]:
    for one in plan.announced:
        if one.mapped is not None:
            word = _WORD[one.prefix.version]
            yield (
                f'iifname "{plan.interface}" {word} daddr {one.prefix} '
                f"dnat {word} prefix to {one.mapped}"
            )


def _transit(plan: HostPlan, near: Sequence[Prefix]) -> Iterator[str]:
    if not plan.forwards:
        return
    name = plan.interface
    yield f'iifname != "{name}" oifname != "{name}" accept'
    yield "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"
    yield f'oifname "{name}" accept'
    yield "ct state established,related accept"
    for version in (4, 6):
        named = [_real(one) for one in plan.announced if one.prefix.length]
        reachable = collapse(named, version)
        if reachable:
            yield f"{_match(version, 'daddr', reachable)} accept"
        if any(not p.length and p.version == version for p in _announced(plan)):
            private = ", ".join(collapse((*PRIVATE, *near), version))
            yield f"{_WORD[version]} daddr {{ {private} }} counter drop"
            yield f"meta nfproto ipv{version} accept"
    yield "counter drop"


def _announced(plan: HostPlan) -> Iterator[Prefix]:
    return (one.prefix for one in plan.announced)


def _marks(plan: HostPlan) -> Iterator[str]:
    if plan.full_tunnel is not None:
        chains = mark_chains(plan.interface, plan.fwmark)
        for name, (hook, rules) in chains.items():
            yield from chain_lines(name, hook, rules)


def _at_exit(plan: HostPlan) -> Iterator[str]:
    """Keep who leaves by us from what we serve to our own LAN alone."""
    for version in (4, 6):
        if any(not p.length and p.version == version for p in _announced(plan)):
            ours = [ip_interface(one).ip.compressed for one in _own(plan, version)]
            named = [_real(one) for one in plan.announced if one.prefix.length]
            word, private = _WORD[version], ", ".join(collapse(PRIVATE, version))
            kept = ", ".join([*ours, *collapse(named, version)])
            yield (
                f'iifname "{plan.interface}" fib daddr type local {word} daddr '
                f"{{ {private} }} {word} daddr != {{ {kept} }} counter drop"
            )


def _from_exit(plan: HostPlan) -> Iterator[str]:
    """Let an exit bring answers alone, and none that say they are of a LAN."""
    if plan.full_tunnel is None:
        return
    for version in (4, 6):
        inner = [ip_interface(one).network for one in _own(plan, version)]
        known = collapse((*map(_as_prefix, inner), *plan.routes), version)
        lan = collapse(plan.full_tunnel.lan, version)
        name, word = plan.interface, _WORD[version]
        if lan:
            yield f'iifname "{name}" {_match(version, "saddr", lan)} counter drop'
        if known:
            yield (
                f'iifname "{name}" {word} saddr != {{ {", ".join(known)} }} '
                "ct state invalid,new,untracked counter drop"
            )


def _own(plan: HostPlan, version: int) -> list[str]:
    return [one for one in plan.addresses if ip_interface(one).version == version]


def _as_prefix(network: IPv4Network | IPv6Network) -> Prefix:
    return Prefix.parse(str(network))


def _map_out(plan: HostPlan) -> Iterator[str]:
    name = plan.interface
    for one in plan.announced:
        word = _WORD[one.prefix.version]
        if one.mapped is not None:
            yield (
                f'oifname "{name}" {word} saddr {one.mapped} '
                f"snat {word} prefix to {one.prefix}"
            )
        if one.masquerade:
            match = _match(one.prefix.version, "daddr", [str(_real(one))])
            yield f'iifname "{name}" oifname != "{name}" {match} masquerade'


def _real(one: Announced) -> Prefix:
    """Return the prefix as the LAN knows it."""
    return one.prefix if one.mapped is None else one.mapped


def collapse(prefixes: Iterable[Prefix], version: int) -> list[str]:
    """Return the prefixes of one version in order, as few as say the same."""
    wanted = [prefix for prefix in prefixes if prefix.version == version]
    if version == 4:
        v4 = (IPv4Network((one.network, one.length)) for one in wanted)
        return [str(network) for network in collapse_addresses(v4)]
    v6 = (IPv6Network((one.network, one.length)) for one in wanted)
    return [str(network) for network in collapse_addresses(v6)]


def _match(version: int, side: str, prefixes: list[str]) -> str:
    """Return what matches an address: the version alone if it may be any."""
    if prefixes[0].endswith("/0"):
        return f"meta nfproto ipv{version}"
    return f"{_WORD[version]} {side} {{ {', '.join(prefixes)} }}"
