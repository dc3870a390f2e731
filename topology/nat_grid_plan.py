"""The network of the NAT grid: hubs in the open, and hosts behind NATs of every kind.

Who speaks to whom is chosen later. Hosts of a small mesh all gossip with each other;
so there are several of a kind, and a pair is found that are strangers yet.
"""

from collections.abc import Iterable
from dataclasses import replace

from meshnode.simulation.grid_cells import SHORT
from meshnode.simulation.nat_kinds import NatKind
from topology.description import Description, Node
from topology.parsing import parse

HUBS = ("r1", "r2", "r3")
NETWORK = "grid"
INTERNET = "internet"

_HEAD = f"""
network = {{ name = "{NETWORK}", cidr = "10.77.0.0/16" }}
[[node]]
name = "r1"
runs = "meshnode"
founder = true
[[node]]
name = "r2"
runs = "meshnode"
joins = "invite"
[[node]]
name = "r3"
runs = "meshnode"
joins = "invite"
"""

_OPEN = """
[[node]]
name = "{name}"
runs = "meshnode"
joins = "invite"
"""

_HIDDEN = """
[[node]]
name = "box-{name}"
runs = "router"
nat = "{kind}"
outside = "internet"
[[node]]
name = "{name}"
runs = "meshnode"
joins = "invite"
gateway = "box-{name}"
[[lan]]
name = "home{number}"
prefix = "192.168.{number}.0/24"
members = ["box-{name}", "{name}"]
"""

_INTERNET = """
[[lan]]
name = "internet"
prefix = "198.18.0.0/24"
members = [{members}]
latency = "20ms"
hops = 2
"""


def hosts_of(kinds: Iterable[NatKind], of_a_kind: int) -> dict[NatKind, list[str]]:
    """Return the names of the hosts behind each kind."""
    return {
        kind: [f"{SHORT[kind]}-{number}" for number in range(1, 1 + of_a_kind)]
        for kind in dict.fromkeys(kinds)
    }


def describe(hosts: dict[NatKind, list[str]]) -> Description:
    """Return the network: `HUBS`, and each host of *hosts* behind a box of its own.

    Who is behind a NAT that blocks UDP must be enrolled first: `blocked_boxes` are
    those routers, and they let UDP pass here.
    """
    parts, members, number = [_HEAD], list(HUBS), 0
    for kind, names in hosts.items():
        for name in names:
            number += 1
            if kind is NatKind.OPEN:
                parts.append(_OPEN.format(name=name))
                members.append(name)
                continue
            shown = NatKind.PORT_RESTRICTED if kind is NatKind.BLOCKED else kind
            parts.append(_HIDDEN.format(name=name, kind=shown.value, number=number))
            members.append(f"box-{name}")
    quoted = ", ".join(f'"{member}"' for member in members)
    parts.append(_INTERNET.format(members=quoted))
    return parse("".join(parts), "the NAT grid")


def blocked_boxes(
    description: Description, hosts: dict[NatKind, list[str]]
) -> list[Node]:
    """Return the routers that are to let no UDP pass, as they are then."""
    boxes = []
    for name in hosts.get(NatKind.BLOCKED, ()):
        box = description.node(f"box-{name}")
        assert box.nat is not None
        boxes.append(replace(box, nat=replace(box.nat, kind=NatKind.BLOCKED)))
    return boxes


def rounds(
    pairs: Iterable[tuple[NatKind, NatKind]], at_once: int
) -> list[list[tuple[NatKind, NatKind]]]:
    """Split *pairs* into rounds of at most *at_once*.

    In none does a kind begin twice, or is it reached twice.
    """
    waiting, split = list(pairs), []
    while waiting:
        chosen: list[tuple[NatKind, NatKind]] = []
        for pair in waiting:
            fits = all(pair[0] is not a and pair[1] is not b for a, b in chosen)
            if fits and len(chosen) < at_once:
                chosen.append(pair)
        for pair in chosen:
            waiting.remove(pair)
        split.append(chosen)
    return split
