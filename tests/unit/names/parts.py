"""A network of three members, and questions about it."""

import ipaddress

from dnslib import DNSRecord

from meshnode.names.table import Member, NameTable
from meshnode.types import Prefix

CIDR = Prefix.parse("10.77.0.0/16")
ULA = Prefix.parse("fd11:2233:4455::/48")


def member(name: str, v4: str, v6: str) -> Member:
    """Return a member with these addresses."""
    return Member(
        name, ipaddress.ip_address(v4).packed, ipaddress.ip_address(v6).packed
    )


MEMBERS = (
    member("anna", "10.77.0.1", "fd11:2233:4455::1"),
    member("bert", "10.77.3.200", "fd11:2233:4455:1:2:3:4:5"),
    member("c-3", "10.77.0.3", "fd11:2233:4455::3"),
)
TABLE = NameTable("home", "anna", cidr=CIDR, ula=ULA, members=MEMBERS)


def asked(name: str, kind: str = "A", *, edns: int = 0, number: int = 77) -> bytes:
    """Return the bytes of a query."""
    record = DNSRecord.question(name, kind)
    record.header.id = number
    if edns:
        from dnslib import EDNS0

        record.add_ar(EDNS0(udp_len=edns))
    return bytes(record.pack())
