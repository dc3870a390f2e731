"""Any network's names, against the plainest oracle: a list of them."""

import ipaddress

from dnslib import RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from meshnode.names.message import Query, parse_query
from meshnode.names.reverse import reverse_zones
from meshnode.names.table import Member, NameTable
from meshnode.names.zone import answer
from meshnode.types import Prefix
from tests.unit.names.parts import ULA, asked

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
V6 = ULA.network


@st.composite
def tables(draw: st.DrawFn) -> NameTable:
    """Return a table whose members have addresses of a prefix of any length."""
    length = draw(st.integers(8, 28))
    prefix = Prefix.parse(f"10.{draw(st.integers(0, 255))}.17.33/{length}")
    names = draw(st.lists(LABELS, unique=True, max_size=8))
    hosts = st.integers(1, (1 << (32 - length)) - 2)
    numbers = draw(st.lists(hosts, unique=True, min_size=8, max_size=8))
    members = [
        Member(
            name,
            (prefix.network + number).to_bytes(4, "big"),
            (V6 + number * 0x1_0000_0001).to_bytes(16, "big"),
        )
        for name, number in zip(names, numbers, strict=False)
    ]
    own = draw(LABELS)
    return NameTable("home", own, cidr=prefix, ula=ULA, members=members)


def ask(table: NameTable, name: str, kind: str) -> tuple[str, list[str]] | None:
    """Return code and data of the answer, None if the name is in no zone."""
    query = parse_query(asked(name, kind))
    assert isinstance(query, Query)
    reply = answer(query, table)
    if reply is None:
        return None
    parsed = DNSRecord.parse(reply)
    # Whoever says that there is nothing says whose word that is, and for how long.
    assert len(parsed.auth) == (0 if parsed.rr else 1)
    assert len(reply) <= 512
    return RCODE.get(parsed.header.rcode), [str(one.rdata) for one in parsed.rr]


@given(tables(), LABELS)
def test_names_are_those_of_the_table(table: NameTable, other: str) -> None:
    """Each has its two addresses, and nobody else has any."""
    for member in table.members:
        v4, v6 = map(ipaddress.ip_address, (member.ipv4, member.ipv6))
        name = f"{member.name.swapcase()}.home.mesh"
        assert ask(table, name, "A") == ("NOERROR", [str(v4)])
        assert ask(table, name, "AAAA") == ("NOERROR", [str(v6)])
        assert ask(table, name, "TXT") == ("NOERROR", [])
        for address in (v4, v6):
            told = ask(table, address.reverse_pointer, "PTR")
            assert told == ("NOERROR", [f"{member.name}.home.mesh."])
    if table.member(other) is None:
        assert ask(table, f"{other}.home.mesh", "A") == ("NXDOMAIN", [])


@given(tables(), st.integers(0, 2**12) | st.integers(0, 2**31), st.integers(1, 4))
def test_every_part_of_an_address_is_answered_for_or_is_not_ours(
    table: NameTable, change: int, parts: int
) -> None:
    """There is a name if a member's address begins so; the zones are whole."""
    address = ipaddress.IPv4Address(table.cidr.network ^ change)
    labels = address.reverse_pointer.split(".")[4 - parts :]
    name = ".".join(labels)
    zones = reverse_zones(table.cidr)
    is_ours = any(name == zone or name.endswith(f".{zone}") for zone in zones)
    told = ask(table, name, "PTR")
    assert (told is not None) is is_ours
    if told is None:
        return
    start = address.packed[:parts]
    below = [one.name for one in table.members if one.ipv4.startswith(start)]
    if parts == 4 and below:
        assert told == ("NOERROR", [f"{below[0]}.home.mesh."])
    else:
        exists = bool(below) or name in zones
        assert told == ("NOERROR" if exists else "NXDOMAIN", [])
