"""The verbs of the control socket that concern steering."""

import pwd
from typing import Any

import trio

from meshnode.host.steering import Counted
from meshnode.hostplan import Service, Transport
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.toml_reader import Table
from meshnode.node.mesh_steer import MeshSteer
from meshnode.steering import SteeredFlow, SteerRule, ViaDirect, ViaExit
from meshnode.types import Prefix

RULES = (
    SteerRule(
        ViaExit("paris"),
        to=(Prefix.parse("192.0.2.0/24"),),
        domains=("example.org",),
        ports=(Service(Transport.UDP, 1, 9),),
        users=("alice",),
        groups=("/user.slice",),
    ),
    SteerRule(ViaDirect()),
)


class FakeKeeper:
    """A keeper of `RULES`."""

    def __init__(self) -> None:
        self.rules = RULES
        self.problems = ("rule 1: this host has no user alice",)
        self.flows: list[SteeredFlow] = []

    async def counted(self) -> list[Counted]:
        """Of the first only, as if the second were not in force yet."""
        return [Counted(3, 120)]

    def learnt(self) -> list[dict[str, int]]:
        """One address of the first rule."""
        return [{"192.0.2.1": 60}, {}]

    async def check(self, rules: Any) -> list[str]:
        """Nothing is wrong."""
        return []

    def explain(self, flow: SteeredFlow) -> int | None:
        """Everything meets the second, but what has port 9."""
        self.flows.append(flow)
        return None if flow.service.first == 9 else 1


def ask(verb: str, *, configured: tuple[SteerRule, ...] = RULES) -> Any:
    """Return the answer of a verb."""
    keeper: Any = FakeKeeper()
    steer = MeshSteer(keeper, lambda: NetworkConfig("home", steer=configured))
    return trio.run(steer.verbs()[verb], Table({}, verb))


def test_rules_are_listed_with_what_they_met() -> None:
    """In their order, from 1."""
    found = ask("steer list")
    assert found["rules"][0] == {
        "number": 1,
        "to": ["192.0.2.0/24"],
        "domains": ["example.org"],
        "ports": ["udp:1-9"],
        "users": ["alice"],
        "groups": ["/user.slice"],
        "via": "exit:paris",
        "packets": 3,
        "bytes": 120,
        "learnt": {"192.0.2.1": 60},
    }
    assert (found["rules"][1]["number"], found["rules"][1]["packets"]) == (2, 0)
    assert found["problems"] == ["rule 1: this host has no user alice"]


def test_a_file_is_checked() -> None:
    """And whether its rules are those in force."""
    assert ask("steer check")["isInForce"]
    found = ask("steer check", configured=RULES[1:])
    assert not found["isInForce"]
    assert [rule["via"] for rule in found["rules"]] == ["direct"]


def test_a_trace_meets_a_rule() -> None:
    """Users are meant by name and by number."""
    keeper: Any = FakeKeeper()
    steer = MeshSteer(keeper, lambda: NetworkConfig("home"))
    to, service = Prefix.parse("192.0.2.1"), Service(Transport.TCP, 80, 80)
    root = pwd.getpwuid(0).pw_name
    met = {"rule": 2, "via": "direct"}
    for user in (root, "0"):
        assert steer.trace(to, service, user, "/x", "example.org") == met
        assert keeper.flows[-1].users == {root, "0"}
    assert (keeper.flows[-1].group, keeper.flows[-1].domain) == ("/x", "example.org")
    assert steer.trace(to, service, "no-such-user", "", "") == met
    assert keeper.flows[-1].users == {"no-such-user"}
    assert steer.trace(to, service, "9" * 30, "", "") == met
    assert steer.trace(to, Service(Transport.TCP, 9, 9), "", "", "") is None
    assert keeper.flows[-1].users == frozenset()
