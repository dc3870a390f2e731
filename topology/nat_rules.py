"""The kinds of NAT as nftables rules. Pure.

The kernel's conntrack does the mapping. By itself it is a cone that filters by address
and port; what is more or less than that are the rules here. Where a kind lets in who
was not spoken to, a map learns who is behind each port, from what leaves.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Final

from meshnode.simulation.nat_kinds import (
    BEHAVIOURS,
    BLOCK,
    FIRST_IN_SEQUENCE,
    SEQUENCE,
    NatKind,
    Scope,
)
from topology.description import NatPlace

_BLOCK_START: Final = 20 * BLOCK
_CHANGED: Final = "20000-29999"

_FULL_CONE: Final = NatKind.FULL_CONE
_CONES: Final = (NatKind.FULL_CONE, NatKind.ADDRESS_RESTRICTED)


def variables(place: NatPlace) -> dict[str, int]:
    """Return the kernel variables, of a namespace or a machine, for a NAT's expiry."""
    seconds = round(place.expiry)
    # One for flows that nobody answered yet, one for the others.
    return {
        f"net.netfilter.nf_conntrack_{key}": seconds
        for key in ("udp_timeout", "udp_timeout_stream")
    }


def rules(
    place: NatPlace,
    interface: str,
    address: str,
    inside: Sequence[tuple[str, IPv4Network]],
) -> str:
    """Return the rules of a NAT whose outer *interface* has *address*.

    *inside* are the other interfaces with the prefixes behind them. The rules replace
    themselves: they can be loaded again.
    """
    kind, out = place.kind, f'oifname "{interface}"'
    lines = [
        *_anew("ip nat", "ip6 nat", "inet outside"),
        "table ip nat {",
        *(_learning(kind, out, round(place.expiry)) if kind in _CONES else ()),
        "chain post {",
        "type nat hook postrouting priority srcnat;",
        *(_turned_back(address, inside) if place.hairpin else ()),
        *_source(kind, out, address),
        "}",
        *(_admitting(place, interface, address, inside) if kind in _CONES else ()),
        "}",
        # IPv6 is only ever masqueraded: the kinds are of IPv4.
        "table ip6 nat {",
        "chain post {",
        "type nat hook postrouting priority srcnat;",
        f"{out} masquerade",
        "}",
        "}",
        "table inet outside {",
        *_firewall(kind, interface),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _anew(*tables: str) -> Iterator[str]:
    """Yield what removes tables, whether or not they are there."""
    for table in tables:
        yield f"table {table}"
        yield f"delete table {table}"


def _source(kind: NatKind, out: str, address: str) -> Iterator[str]:
    """Yield what rewrites the source of what leaves."""
    udp = f"{out} meta l4proto udp"
    match kind:
        case NatKind.PORT_CHANGING:
            yield f"{udp} masquerade to :{_CHANGED}"
        case NatKind.SYMMETRIC | NatKind.SYMMETRIC_POISONABLE:
            yield f"{udp} masquerade fully-random"
        case NatKind.SYMMETRIC_BLOCK:
            last = _BLOCK_START + BLOCK - 1
            yield f"{udp} masquerade to :{_BLOCK_START}-{last} fully-random"
        case NatKind.SYMMETRIC_SEQUENTIAL:
            ports = ", ".join(
                f"{number} : {address} . {FIRST_IN_SEQUENCE + number}"
                for number in range(SEQUENCE)
            )
            yield (
                f"{udp} snat ip addr . port to numgen inc mod {SEQUENCE} "
                f"map {{ {ports} }}"
            )
        case _:
            pass
    yield f"{out} masquerade"


def _learning(kind: NatKind, out: str, expiry: int) -> Iterator[str]:
    """Yield the map of who is behind each port, and what fills it.

    It is filled before the source is rewritten, so the port is the inner one: the
    kinds that learn keep the port.
    """
    dynamic = f"flags dynamic,timeout; timeout {expiry}s;"
    yield f"map cone {{ type inet_service : ipv4_addr; {dynamic} }}"
    if kind is not _FULL_CONE:
        yield f"set spoken {{ type inet_service . ipv4_addr; {dynamic} }}"
    yield "chain learn {"
    yield "type filter hook postrouting priority 90;"
    yield f"{out} meta l4proto udp update @cone {{ udp sport : ip saddr }}"
    if kind is not _FULL_CONE:
        yield f"{out} meta l4proto udp update @spoken {{ udp sport . ip daddr }}"
    yield "}"


def _admitting(
    place: NatPlace,
    interface: str,
    address: str,
    inside: Sequence[tuple[str, IPv4Network]],
) -> Iterator[str]:
    """Yield what lets a peer in that nobody spoke to, or not from that port."""
    is_restricted = BEHAVIOURS[place.kind].filtering is not Scope.ENDPOINT_INDEPENDENT
    spoken = "udp dport . ip saddr @spoken " if is_restricted else ""
    yield "chain pre {"
    yield "type nat hook prerouting priority dstnat;"
    yield f'iifname "{interface}" meta l4proto udp {spoken}dnat to udp dport map @cone'
    if place.hairpin:
        for name, _ in inside:
            yield (
                f'iifname "{name}" ip daddr {address} meta l4proto udp '
                "dnat to udp dport map @cone"
            )
    yield "}"


def _turned_back(
    address: str, inside: Sequence[tuple[str, IPv4Network]]
) -> Iterator[str]:
    """Yield what gives a packet that is sent back in its outer source."""
    for name, prefix in inside:
        yield f'oifname "{name}" ip saddr {prefix} snat to {address}'


def _firewall(kind: NatKind, interface: str) -> Iterator[str]:
    """Yield what the router lets in, and out.

    What the router itself takes in is what poisons it: conntrack keeps an entry.
    """
    behaviour = BEHAVIOURS[kind]
    yield "chain to_router {"
    yield "type filter hook input priority filter;"
    if not behaviour.poisonable:
        yield f'iifname "{interface}" meta l4proto udp ct state new drop'
    yield "}"
    yield "chain through {"
    yield "type filter hook forward priority filter;"
    yield f'iifname "{interface}" ct state new ct status & dnat == 0 drop'
    if behaviour.blocks_udp:
        yield f'oifname "{interface}" meta l4proto udp drop'
        yield f'oifname "{interface}" tcp dport != 443 drop'
    yield "}"
