"""The text of the steering table, line by line."""

from dataclasses import replace

from meshnode.host.steer_text import (
    door_mark,
    door_mask,
    learnt_text,
    steer_table_name,
    steer_text,
)
from meshnode.hostplan import Service, Transport
from meshnode.steering import (
    ControlGroup,
    Door,
    SteerPlan,
    SteerStep,
    ViaDirect,
    ViaMesh,
    ViaNowhere,
)
from meshnode.types import Prefix

P = Prefix.parse
DOOR = Door(3, tcp4=1001, tcp6=1002, udp4=1003, udp6=1004)


def plan(*steps: SteerStep) -> SteerPlan:
    """Return a plan of these steps."""
    overlay = (P("10.77.0.0/16"), P("fd00::/48"))
    return SteerPlan("a.b", "home", 0x6D6E, 0x6D730100, 7, 8, 9, overlay, steps)


def rules(*steps: SteerStep) -> list[str]:
    """Return the lines of the chain in which first packets meet the rules."""
    return chain("rules", *steps)


def chain(name: str, *steps: SteerStep) -> list[str]:
    """Return the lines of a chain."""
    text = steer_text(plan(*steps), {})
    head = f"\tchain {name} {{\n"
    if head not in text:
        return []
    body = text.partition(head)[2].partition("\t}")[0]
    return [line.strip() for line in body.splitlines()]


def test_the_whole_of_a_small_table() -> None:
    """As it is loaded."""
    text = steer_text(plan(SteerStep(ViaNowhere(), to=(P("192.0.2.0/24"),))), {})
    assert text.splitlines() == [
        "add table inet meshnode_a_b_steer",
        "delete table inet meshnode_a_b_steer",
        "table inet meshnode_a_b_steer {",
        "\tset to0_4 {",
        "\t\ttype ipv4_addr; flags interval;",
        "\t\telements = { 192.0.2.0/24 }",
        "\t}",
        "\tcounter rule0 { }",
        "\tchain refused {",
        "\t\tmeta l4proto tcp reject with tcp reset",
        "\t\treject with icmpx admin-prohibited",
        "\t}",
        "\tchain rule0 {",
        "\t\tcounter name rule0",
        "\t\tgoto refused",
        "\t}",
        "\tchain rules {",
        "\t\tip daddr @to0_4 goto rule0",
        "\t}",
        "\tchain classify {",
        "\t\tmeta mark != 0 return",
        "\t\tct direction reply return",
        "\t\tfib daddr type != unicast return",
        "\t\tip daddr 169.254.0.0/16 return",
        "\t\tip6 daddr fe80::/10 return",
        "\t\tip daddr { 10.77.0.0/16 } return",
        "\t\tip6 daddr { fd00::/48 } return",
        "\t\tct state != new return",
        "\t\ttcp flags & (fin | syn | rst | ack) != syn return",
        "\t\tjump rules",
        "\t}",
        "\tchain begin {",
        "\t\ttype route hook output priority mangle; policy accept;",
        "\t\tmeta skgid 9 return",
        "\t\tjump classify",
        "\t}",
        "}",
    ]


def test_prefixes_inside_of_others_are_left_out() -> None:
    """The kernel refuses sets with both."""
    to = (P("10.0.0.0/8"), P("10.1.0.0/16"), P("11.0.0.0/8"), P("::/0"), P("fd00::/8"))
    text = steer_text(plan(SteerStep(ViaMesh(), to=to)), {})
    assert "elements = { 10.0.0.0/7 }" in text
    assert "elements = { ::/0 }" in text


def test_what_a_rule_matches() -> None:
    """Every kind of destination with every kind of service and sender."""
    step = SteerStep(
        ViaMesh(),
        to=(P("192.0.2.0/24"),),
        learns="example.org",
        services=(
            Service(Transport.UDP, 53, 53),
            Service(Transport.TCP, 80, 90),
            Service(Transport.TCP, 91, 99),
            Service(Transport.TCP, 443, 443),
        ),
        uids=(7, 5, 7),
    )
    tcp, udp = "tcp dport { 80-99, 443 }", "udp dport { 53 }"
    users = "meta skuid { 5, 7 } goto take0"
    assert rules(step) == [
        f"ip daddr @to0_4 {tcp} {users}",
        f"ip daddr @to0_4 {udp} {users}",
        f"ip daddr @learnt0_4 {tcp} {users}",
        f"ip daddr @learnt0_4 {udp} {users}",
        f"ip6 daddr @learnt0_6 {tcp} {users}",
        f"ip6 daddr @learnt0_6 {udp} {users}",
    ]


def test_groups_and_who_is_not_there() -> None:
    """A rule for users or groups that do not exist matches nothing."""
    groups = (ControlGroup("unified/a", 1, 5), ControlGroup("unified/b/c", 2, 6))
    assert rules(SteerStep(ViaMesh(), groups=groups)) == [
        'socket cgroupv2 level 1 "unified/a" goto take0',
        'socket cgroupv2 level 2 "unified/b/c" goto take0',
    ]
    assert rules(SteerStep(ViaMesh(), groups=()), SteerStep(ViaDirect(), uids=())) == []
    assert rules(SteerStep(ViaMesh(), uids=())) == []
    assert rules(SteerStep(ViaMesh())) == ["goto take0"]


def test_connections_remember_their_rule() -> None:
    """By its number; what was refused is not there to remember."""
    steps = SteerStep(ViaNowhere()), SteerStep(ViaMesh()), SteerStep(DOOR)
    assert chain("take1", *steps) == ["ct mark set 0x6d730102", "goto rule1"]
    assert chain("take0", *steps) == []
    assert "ct mark vmap { 0x6d730102 : goto rule1, 0x6d730103 : goto rule2 }" in chain(
        "classify", *steps
    )


def test_ways() -> None:
    """Marks, and the door's ports; what no door takes is refused."""
    assert chain("rule0", SteerStep(ViaMesh()))[1:] == [
        "meta mark set 0x6d730100 accept"
    ]
    assert chain("rule0", SteerStep(ViaDirect()))[1:] == [
        "meta mark set 0x00006d6e accept"
    ]
    assert chain("rule0", SteerStep(DOOR))[1:] == [
        *(
            f"meta nfproto ipv{version} meta l4proto {kind} "
            "meta mark set 0x6d730183 accept"
            for version in (4, 6)
            for kind in ("tcp", "udp")
        ),
        "goto refused",
    ]
    assert len(chain("rule0", SteerStep(Door(1, tcp4=5)))) == 3
    arriving = chain("arrive", SteerStep(DOOR), SteerStep(DOOR))
    assert len(arriving) == 1 + 4
    assert arriving[1:3] == [
        "meta mark 0x6d730183 meta nfproto ipv4 meta l4proto tcp "
        "tproxy ip to 127.0.0.1:1001 accept",
        "meta mark 0x6d730183 meta nfproto ipv4 meta l4proto udp "
        "tproxy ip to 127.0.0.1:1003 accept",
    ]
    assert chain("arrive", SteerStep(ViaMesh())) == []


def test_packets_of_others_meet_the_same_rules() -> None:
    """If the host forwards them; those out of the tunnel are not its own to steer."""
    one = plan(SteerStep(ViaNowhere()))
    assert "chain pass" not in steer_text(one, {})
    text = steer_text(replace(one, forwards=True), {})
    assert 'iifname != { "home", "lo" } jump classify' in text


def test_packets_that_leave_elsewhere_get_its_address() -> None:
    """Theirs was chosen for another interface."""
    assert chain("leave", SteerStep(ViaMesh()))[1:] == [
        'oifname "home" meta mark 0x6d730100 masquerade'
    ]
    outside = 'oifname != { "home", "lo" } meta mark 0x00006d6e'
    assert chain("leave", SteerStep(ViaDirect()))[1:] == [
        f"{outside} ip saddr {{ 10.77.0.0/16 }} masquerade",
        f"{outside} ip6 saddr {{ fd00::/48 }} masquerade",
    ]
    assert chain("leave", SteerStep(DOOR)) == []


def test_what_is_learnt_comes_with_the_table_and_later() -> None:
    """Refreshing is adding, deleting and adding, in one go."""
    step = SteerStep(ViaMesh(), learns="example.org")
    known = {(0, "192.0.2.1"): 60, (0, "2001:db8::1"): 70}
    text = steer_text(plan(step), known)
    assert "elements = { 192.0.2.1 timeout 60s }" in text
    assert text.count('comment "example.org"') == 2
    assert "comment" not in steer_text(plan(replace(step, learns="a" * 128)), known)
    assert "elements = { 2001:db8::1 timeout 70s }" in text
    place = "element inet meshnode_home_steer learnt4_6"
    assert learnt_text("home", {(4, "2001:db8::1"): 70}).splitlines() == [
        f"add {place} {{ 2001:db8::1 timeout 70s }}",
        f"delete {place} {{ 2001:db8::1 }}",
        f"add {place} {{ 2001:db8::1 timeout 70s }}",
    ]


def test_marks_of_doors_have_a_mask() -> None:
    """It holds those of all doors and of nothing else."""
    one = plan(SteerStep(DOOR))
    value, mask = door_mask(one)
    assert door_mark(one, DOOR) & mask == value
    assert one.mark & mask != value
    assert (one.mark | 0x7F) & mask != value
    assert (one.mark + 0x100 | 0x81) & mask != value
    assert steer_table_name("a.b") == "meshnode_a_b_steer"
