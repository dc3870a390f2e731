"""Read what happens in a topology file, and what must hold."""

import ipaddress
from collections.abc import Callable, Mapping

from topology.description import (
    WITHIN,
    Action,
    Description,
    Must,
    Runs,
    Step,
    Target,
)
from topology.reading import Table

_STEP_KEYS: Mapping[Action, tuple[str, ...]] = {
    Action.JOIN: ("node",),
    Action.PING: ("node", "to", "within"),
    Action.KILL: ("node",),
    Action.STOP: ("node",),
    Action.START: ("node",),
    Action.CUT: ("node", "lan", "to"),
    Action.HEAL: ("node", "lan", "to"),
    Action.BLACKHOLE: ("node", "to"),
    Action.REBIND: ("node",),
    Action.WAIT: ("for",),
}


def read_step(table: Table, described: Description) -> Step:
    """Read a table [[step]]; *described* has the nodes and LANs.

    Raises:
        DescriptionError: naming the key that is wrong.
    """
    action = Action(table.choice("do", [action.value for action in Action]))
    table.only("do", "name", *_STEP_KEYS[action])
    name = table.text("name", "")
    if action is Action.WAIT:
        return Step(action, name, seconds=table.duration("for"))
    node = _existing(table, "node", described)
    if action is Action.PING:
        target = _target(table, "to", described)
        seconds = table.duration("within", WITHIN)
        return Step(action, name, node, target=target, seconds=seconds)
    if action in (Action.CUT, Action.HEAL):
        return _cut(table, action, name, node, described)
    if action is Action.BLACKHOLE:
        return Step(action, name, node, other=_neighbour(table, node, described))
    if action is Action.REBIND:
        if described.node(node).nat is None:
            raise table.wrong("node", f"{node} has no NAT; name a router that has")
        return Step(action, name, node)
    if described.node(node).runs is not Runs.MESHNODE:
        raise table.wrong(
            "node", f"{node} does not run meshnode: it cannot {action.value}"
        )
    return Step(action, name, node)


def _cut(
    table: Table, action: Action, name: str, node: str, described: Description
) -> Step:
    if ("lan" in table.values) == ("to" in table.values):
        raise table.wrong("lan", "give either lan or to, a node")
    if "lan" in table.values:
        lan = table.text("lan")
        if lan not in [lan.name for lan in described.lans_of(node)]:
            raise table.wrong("lan", f"{node} is in no LAN {lan!r}")
        return Step(action, name, node, lan=lan)
    return Step(action, name, node, other=_neighbour(table, node, described))


def _neighbour(table: Table, node: str, described: Description) -> str:
    """Read `to`, a node that shares a LAN with *node*."""
    other = _existing(table, "to", described)
    if other == node or not any(lan.member(other) for lan in described.lans_of(node)):
        raise table.wrong(
            "to", f"{node} and {other} share no LAN; cut one of them off it"
        )
    return other


def read_must(table: Table, described: Description, steps: tuple[Step, ...]) -> Must:
    """Read a table [[must]]; *described* has the nodes and LANs.

    Raises:
        DescriptionError: naming the key that is wrong.
    """
    table.only("from", "reach", "not_reach", "within", "after")
    if ("reach" in table.values) == ("not_reach" in table.values):
        raise table.wrong("reach", "give either reach or not_reach")
    reached = "reach" in table.values
    after = table.text("after", "")
    if after and after not in [step.name for step in steps]:
        raise table.wrong(
            "after", f"no step is called {after!r}; name one or correct it"
        )
    return Must(
        _existing(table, "from", described),
        _target(table, "reach" if reached else "not_reach", described),
        reached,
        table.duration("within", WITHIN),
        after,
    )


def _existing(table: Table, key: str, described: Description) -> str:
    name = table.text(key)
    if name not in [node.name for node in described.nodes]:
        raise table.wrong(key, f"no node is called {name!r}; add it or correct it")
    return name


def _target(table: Table, key: str, described: Description) -> Target:
    text = table.text(key)
    name, at, lan = text.partition("@")
    nodes = {node.name: node for node in described.nodes}
    if name not in nodes:
        if _is_address(text):
            return Target(text)
        raise table.wrong(key, f"{text!r} is no node, NODE@LAN or address")
    lans = [lan.name for lan in described.lans_of(name)]
    if at and lan not in lans:
        raise table.wrong(key, f"{name} is in no LAN {lan!r}")
    if not at and nodes[name].runs is not Runs.MESHNODE:
        lan = lans[0]
    return Target(text, name, lan)


def _is_address(text: str) -> bool:
    parse_address: Callable[[str], object] = ipaddress.ip_address
    try:
        parse_address(text)
    except ValueError:
        return False
    return True
