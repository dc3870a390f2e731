"""What a node answers about names: the zone, the reverse zones, and the rest."""

import random

import pytest
from dnslib import QTYPE, RCODE, DNSRecord

from meshnode.names.message import Query, parse_query
from meshnode.names.reverse import reverse_name
from meshnode.names.zone import TTL, answer, is_of_mesh
from tests.unit.names.parts import MEMBERS, TABLE, asked


def ask(name: str, kind: str = "A", *, network_class: int = 1) -> DNSRecord | None:
    """Return the parsed answer, None if the name is in no zone of ours."""
    data = asked(name, kind)
    data = data[:-2] + network_class.to_bytes(2, "big")
    query = parse_query(data)
    assert isinstance(query, Query)
    reply = answer(query, TABLE)
    return None if reply is None else DNSRecord.parse(reply)


def short(name: str, kind: str = "A") -> tuple[str, list[str]]:
    """Return the code and the records of an answer as dig +short shows them."""
    parsed = ask(name, kind)
    assert parsed is not None
    return RCODE.get(parsed.header.rcode), [str(record.rdata) for record in parsed.rr]


NONE = ("NOERROR", [])
NO_NAME = ("NXDOMAIN", [])


@pytest.mark.parametrize(
    ("name", "kind", "answered"),
    [
        ("anna.home.mesh", "A", ("NOERROR", ["10.77.0.1"])),
        ("bert.home.mesh", "AAAA", ("NOERROR", ["fd11:2233:4455:1:2:3:4:5"])),
        ("BERT.Home.MESH", "A", ("NOERROR", ["10.77.3.200"])),
        ("anna.home.mesh", "MX", NONE),
        ("anna.home.mesh", "TYPE65280", NONE),
        ("nobody.home.mesh", "A", NO_NAME),
        ("x.anna.home.mesh", "A", NO_NAME),
        (r"an\000na.home.mesh", "A", NO_NAME),
        (r"\195\164.home.mesh", "A", NO_NAME),
        ("home.mesh", "A", NONE),
        ("home.mesh", "NS", ("NOERROR", ["anna.home.mesh."])),
        ("1.0.77.10.in-addr.arpa", "PTR", ("NOERROR", ["anna.home.mesh."])),
        ("1.0.77.10.in-addr.arpa", "A", NONE),
        ("2.0.77.10.in-addr.arpa", "PTR", NO_NAME),
        ("0.77.10.in-addr.arpa", "PTR", NONE),  # others are below it (RFC 8020)
        ("9.77.10.in-addr.arpa", "PTR", NO_NAME),
        ("x.0.77.10.in-addr.arpa", "PTR", NO_NAME),
        ("77.10.in-addr.arpa", "NS", ("NOERROR", ["anna.home.mesh."])),
        ("5.5.4.4.3.3.2.2.1.1.d.f.ip6.arpa", "PTR", NONE),
        ("0.5.5.4.4.3.3.2.2.1.1.d.f.ip6.arpa", "PTR", NONE),
        ("7.5.5.4.4.3.3.2.2.1.1.d.f.ip6.arpa", "PTR", NO_NAME),
    ],
)
def test_names_of_ours(name: str, kind: str, answered: tuple[str, list[str]]) -> None:
    """There is a name, or there is none; a name may have nothing of a kind."""
    assert short(name, kind) == answered


def test_every_member_is_found_both_ways() -> None:
    """By name and by address."""
    for member in MEMBERS:
        for address in (member.ipv4, member.ipv6):
            assert short(reverse_name(address), "PTR")[1] == [
                f"{member.name}.home.mesh."
            ]


@pytest.mark.parametrize(
    "name",
    [
        "mesh",
        "other.mesh",
        "anna.other.mesh",
        "example.org",
        "home.mesh.example.org",
        "1.0.78.10.in-addr.arpa",
        "10.in-addr.arpa",
        "in-addr.arpa",
        "f.ip6.arpa",
        "x.in-addr.arpa",
        ".",
    ],
)
def test_names_of_others(name: str) -> None:
    """Nothing is said of them."""
    assert ask(name) is None


def test_answers_are_authoritative_and_short_lived() -> None:
    """What there is, and what there is not, is ours to say."""
    found = ask("AnnA.home.mesh")
    assert found is not None
    assert (found.header.aa, found.header.ra, found.a.ttl) == (1, 1, TTL)
    assert found.a.rname.label == (b"AnnA", b"home", b"mesh")
    for name in ("x.home.mesh", "home.mesh", "9.0.77.10.in-addr.arpa"):
        missing = ask(name, "TXT")
        assert missing is not None
        assert missing.header.aa
        (soa,) = missing.auth
        assert soa.rtype == QTYPE.SOA
        assert soa.ttl <= TTL
        assert soa.ttl == soa.rdata.times[-1]
        assert str(missing.q.qname).endswith(str(soa.rname))


def test_soa_is_there() -> None:
    """With the table's number."""
    found = ask("home.mesh", "SOA")
    assert found is not None
    assert found.a.rdata.times[0] == TABLE.serial
    assert str(found.a.rdata.mname) == "anna.home.mesh."


def test_all_there_is_is_not_told() -> None:
    """ANY gets one small record (RFC 8482, 4.2); what has no name still has none."""
    found = ask("anna.home.mesh", "ANY")
    assert found is not None
    assert [QTYPE.get(one.rtype) for one in found.rr] == ["HINFO"]
    assert b"RFC8482" in found.rr[0].rdata.data
    assert short("nobody.home.mesh", "ANY") == NO_NAME


def test_zone_is_not_copied() -> None:
    """Nor is there another class."""
    for refused in (ask("home.mesh", "AXFR"), ask("anna.home.mesh", network_class=3)):
        assert refused is not None
        assert RCODE.get(refused.header.rcode) == "REFUSED"


def test_mesh_is_known_by_its_top() -> None:
    """Names of other networks are nobody's outside."""
    for name, is_ours in (("a.b.MESH", True), ("mesh.org", False), (".", False)):
        query = parse_query(asked(name))
        assert isinstance(query, Query)
        assert is_of_mesh(query) is is_ours


def test_any_query_gets_a_small_reply(rng: random.Random) -> None:
    """Whatever the name is: of our zones no reply is longer than 512 bytes."""
    parts = ["anna", "home", "mesh", "x" * 63, "77", "10", "in-addr", "arpa", "a.b.c"]
    for _ in range(500):
        name = ".".join(rng.choices(parts, k=rng.randint(0, 3)))
        tail = rng.choice(["home.mesh", "77.10.in-addr.arpa"])
        query = parse_query(asked(f"{name}.{tail}".lstrip("."), edns=1232))
        assert isinstance(query, Query)
        reply = answer(query, TABLE)
        assert reply is not None
        assert len(reply) <= 512
        DNSRecord.parse(reply)
