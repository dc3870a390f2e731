"""Routing decisions against an oracle that asks about one address at a time.

The oracle knows no prefixes: it enumerates who may be sent a packet for an address,
straight from certificates and announcements.
"""

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from meshnode.codec.records import Certificate, Member, Role, Route
from meshnode.mesh.routes import ACCEPT_ALL, MemberRoutes, RoutingTable, build_table
from meshnode.types import Prefix

OVERLAY = (Prefix.parse("10.99.0.0/16"), Prefix.parse("fd99::/48"))
OWN = b"\xff" * 32

Network = IPv4Network | IPv6Network


def masked(version: int, number: int, length: int) -> Prefix:
    """Return the prefix of that length that holds the address *number*."""
    shift = (32 if version == 4 else 128) - length
    return Prefix(version, number >> shift << shift, length)


class Draw:
    """Random members whose certificates and announcements crowd in a small space."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def number(self, version: int) -> int:
        """Return an address near others, or near what nobody may claim."""
        texts = {
            4: ("192.168.0.0", "10.99.0.0", "10.0.0.0", "127.0.0.0", "224.0.0.0"),
            6: ("fd99::", "fd12::", "fe80::", "::ffff:0:0", "2001:db8::"),
        }
        base = int(ip_address(self.rng.choice(texts[version])))
        bits = self.rng.choice((0, 4, 10, 18))
        spread = self.rng.getrandbits(bits) if bits else 0
        return base ^ spread << self.rng.choice((0, 6))

    def prefix(self) -> Prefix:
        """Return a prefix around such an address, of a length that matters."""
        version = self.rng.choice((4, 6))
        whole = 32 if version == 4 else 128
        lengths = (0, 1, 8, 15, 16, 17, 24, 32) if version == 4 else (0, 7, 48, 64, 128)
        length = min(whole, self.rng.choice(lengths))
        return masked(version, self.number(version), length)

    def member(self, number: int, keys: list[bytes]) -> MemberRoutes:
        """Return a member that announces what it likes."""
        rng = self.rng
        stock = rng.random() < 0.15
        roles = Role.STOCK if stock else rng.choice((Role.NONE, Role.NONE, Role.EXIT))
        subnets = tuple(self.prefix() for _ in range(rng.randrange(6)))
        routes = [self.prefix() for _ in range(rng.randrange(6))]
        # Near the certificate, for that is where mistakes would be.
        for subnet in subnets:
            width = 32 if subnet.version == 4 else 128
            length = min(width, max(0, subnet.length + rng.choice((-1, 0, 0, 1, 8))))
            routes.append(masked(subnet.version, subnet.network, length))
        certificate = Certificate(
            *(bytes(16), f"m{number}", keys[number], bytes(32)),
            (0x0A630000 + number + 1).to_bytes(4, "big"),
            *(subnets, (), roles),
            tuple(rng.sample(keys, rng.randrange(1, 3))) if stock else (),
            *(0, 1, 0),
        )
        word = Member(
            1,
            tuple(
                Route(prefix, rng.choice((10, 10, 20)), rng.randint(1, 3))
                for prefix in routes
            ),
        )
        ipv6 = (0xFD99 << 112 | number + 1).to_bytes(16, "big")
        return MemberRoutes(certificate, ipv6, None if stock else word)


NEVER = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
        *("::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
    )
]


def may_claim(one: MemberRoutes, prefix: Prefix) -> bool:
    """Whether the member may own *prefix* (not a default route), by the book."""
    network = ip_network(str(prefix))
    granted = [ip_network(str(subnet)) for subnet in one.certificate.subnets]
    taken = [ip_network(str(own)) for own in OVERLAY]

    def inside(outer: Network) -> bool:
        return outer.version == network.version and (
            outer.network_address <= network.network_address  # type: ignore[operator]
            and network.broadcast_address <= outer.broadcast_address  # type: ignore[operator]
        )

    def overlapping(other: Network) -> bool:
        return other.version == network.version and other.overlaps(network)

    return (
        network.prefixlen > 0
        and any(subnet.prefixlen > 0 and inside(subnet) for subnet in granted)
        and not any(overlapping(own) for own in taken)
        and not any(inside(special) for special in NEVER)
    )


def owners_of(members: list[MemberRoutes], prefix: Prefix) -> dict[bytes, int]:
    """Return who owns exactly *prefix*, with the metric, by the book."""
    owners: dict[bytes, int] = {}
    present = {m.key for m in members if not m.certificate.roles & Role.STOCK}
    for one in members:
        if one.key == OWN:
            continue
        if prefix in one.addresses:
            gateways = one.certificate.gateways
            if not gateways or OWN in gateways:
                owners[one.key] = 0
            else:
                order = enumerate(dict.fromkeys(gateways))
                owners |= {key: metric for metric, key in order if key in present}
        if one.member is not None:
            said = [r for r in one.member.routes if r.prefix == prefix]
            if said and may_claim(one, prefix):
                owners[one.key] = said[0].metric
    return owners


def check_against_the_oracle(
    table: RoutingTable, members: list[MemberRoutes], unhealthy: set[bytes], where: str
) -> None:
    """Compare a table with the oracle: the same prefixes, the same owners."""
    found: dict[Prefix, tuple[set[bytes], set[bytes]]] = {}
    for key, prefixes in table.exclusive.items():
        for prefix in prefixes:
            assert prefix not in found, where
            found[prefix] = {key}, {key}
    for shared in table.shared:
        assert shared.prefix not in found, where
        found[shared.prefix] = {s.key for s in shared.forward}, set(shared.accept)
    said = {p for one in members for p in one.addresses}
    said |= {r.prefix for one in members if one.member for r in one.member.routes}
    for prefix in said:
        owners = owners_of(members, prefix)
        forward, accept = found.pop(prefix, (set(), set()))
        assert accept == set(owners), f"{where}, {prefix}"
        if owners:
            best = min((key in unhealthy, metric) for key, metric in owners.items())
            expected = {k for k, m in owners.items() if (k in unhealthy, m) == best}
            assert forward == expected, f"{where}, {prefix}"
    assert not found, where


@pytest.mark.parametrize("round_", range(8))
def test_equals_the_oracle(rng: random.Random, seed: int, round_: int) -> None:
    """Exactly the certified announcements count, for exactly their owners."""
    for step in range(25):
        draw = Draw(rng)
        keys = [bytes([n + 1]) * 32 for n in range(rng.randrange(2, 9))]
        if rng.random() < 0.7:
            keys[0] = OWN
        members = [draw.member(n, keys) for n in range(len(keys))]
        unhealthy = {key for key in keys if rng.random() < 0.2}
        table = build_table(
            members,
            own_key=OWN,
            overlay=OVERLAY,
            accept=ACCEPT_ALL,
            unhealthy=unhealthy,
        )
        where = f"seed {seed}, round {round_}, step {step}"
        check_against_the_oracle(table, members, unhealthy, where)
        rng.shuffle(members)
        again = build_table(
            members,
            own_key=OWN,
            overlay=OVERLAY,
            accept=ACCEPT_ALL,
            unhealthy=unhealthy,
        )
        assert again == table, where


def test_no_hostile_announcement_gets_beyond_its_certificate(
    rng: random.Random, seed: int
) -> None:
    """Of 100,000 announcements none takes what its member was not certified for."""
    announced = 0
    while announced < 100_000:
        draw = Draw(rng)
        keys = [n.to_bytes(32, "big") for n in range(1, 201)]
        members = [draw.member(n, keys) for n in range(200)]
        announced += sum(len(m.member.routes) for m in members if m.member)
        table = build_table(members, own_key=OWN, overlay=OVERLAY, accept=ACCEPT_ALL)
        by_key = {one.key: one for one in members}
        stock = {
            address: one.certificate.gateways
            for one in members
            if one.member is None
            for address in one.addresses
        }
        owned = [(p, k) for k, some in table.exclusive.items() for p in some]
        owned += [(s.prefix, key) for s in table.shared for key in s.accept]
        for prefix, key in owned:
            allowed = (
                prefix in by_key[key].addresses
                or key in stock.get(prefix, ())
                or may_claim(by_key[key], prefix)
            )
            assert allowed, f"seed {seed}: {prefix} of {key.hex()}"
        for prefix in table.accepted:
            assert prefix.length > 0
            assert not any(
                ip_network(str(prefix)).overlaps(ip_network(str(own)))
                for own in OVERLAY
                if own.version == prefix.version
            )
