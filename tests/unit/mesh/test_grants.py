"""Nobody grants or announces what was not granted to them."""

from dataclasses import replace
from typing import Any

import pytest

from meshnode.codec.records import ANY_GROUP, Charter, Member, Role, Route
from meshnode.mesh.grants import (
    require_certified_routes,
    require_granted,
    require_in_time,
    require_sound_certificate,
    require_sound_issuer,
    require_usable_space,
)
from meshnode.mesh.identifiers import ula_prefix
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.types import Prefix
from tests.certified_network import (
    AUTHORITY,
    CERTIFICATE,
    CIDR,
    DAY,
    ISSUER,
    NETWORK_ID,
    STOCK,
    WALL,
    prefixes,
    wireguard_key,
)

CHARTER = Charter(NETWORK_ID, 1, "home", CIDR, (AUTHORITY.public,), WALL)
ULA = ula_prefix(NETWORK_ID)


@pytest.mark.parametrize(
    ("wall", "reason"),
    [
        (999, Refusal.NOT_YET_VALID),
        (1000, None),
        (1300, None),
        (2000, None),
        (2300, None),
        (2301, Refusal.EXPIRED),
        (None, None),
    ],
)
def test_clocks_may_differ_by_300_seconds(
    wall: int | None, reason: Refusal | None
) -> None:
    """Valid from 300 s before its beginning to 300 s after its end, both included."""
    if reason is None:
        require_in_time(1300, 2000, wall=wall)
        return
    with pytest.raises(RecordRefused) as caught:
        require_in_time(1300, 2000, wall=wall)
    assert caught.value.reason is reason


@pytest.mark.parametrize("text", ["10.0.0.0/8", "100.64.0.0/10", "192.168.1.0/30"])
def test_usable_spaces(text: str) -> None:
    """Any IPv4 network from a /8 to a /30."""
    require_usable_space(Prefix.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/31",
        "10.0.0.0/7",
        "0.0.0.0/8",
        "127.1.0.0/16",
        "224.0.0.0/8",
        "2000::/16",
    ],
)
def test_unusable_spaces(text: str) -> None:
    """Too small, too large, IPv6, or addresses that are nobody's."""
    with pytest.raises(RecordRefused) as caught:
        require_usable_space(Prefix.parse(text))
    assert caught.value.reason is Refusal.ADDRESS_SPACE


def test_a_sound_issuer_passes() -> None:
    """The issuer of the tests is one, and so is one that may give no address."""
    require_sound_issuer(ISSUER, CHARTER)
    require_sound_issuer(replace(ISSUER, pools=(CIDR,)), CHARTER)
    require_sound_issuer(replace(ISSUER, pools=()), CHARTER)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_after": ISSUER.not_before}, Refusal.BAD_VALIDITY),
        ({"pools": prefixes("10.0.0.0/8")}, Refusal.ADDRESS_NOT_GRANTED),
        ({"pools": prefixes("10.20.0.0/24", "10.21.0.0/24")}, "same"),
        ({"pools": prefixes("fd00::/64")}, Refusal.ADDRESS_NOT_GRANTED),
        ({"issuing_key": bytes(32)}, Refusal.BAD_KEY),
    ],
)
def test_an_issuer_stays_within_the_charter(
    changes: dict[str, Any], reason: Refusal | str
) -> None:
    """Pools are the network's; the key is one; it ends after it begins."""
    expected = Refusal.ADDRESS_NOT_GRANTED if reason == "same" else reason
    with pytest.raises(RecordRefused) as caught:
        require_sound_issuer(replace(ISSUER, **changes), CHARTER)
    assert caught.value.reason is expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ipv4": bytes((10, 20, 0, 1))},
        {"ipv4": bytes((10, 20, 255, 254))},
        {"subnets": prefixes("10.21.0.0/16", "0.0.0.0/1", "2000::/3")[:1]},
        {"subnets": prefixes("0.0.0.0/0", "::/0"), "roles": Role.EXIT},
        {"subnets": prefixes("fc00::/8")},
    ],
)
def test_a_sound_certificate_passes(changes: dict[str, Any]) -> None:
    """The first and last host, foreign networks, and default routes of an exit."""
    require_sound_certificate(replace(CERTIFICATE, **changes), CHARTER, ULA)


def test_a_sound_stock_certificate_passes() -> None:
    """Gateways, no signing key, and an exit if it likes."""
    require_sound_certificate(STOCK, CHARTER, ULA)
    require_sound_certificate(
        replace(STOCK, roles=Role.STOCK | Role.EXIT), CHARTER, ULA
    )


ULA_PART = Prefix(6, ULA.network, 64)
WHOLE_FD = Prefix.parse("fd00::/8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"not_after": CERTIFICATE.not_before}, Refusal.BAD_VALIDITY),
        ({"groups": ("staff", ANY_GROUP)}, Refusal.GROUP_NOT_GRANTED),
        ({"wireguard_key": bytes(32)}, Refusal.BAD_KEY),
        ({"signing_key": bytes(32)}, Refusal.BAD_KEY),
        ({"gateways": (wireguard_key(9),)}, Refusal.BAD_STOCK),
        ({"ipv4": bytes((10, 20, 0, 0))}, Refusal.BAD_ADDRESS),
        ({"ipv4": bytes((10, 20, 255, 255))}, Refusal.BAD_ADDRESS),
        ({"ipv4": bytes((10, 21, 0, 1))}, Refusal.BAD_ADDRESS),
        *(
            ({"subnets": subnets}, Refusal.RESERVED_SUBNET)
            for subnets in (
                prefixes("10.20.0.0/16"),
                prefixes("10.20.9.9/32"),
                prefixes("10.0.0.0/8"),
                (ULA,),
                (ULA_PART,),
                (WHOLE_FD,),
                prefixes("192.168.0.0/24", "127.0.0.0/8"),
                prefixes("0.0.0.0/0"),
                prefixes("::/0"),
                prefixes("0.0.0.0/1"),
                prefixes("224.0.0.0/4"),
                prefixes("255.255.255.255/32"),
                prefixes("169.254.0.0/16"),
                prefixes("fe80::/64"),
                prefixes("ff02::/16"),
                prefixes("::1/128"),
                prefixes("::ffff:10.20.0.0/112"),
            )
        ),
        (
            {"subnets": prefixes("0.0.0.0/1"), "roles": Role.EXIT},
            Refusal.RESERVED_SUBNET,
        ),
    ],
)
def test_an_unsound_certificate_is_refused(
    changes: dict[str, Any], reason: Refusal
) -> None:
    """Whoever signed it: keys, host address, and subnets that can be a member's."""
    with pytest.raises(RecordRefused) as caught:
        require_sound_certificate(replace(CERTIFICATE, **changes), CHARTER, ULA)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gateways": ()}, Refusal.BAD_STOCK),
        ({"gateways": (STOCK.wireguard_key,)}, Refusal.BAD_STOCK),
        ({"signing_key": bytes(31) + b"\1"}, Refusal.BAD_KEY),
        *(
            ({"roles": Role.STOCK | role}, Refusal.BAD_STOCK)
            for role in (Role.RENDEZVOUS, Role.RELAY, Role.ISSUER, Role.POLICY)
        ),
    ],
)
def test_an_unsound_stock_certificate_is_refused(
    changes: dict[str, Any], reason: Refusal
) -> None:
    """It names gateways other than itself, and serves nobody with software it lacks."""
    with pytest.raises(RecordRefused) as caught:
        require_sound_certificate(replace(STOCK, **changes), CHARTER, ULA)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("certificate", "issuer"),
    [
        ({}, {}),
        ({"groups": ("guest", "staff")}, {}),
        ({"groups": ("admin", "other")}, {"groups": (ANY_GROUP,)}),
        ({"groups": (), "subnets": ()}, {"groups": (), "subnets": ()}),
        ({"ipv4": bytes((10, 20, 9, 9))}, {"pools": prefixes("10.20.9.9/32")}),
        ({"subnets": prefixes("8.0.0.0/8")}, {"subnets": prefixes("0.0.0.0/0")}),
        ({"not_after": WALL + 30 * DAY}, {"max_lifetime": 30 * DAY}),
        ({}, {"not_before": WALL, "not_after": WALL + 30 * DAY}),
    ],
)
def test_what_was_granted_can_be_given(
    certificate: dict[str, Any], issuer: dict[str, Any]
) -> None:
    """Up to the very bounds."""
    require_granted(replace(CERTIFICATE, **certificate), replace(ISSUER, **issuer))


@pytest.mark.parametrize(
    ("certificate", "issuer", "reason"),
    [
        ({"ipv4": bytes((10, 20, 2, 1))}, {}, Refusal.ADDRESS_NOT_GRANTED),
        ({}, {"pools": ()}, Refusal.ADDRESS_NOT_GRANTED),
        ({"groups": ("admin",)}, {}, Refusal.GROUP_NOT_GRANTED),
        ({"groups": ("staff", "admin")}, {}, Refusal.GROUP_NOT_GRANTED),
        ({}, {"groups": ()}, Refusal.GROUP_NOT_GRANTED),
        (
            {"groups": (ANY_GROUP,)},
            {"groups": (ANY_GROUP, "staff")},
            Refusal.GROUP_NOT_GRANTED,
        ),
        ({"subnets": prefixes("172.16.0.0/16")}, {}, Refusal.SUBNET_NOT_GRANTED),
        ({"subnets": prefixes("192.168.0.0/15")}, {}, Refusal.SUBNET_NOT_GRANTED),
        ({}, {"subnets": ()}, Refusal.SUBNET_NOT_GRANTED),
        ({}, {"subnets": prefixes("::/0")}, Refusal.SUBNET_NOT_GRANTED),
        ({"roles": Role.EXIT}, {}, Refusal.ROLE_NOT_GRANTED),
        ({"roles": Role.RELAY | Role.POLICY}, {}, Refusal.ROLE_NOT_GRANTED),
        ({}, {"roles": Role.NONE}, Refusal.ROLE_NOT_GRANTED),
        ({"not_after": WALL + 30 * DAY + 1}, {}, Refusal.LIFETIME),
        ({}, {"not_before": WALL + 1}, Refusal.OUTLIVES_ISSUER),
        ({}, {"not_after": WALL + 30 * DAY - 1}, Refusal.OUTLIVES_ISSUER),
    ],
)
def test_an_issuer_cannot_exceed_its_grants(
    certificate: dict[str, Any], issuer: dict[str, Any], reason: Refusal
) -> None:
    """Addresses, groups, subnets, roles, lifetime, and its own end."""
    with pytest.raises(RecordRefused) as caught:
        require_granted(replace(CERTIFICATE, **certificate), replace(ISSUER, **issuer))
    assert caught.value.reason is reason


def announce(*texts: str) -> Member:
    """Return a member's word that announces these prefixes."""
    return Member(1, tuple(Route(Prefix.parse(text)) for text in texts))


@pytest.mark.parametrize(
    "member",
    [
        announce(),
        announce("192.168.7.0/24"),
        announce("192.168.7.128/25", "2001:db8:7::/48", "192.168.7.1/32"),
    ],
)
def test_certified_routes_can_be_announced(member: Member) -> None:
    """All of a certified subnet or a part of it."""
    require_certified_routes(member, CERTIFICATE)


@pytest.mark.parametrize(
    "member",
    [
        announce("192.168.8.0/24"),
        announce("192.168.6.0/23"),
        announce("192.168.7.0/24", "0.0.0.0/0"),
        announce("10.20.1.7/32"),
        announce("2001:db8::/32"),
        announce("::/0"),
    ],
)
def test_other_routes_cannot_be_announced(member: Member) -> None:
    """Others' addresses, larger networks, default routes, one's own overlay address."""
    with pytest.raises(RecordRefused) as caught:
        require_certified_routes(member, CERTIFICATE)
    assert caught.value.reason is Refusal.ROUTE_NOT_GRANTED


EXIT = replace(CERTIFICATE, subnets=prefixes("0.0.0.0/0"), roles=Role.EXIT)


def test_an_exit_announces_the_default_route() -> None:
    """That is what the role is for."""
    require_certified_routes(announce("0.0.0.0/0"), EXIT)


@pytest.mark.parametrize(
    "text", ["192.168.7.0/24", "0.0.0.0/1", "10.20.1.1/32", "::/0"]
)
def test_an_exit_announces_no_part_of_the_default_route(text: str) -> None:
    """More specific than other members' prefixes, it would take their traffic."""
    with pytest.raises(RecordRefused) as caught:
        require_certified_routes(announce(text), EXIT)
    assert caught.value.reason is Refusal.ROUTE_NOT_GRANTED
