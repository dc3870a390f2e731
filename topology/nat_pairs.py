"""Any two kinds of NAT against each other, for tests that go through all pairs.

    underlay = build(lab, pair(NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED))
    a, b = underlay.hosts["a"], underlay.hosts["b"]
    underlay.router("box-a").rebind()
    underlay.blackhole("box-a", "box-b")

The same description and verbs serve the simulation (`topology.simulated_underlay`).
"""

from dataclasses import replace
from pathlib import Path

from meshnode.simulation.nat_kinds import NatKind
from topology.description import Description, NatPlace, Node
from topology.parsing import load

_HOMES = Path(__file__).with_name("nat-restricted.toml")


def pair(one: NatKind, other: NatKind) -> Description:
    """Return two homes and a hub: `a` is behind a NAT like *one*, `b` like *other*.

    Their routers are `box-a` and `box-b`; an open one only forwards. All three are on
    an internet with 20 ms one way and two routers on the way.
    """
    homes = load(_HOMES)
    kinds = {"box-a": one, "box-b": other}
    nodes = tuple(
        _with_nat(node, kinds[node.name]) if node.name in kinds else node
        for node in homes.nodes
    )
    return replace(homes, source=f"{one.value} × {other.value}", nodes=nodes)


def _with_nat(router: Node, kind: NatKind) -> Node:
    assert router.nat is not None
    nat: NatPlace | None = replace(router.nat, kind=kind)
    return replace(router, nat=None if kind is NatKind.OPEN else nat)
