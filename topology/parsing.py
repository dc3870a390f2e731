"""Read a topology file into a `Description`, or say in one line what is wrong."""

import ipaddress
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from meshnode.simulation.nat_kinds import EXPIRY, NatKind
from topology.description import (
    Action,
    Description,
    Lan,
    Member,
    NatPlace,
    Network,
    Node,
    Route,
    Runs,
    Step,
)
from topology.parsing_steps import read_must, read_step
from topology.reading import NAME, DescriptionError, Table

LONGEST_NAME = 32
LONGEST_INTERFACE = 15
"""Of a network or LAN: they name interfaces, and this is the kernel's limit."""

_NAT_KEYS = ("nat", "outside", "expiry", "hairpin")


def load(path: Path) -> Description:
    """Read and check the file at *path*.

    Raises:
        DescriptionError: if it cannot be read or used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise DescriptionError(f"{path}: {reason}") from None
    return parse(text, path.name)


def parse(text: str, source: str) -> Description:
    """Read and check a description; *source* names it in complaints.

    Raises:
        DescriptionError: naming the key that is wrong, and the remedy.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{source}: not TOML: {error}") from None
    top = Table(source, "", values)
    top.only("network", "node", "lan", "step", "must")
    network = _network(top.table("network"))
    node_tables = [_named(table, "node") for table in top.tables("node")]
    lan_tables = [_named(table, "lan") for table in top.tables("lan")]
    nodes = tuple(_node(table) for table in node_tables)
    if not nodes:
        raise top.wrong("node", "is missing; add a table [[node]] for each host")
    _refuse_doubles(node_tables)
    _refuse_doubles(lan_tables)
    lans = tuple(_lan(table, nodes, network) for table in lan_tables)
    described = Description(source, network, nodes, lans, (), ())
    for table, node in zip(node_tables, nodes, strict=True):
        _check_place(table, node, described)
    step_tables = top.tables("step")
    steps = tuple(read_step(table, described) for table in step_tables)
    _refuse_doubles([table for table in step_tables if "name" in table.values])
    _check_membership(top, node_tables, nodes, steps)
    musts = tuple(read_must(table, described, steps) for table in top.tables("must"))
    return Description(source, network, nodes, lans, steps, musts)


def _network(table: Table) -> Network:
    table.only("name", "cidr")
    return Network(table.name("name", LONGEST_INTERFACE), table.network_v4("cidr"))


def _named(table: Table, kind: str) -> Table:
    """Let complaints call the table by its own name, if it has one."""
    name = table.values.get("name")
    if isinstance(name, str) and NAME.fullmatch(name):
        return table.called(f"{kind}[{name}]")
    return table


def _node(table: Table) -> Node:
    kind = Runs(table.choice("runs", [kind.value for kind in Runs]))
    meshnode = ("founder", "joins", "accept_routes", "groups", "routes")
    known = {Runs.MESHNODE: meshnode, Runs.ROUTER: _NAT_KEYS, Runs.PLAIN: ()}
    table.only("name", "runs", "gateway", *known[kind])
    if "joins" in table.values:
        table.choice("joins", ["invite"])
    return Node(
        table.name("name", LONGEST_NAME),
        kind,
        founder=table.flag("founder"),
        joins_at_start="joins" in table.values,
        accept_routes=table.flag("accept_routes"),
        groups=table.texts("groups"),
        routes=tuple(_route(route) for route in table.tables("routes")),
        gateway=table.text("gateway", ""),
        nat=_nat(table),
    )


def _nat(table: Table) -> NatPlace | None:
    if "nat" not in table.values:
        for key in _NAT_KEYS:
            if key in table.values:
                raise table.wrong(key, "goes with nat; give both or neither")
        return None
    kind = NatKind(table.choice("nat", [kind.value for kind in NatKind]))
    if kind is NatKind.OPEN:
        table.only("name", "runs", "gateway", "nat")
        return None
    if "outside" not in table.values:
        raise table.wrong("nat", "goes with outside; give both or neither")
    hairpin = table.flag("hairpin")
    if hairpin and kind is not NatKind.FULL_CONE:
        raise table.wrong("hairpin", 'needs nat = "full-cone"; leave it out')
    expiry = table.duration("expiry", EXPIRY)
    if expiry < 1:
        raise table.wrong("expiry", 'is too short; give at least "1s"')
    return NatPlace(kind, table.text("outside"), expiry, hairpin)


def _route(table: Table) -> Route:
    table.only("prefix", "metric", "weight", "masquerade", "map")
    prefix = table.network("prefix")
    mapped = table.network("map") if "map" in table.values else None
    if mapped and (mapped.version, mapped.prefixlen) != (
        prefix.version,
        prefix.prefixlen,
    ):
        raise table.wrong("map", f"must be as long as prefix, {prefix}")
    masquerade = "masquerade" not in table.values or table.flag("masquerade")
    metric = table.integer("metric", 0, 65535, default=100)
    weight = table.integer("weight", 1, 255, default=1)
    return Route(prefix, metric, weight, masquerade, mapped)


def _lan(table: Table, nodes: tuple[Node, ...], network: Network) -> Lan:
    table.only(
        *("name", "prefix", "prefix6", "members", "addresses"),
        *("latency", "jitter", "loss", "reorder", "rate", "mtu", "hops"),
    )
    name = table.name("name", LONGEST_INTERFACE)
    if name in ("lo", network.name):
        raise table.wrong(
            "name", f"an interface is called {name} already; choose another"
        )
    prefix6 = table.network_v6("prefix6")
    return Lan(
        name,
        table.network_v4("prefix"),
        prefix6,
        _members(table, {node.name for node in nodes}, prefix6),
        latency=table.duration("latency", 0.0),
        jitter=table.duration("jitter", 0.0),
        loss=table.share("loss"),
        rate=table.rate("rate"),
        mtu=table.integer("mtu", 1280, 65535, default=1500),
        reorder=table.share("reorder"),
        hops=table.integer("hops", 0, 32, default=0),
    )


def _members(
    table: Table, nodes: set[str], prefix6: ipaddress.IPv6Network | None
) -> tuple[Member, ...]:
    names = table.texts("members")
    if not names:
        raise table.wrong("members", "is missing; list the nodes in this LAN")
    prefix = table.network_v4("prefix")
    if prefix.num_addresses - 2 < len(names):
        raise table.wrong("prefix", f"{prefix} is too small for {len(names)} members")
    if prefix6 and prefix6.num_addresses - 1 < len(names):
        raise table.wrong("prefix6", f"{prefix6} is too small for {len(names)} members")
    chosen = _chosen_addresses(table, prefix, names)
    members, taken = list[Member](), dict[ipaddress.IPv4Address, str]()
    for number, name in enumerate(names, start=1):
        key = f"members[{number}]"
        if name not in nodes:
            raise table.wrong(key, f"no node is called {name!r}; add it or correct it")
        if any(member.node == name for member in members):
            raise table.wrong(key, f"{name} is in this LAN already; remove one")
        v4 = chosen.get(name, prefix[number])
        if v4 in taken:
            raise table.wrong("addresses", f"{taken[v4]} and {name} both have {v4}")
        taken[v4] = name
        members.append(Member(name, v4, prefix6[number] if prefix6 else None))
    return tuple(members)


def _chosen_addresses(
    table: Table, prefix: ipaddress.IPv4Network, members: tuple[str, ...]
) -> Mapping[str, ipaddress.IPv4Address]:
    chosen = {}
    for name, text in table.mapping("addresses").items():
        key = f"addresses.{name}"
        if name not in members:
            raise table.wrong(key, f"{name} is no member of this LAN; add or remove it")
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            raise table.wrong(key, f"{text!r} is no IPv4 address") from None
        ends = (prefix.network_address, prefix.broadcast_address)
        if address not in prefix or address in ends:
            raise table.wrong(key, f"{address} is no host's address in {prefix}")
        chosen[name] = address
    return chosen


def _refuse_doubles(tables: Sequence[Table]) -> None:
    seen = set()
    for table in tables:
        name = table.text("name")
        if name in seen:
            raise table.wrong("name", f"{name!r} is taken; choose another")
        seen.add(name)


def _check_place(table: Table, node: Node, described: Description) -> None:
    """Check what joins a node to the underlay."""
    lans = described.lans_of(node.name)
    if not lans:
        raise table.wrong("", "is in no LAN; add it to the members of one")
    for number, lan in enumerate(lans):
        for other in lans[:number]:
            both = f"{other.name} and {lan.name}"
            if lan.prefix.overlaps(other.prefix):
                raise table.wrong("", f"its LANs {both} have overlapping prefixes")
            if lan.prefix6 and other.prefix6 and lan.prefix6.overlaps(other.prefix6):
                raise table.wrong("", f"its LANs {both} have overlapping prefixes")
    if node.outside and node.outside not in [lan.name for lan in lans]:
        raise table.wrong("outside", f"{node.name} is in no LAN {node.outside!r}")
    if node.gateway:
        forwarding = [
            other.name for other in described.nodes if other.runs != Runs.PLAIN
        ]
        neighbours = {member.node for lan in lans for member in lan.members}
        near = neighbours - {node.name}
        if node.gateway not in near or node.gateway not in forwarding:
            raise table.wrong(
                "gateway", f"{node.gateway!r} is no meshnode node or router in its LANs"
            )


def _check_membership(
    top: Table, tables: list[Table], nodes: tuple[Node, ...], steps: tuple[Step, ...]
) -> None:
    """Check that one founds the network, and each other joins exactly once."""
    members = [node for node in nodes if node.runs is Runs.MESHNODE]
    founders = [node for node in members if node.founder]
    if members and len(founders) != 1:
        names = ", ".join(node.name for node in founders) or "none does"
        raise top.wrong(
            "node", f"exactly one meshnode node has founder = true; here: {names}"
        )
    for table, node in zip(tables, nodes, strict=True):
        joins = sum(
            step.action is Action.JOIN and step.node == node.name for step in steps
        )
        joins += node.joins_at_start
        if node.founder and node.groups:
            raise table.wrong("groups", "come with an invite; the founder has none")
        if node.founder and joins:
            raise table.wrong("founder", "the founder is a member: it does not join")
        if node in members and not node.founder and joins != 1:
            raise table.wrong(
                "joins",
                "joins twice or more; leave one"
                if joins
                else 'is missing; give "invite" or a step with do = "join"',
            )
