"""From rules to a plan."""

from meshnode.hostplan import Service, Transport
from meshnode.node.steer_plan import Ground, Lookups, make_plan
from meshnode.steering import (
    ControlGroup,
    Door,
    SteerRule,
    SteerStep,
    ViaDirect,
    ViaExit,
    ViaNowhere,
)
from meshnode.types import Prefix

GROUND = Ground("home", "mesh", 1, 256, 7, 8, 9, (Prefix.parse("10.77.0.0/16"),))
GROUP = ControlGroup("user.slice", 1, 5)
LOOKUPS = Lookups(
    user={"alice": 1000}.get,
    group={"/user.slice": GROUP}.get,
    door=lambda via: Door(1, 2),
    forwards=lambda: True,
)


def test_everything_is_looked_up() -> None:
    """Names become numbers, ways doors; the rest stays."""
    to, ports = (Prefix.parse("192.0.2.0/24"),), (Service(Transport.TCP, 1, 2),)
    rules = [
        SteerRule(ViaExit("paris"), to, ("example.org",), ports, ("alice", "7")),
        SteerRule(ViaDirect(), groups=("/user.slice",)),
        SteerRule(ViaNowhere()),
    ]
    plan, problems = make_plan(rules, GROUND, LOOKUPS)
    assert problems == ()
    assert plan.steps == (
        SteerStep(Door(1, 2), to, "example.org", ports, (1000, 7)),
        SteerStep(ViaDirect(), groups=(GROUP,)),
        SteerStep(ViaNowhere()),
    )
    assert (plan.network, plan.mark, plan.group) == ("home", 256, 9)
    assert plan.forwards


def test_who_is_not_there_is_said_and_matches_nothing() -> None:
    """A rule for nobody must not become one for everybody."""
    rules = [SteerRule(ViaNowhere(), users=("bob",), groups=("/nope",))]
    plan, problems = make_plan(rules, GROUND, LOOKUPS)
    assert plan.steps == (SteerStep(ViaNowhere(), uids=(), groups=()),)
    assert problems[0] == "rule 1: this host has no user bob"
    assert problems[1].startswith("rule 1: there is no control group /nope")
