"""Which rule a flow meets."""

import pytest

from meshnode.hostplan import Service, Transport
from meshnode.steering import (
    Door,
    SteeredFlow,
    SteerPlan,
    SteerRule,
    SteerStep,
    ViaDirect,
    ViaExit,
    ViaMesh,
    ViaNowhere,
    ViaProxy,
    first_match,
    normal_name,
    rules_for_name,
)
from meshnode.types import Prefix

P = Prefix.parse


def flow(address: str = "198.51.100.7", port: int = 443, **more: object) -> SteeredFlow:
    """Return a TCP flow."""
    service = Service(Transport.TCP, port, port)
    return SteeredFlow(P(address), service, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        (SteerRule(ViaDirect()), True),
        (SteerRule(ViaDirect(), to=(P("198.51.100.0/24"),)), True),
        (SteerRule(ViaDirect(), to=(P("::/0"), P("10.0.0.0/8"))), False),
        (SteerRule(ViaDirect(), to=(P("0.0.0.0/0"),)), True),
        (SteerRule(ViaDirect(), domains=("example.org",)), True),
        (SteerRule(ViaDirect(), domains=("ample.org",)), False),
        (SteerRule(ViaDirect(), to=(P("::/0"),), domains=("example.org",)), True),
        (SteerRule(ViaDirect(), ports=(Service(Transport.TCP, 400, 500),)), True),
        (SteerRule(ViaDirect(), ports=(Service(Transport.UDP, 443, 443),)), False),
        (SteerRule(ViaDirect(), ports=(Service(Transport.TCP, 1, 442),)), False),
        (SteerRule(ViaDirect(), users=("bob", "1000")), True),
        (SteerRule(ViaDirect(), users=("bob",)), False),
        (SteerRule(ViaDirect(), groups=("/user.slice",)), True),
        (SteerRule(ViaDirect(), groups=("/user",)), False),
    ],
)
def test_one_rule(rule: SteerRule, met: bool) -> None:
    """Within a field any will do, and every field must."""
    one = flow(
        users=frozenset(("alice", "1000")),
        group="/user.slice/app",
        domain="www.Example.org.",
    )
    assert first_match([rule], one) == (0 if met else None)


def test_the_first_that_fits_wins() -> None:
    """Those before it do not fit, those after it are not asked."""
    rules = [
        SteerRule(ViaNowhere(), ports=(Service(Transport.TCP, 80, 80),)),
        SteerRule(ViaMesh(), domains=("example.org",)),
        SteerRule(ViaDirect()),
    ]
    assert first_match(rules, flow()) == 2
    assert first_match(rules, flow(learnt=frozenset((1,)))) == 1
    assert first_match(rules, flow(port=80, learnt=frozenset((1,)))) == 0
    assert first_match(rules[:1], flow()) is None


def test_names_belong_to_rules_above_them() -> None:
    """Without regard to case and a final dot."""
    rules = [
        SteerRule(ViaMesh(), domains=("example.org",)),
        SteerRule(ViaMesh(), domains=("org", "example.net")),
    ]
    assert rules_for_name(rules, "www.Example.ORG.") == (0, 1)
    assert rules_for_name(rules, "example.net") == (1,)
    assert rules_for_name(rules, "example.com") == ()
    assert normal_name("A.B.") == "a.b"


@pytest.mark.parametrize(
    ("via", "words"),
    [
        (ViaMesh(), "mesh"),
        (ViaDirect(), "direct"),
        (ViaNowhere(), "refuse"),
        (ViaExit("paris"), "exit:paris"),
        (
            ViaProxy("socks5", "2001:db8::1", 1080, "bob"),
            "socks5://bob@[2001:db8::1]:1080",
        ),
        (ViaProxy("http", "proxy.example.org", 3128), "http://proxy.example.org:3128"),
    ],
)
def test_ways_are_written_as_they_are_read(via: object, words: str) -> None:
    """As in the configuration."""
    assert str(via) == words


def test_doors_of_a_plan() -> None:
    """Each once, though several rules lead there."""
    doors = Door(1, 10, 11, 12, 13), Door(2, 20)
    steps = tuple(SteerStep(way) for way in (doors[1], ViaMesh(), *doors, doors[1]))
    plan = SteerPlan("home", "mesh", 1, 256, 7, 8, 9, (), steps)
    assert plan.doors == (doors[1], doors[0])
    assert doors[0].port(Transport.UDP, 6) == 13
    assert doors[1].port(Transport.UDP, 4) == 0
    assert not SteerStep(ViaMesh()).has_destination
    assert SteerStep(ViaMesh(), learns="example.org").has_destination
