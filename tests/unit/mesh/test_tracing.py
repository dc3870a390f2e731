"""What becomes of a packet, told from what one node knows."""

from dataclasses import replace
from typing import Any

import pytest

from meshnode.codec.records import Member, Role, Route
from meshnode.hostplan import Service, Transport
from meshnode.mesh.policy import Directory, PolicyMember
from meshnode.mesh.policy_text import OPEN, parse_policy
from meshnode.mesh.routes import ACCEPT_ALL, MemberRoutes, build_table
from meshnode.mesh.tracing import Flow, Knowledge, Trace, trace
from meshnode.mesh.trust import VerifiedMember
from meshnode.types import Endpoint, Prefix
from tests.mesh_records import key_of, member

OVERLAY = (Prefix.parse("0.0.0.0/24"), Prefix.parse("fd00::/48"))
PLACE = Endpoint("192.0.2.1", 51820)
PING = Service(Transport.ICMP)
LAN = Prefix.parse("192.168.7.0/24")
PRINTER = Prefix.parse("192.168.7.9/32")


def person(
    number: int, *routes: Route, subnets: tuple[str, ...] = (), **changes: Any
) -> VerifiedMember:
    """Return member *number* at 0.0.0.NUMBER, which announces *routes*."""
    plain = member(number)
    certificate = replace(
        plain.certificate,
        name=f"m{number}",
        subnets=tuple(map(Prefix.parse, subnets)),
        **changes,
    )
    return replace(plain, certificate=certificate, member=Member(1, routes))


def knowing(
    *members: VerifiedMember,
    accept: tuple[Prefix, ...] = ACCEPT_ALL,
    announced: tuple[Prefix, ...] = (),
    unreachable: tuple[int, ...] = (),
    policy: str = "",
    complaints: tuple[str, ...] = (),
    exits: tuple[int, ...] = (),
    outside: tuple[Prefix, ...] = (),
) -> Knowledge:
    """Return what member 1, who is there too, knows of *members*."""
    everybody = (person(1), *members)
    table = build_table(
        [
            MemberRoutes(
                one.certificate,
                one.addresses[1].network.to_bytes(16, "big"),
                one.member,
            )
            for one in everybody
        ],
        own_key=key_of(1),
        overlay=OVERLAY,
        accept=accept,
        announced=announced,
        unhealthy=[key_of(number) for number in unreachable],
        exit_key=key_of(exits[0]) if exits else b"",
    )
    return Knowledge(
        key=key_of(1),
        members={one.key: one for one in everybody},
        overlay=OVERLAY,
        announced=announced,
        routing=table,
        policy=parse_policy(policy) if policy else OPEN,
        directory=Directory(
            PolicyMember(one.certificate.name, one.certificate.groups, one.addresses)
            for one in everybody
        ),
        unreachable=frozenset(key_of(number) for number in unreachable),
        has_session=lambda key: key == key_of(2),
        path_of=lambda key: PLACE if key == key_of(2) else None,
        complaints=complaints,
        exits=tuple(f"m{number}" for number in exits),
        outside=outside,
    )


def ask(known: Knowledge, to: Prefix | str, service: Service = PING) -> Trace:
    """Trace from member 1."""
    destination = Prefix.parse(to) if isinstance(to, str) else to
    return trace(Flow(Prefix.parse("0.0.0.1/32"), destination, service), known)


def gateway(number: int, metric: int = 100, weight: int = 1) -> VerifiedMember:
    """Return a member that carries the LAN."""
    return person(number, Route(LAN, metric, weight), subnets=(str(LAN),))


def test_a_member_is_reached_at_its_own_address() -> None:
    """The prefix is its address, and it alone carries the packet."""
    found = ask(knowing(person(2)), "0.0.0.2")
    assert str(found.prefix) == "0.0.0.2/32"
    (owner,) = found.owners
    assert (owner.name, owner.weight, owner.has_session) == ("m2", 1, True)
    assert owner.endpoint == PLACE
    assert found.obstacles == ()
    assert not found.ends_here


def test_our_own_address_ends_here() -> None:
    """Nothing is sent to ourselves."""
    found = ask(knowing(person(2)), "0.0.0.1")
    assert found.ends_here
    assert found.owners == ()
    assert found.obstacles == ()


def test_our_own_lan_ends_here_even_if_another_announces_more() -> None:
    """What we announce we reach without the mesh; what is inside another's, too."""
    wide = person(2, Route(Prefix.parse("192.168.0.0/16")), subnets=("192.168.0.0/16",))
    found = ask(knowing(wide, announced=(LAN,)), PRINTER)
    assert (found.prefix, found.ends_here, found.owners) == (LAN, True, ())


def test_a_more_specific_prefix_of_another_goes_before_our_own() -> None:
    """The longest match decides, as in every router."""
    inside = Prefix.parse("192.168.7.8/29")
    found = ask(
        knowing(person(2, Route(inside), subnets=(str(inside),)), announced=(LAN,)),
        PRINTER,
    )
    assert (found.prefix, found.ends_here) == (inside, False)


def test_several_gateways_share_or_stand_by() -> None:
    """Those of the best metric carry flows by weight; the rest have weight 0."""
    found = ask(knowing(gateway(2, 10, 3), gateway(3, 10), gateway(4, 20)), PRINTER)
    assert {one.name: (one.metric, one.weight) for one in found.owners} == {
        "m2": (10, 3),
        "m3": (10, 1),
        "m4": (20, 0),
    }


def test_a_silent_gateway_leaves_the_way_to_another() -> None:
    """That is no obstacle as long as somebody carries the packet."""
    found = ask(knowing(gateway(2, 10), gateway(3, 20), unreachable=(2,)), PRINTER)
    weights = {one.name: (one.weight, one.answers) for one in found.owners}
    assert weights == {"m2": (0, False), "m3": (1, True)}
    assert found.obstacles == ()


def test_nobody_answers() -> None:
    """A single silent owner is in the way."""
    found = ask(knowing(person(2), unreachable=(2,)), "0.0.0.2")
    assert found.obstacles == ("m2 does not answer",)
    both = ask(knowing(gateway(2), gateway(3), unreachable=(2, 3)), PRINTER)
    assert both.obstacles == ("m2, m3 do not answer",) or both.obstacles == (
        "m3, m2 do not answer",
    )


@pytest.mark.parametrize(
    ("members", "to", "expected"),
    [
        ((), "0.0.0.9", "no member has the address 0.0.0.9"),
        ((), "10.9.9.9", "no member announces a prefix with 10.9.9.9"),
        (
            (person(2, Route(LAN)),),
            "192.168.7.9",
            "192.168.7.0/24 behind m2 does not count: its certificate does not hold it",
        ),
        (
            (person(2, roles=Role.STOCK, gateways=(key_of(8),)),),
            "0.0.0.2",
            "no gateway of m2 is a member",
        ),
    ],
    ids=["nobody", "no route", "refused", "stock"],
)
def test_there_is_no_way(
    members: tuple[VerifiedMember, ...], to: str, expected: str
) -> None:
    """The reason is the one that the administrator can do something about."""
    found = ask(knowing(*members), to)
    assert found.prefix is None
    assert not found.ends_here
    assert found.obstacles == (expected,)


def test_a_route_that_is_not_accepted_is_named() -> None:
    """With whose it is, and where that is decided."""
    (text,) = ask(knowing(gateway(2), accept=()), PRINTER).obstacles
    assert text.startswith("192.168.7.0/24 behind m2 is not accepted here")
    assert "[routes]" in text


def test_a_stock_member_is_reached_through_its_gateway() -> None:
    """The gateway is the owner of its addresses."""
    phone = replace(person(3, roles=Role.STOCK, gateways=(key_of(2),)), member=None)
    (owner,) = ask(knowing(person(2), phone), "0.0.0.3").owners
    assert owner.name == "m2"


DENY = """
default = "deny"
[[rule]]
from = "m9"
to = "*"
allow = "any"
[[rule]]
from = "m1"
to = "192.168.7.0/24"
allow = "tcp:22"
"""


def test_the_policy_names_its_rule() -> None:
    """Whoever asks why sees which rule it was."""
    known = knowing(gateway(2), policy=DENY)
    found = ask(known, PRINTER, Service(Transport.TCP, 22, 22))
    assert (found.verdict.allowed, found.verdict.rule) == (True, 2)
    assert found.obstacles == ()


def test_what_the_policy_denies_says_where() -> None:
    """The filter is at the receiving side."""
    known = knowing(gateway(2), policy=DENY)
    found = ask(known, PRINTER, Service(Transport.TCP, 23, 23))
    assert not found.verdict.allowed
    assert found.obstacles == ("the policy denies it at m2: no rule",)


def test_what_arrives_here_is_judged_here() -> None:
    """What we send to ourselves crosses no filter."""
    known = knowing(person(2), policy=DENY)
    ours = Prefix.parse("0.0.0.1/32")
    other = Prefix.parse("0.0.0.2/32")
    assert trace(Flow(ours, ours, PING), known).obstacles == ()
    found = trace(Flow(other, ours, PING), known)
    assert found.ends_here
    assert found.obstacles == ("the policy denies it at m1: no rule",)


def test_a_device_behind_us_speaks_first() -> None:
    """Before that nobody knows where it is."""
    behind: Any = {"roles": Role.STOCK, "gateways": (key_of(1),)}
    silent = replace(person(3, **behind), member=None)
    (text,) = ask(knowing(silent), "0.0.0.3").obstacles
    assert text.startswith("m3 was not heard of yet")
    heard = replace(person(2, **behind), member=None)
    assert ask(knowing(heard), "0.0.0.2").obstacles == ()


def test_a_complaint_about_the_prefix_is_an_obstacle() -> None:
    """A conflict with the host's own networks is; another prefix's is not."""
    complaint = "192.168.7.0/24 is not taken: eth0 is connected to it"
    other = "192.168.77.0/24 is not taken: eth0 is connected to it"
    found = ask(knowing(gateway(2), complaints=(complaint, other)), PRINTER)
    assert found.obstacles == (complaint,)


def test_asking_twice_gives_the_same() -> None:
    """Tracing has no memory."""
    known = knowing(gateway(2), gateway(3), unreachable=(3,))
    assert ask(known, PRINTER) == ask(known, PRINTER)


def leave(number: int, *routes: str) -> VerifiedMember:
    """Return an exit that carries these."""
    said = [Route(Prefix.parse(route)) for route in routes]
    return person(number, *said, subnets=routes, roles=Role.EXIT)


def test_the_internet_is_beyond_the_exit() -> None:
    """It carries what it offers; what it does not is dropped, and so said."""
    known = knowing(leave(2, "0.0.0.0/0"), exits=(2,))
    found = ask(known, "192.0.2.9")
    assert str(found.prefix) == "0.0.0.0/0"
    assert [owner.name for owner in found.owners] == ["m2"]
    assert found.obstacles == ()
    source = Prefix.parse("fd00::1")
    beyond = trace(Flow(source, Prefix.parse("2001:db8::9"), PING), known)
    assert beyond.obstacles == ("no exit that is used (m2) carries IPv6: dropped",)
    silent = knowing(leave(2, "0.0.0.0/0"), exits=(2,), unreachable=(2,))
    assert ask(silent, "192.0.2.9").obstacles == ("m2 does not answer",)


def test_what_was_left_outside_is_not_the_meshs() -> None:
    """But a prefix of a member comes before, for it is more special."""
    outside = (Prefix.parse("192.168.0.0/16"),)
    known = knowing(leave(2, "0.0.0.0/0"), gateway(3), exits=(2,), outside=outside)
    found = ask(known, "192.168.1.1")
    assert (found.is_outside, found.owners, found.obstacles) == (True, (), ())
    assert found.prefix == outside[0]
    assert [owner.name for owner in ask(known, PRINTER).owners] == ["m3"]
