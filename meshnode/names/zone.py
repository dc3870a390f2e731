"""What a node answers about its network's names: pure, from a `NameTable`.

The zones are `NETWORK.mesh` and the reverse ones of the overlay's prefixes. Every
member is one name in the first; nothing is below a member, or beside them.
"""

from collections.abc import Sequence
from typing import Final

from dnslib import AAAA as AAAARecord
from dnslib import NS as NSRecord
from dnslib import PTR as PTRRecord
from dnslib import RD, RR, DNSLabel
from dnslib import SOA as SOARecord
from dnslib import A as ARecord

from meshnode.names import message
from meshnode.names.message import Query, reply_to
from meshnode.names.reverse import Place, read_reverse, zone_depth
from meshnode.names.table import TOP, Member, NameTable

TTL: Final = 60
"""Seconds that an answer may be kept: a member may be gone or be another then."""

NEGATIVE_TTL: Final = 5
"""Seconds that it may be kept that there is nothing: who joins wants to be found."""

_REFRESH: Final = (3600, 600, 86400)  # of a zone that nobody copies
_UNSAID: Final = b"\x07RFC8482\x00"  # HINFO: a processor, and no system


def answer(query: Query, table: NameTable) -> bytes | None:
    """Return the reply to *query*, None if its name is in no zone of ours.

    It has the flag RA, whether other names are answered or not: programs that look for
    a resolver pass by who does not recurse, and of our names we know all there is.

    Args:
        query: the question.
        table: who is a member now.
    """
    labels = tuple(label.lower() for label in query.labels)
    zone = tuple(label.encode("ascii") for label in (table.network, TOP))
    place = read_reverse(labels)
    if labels[-2:] == zone:
        depth: int | None = 2
        found = _forward(labels, table)
    elif place is not None:
        depth = _depth(place, table)
        found = _backward(labels, place, table, depth)
    else:
        return None
    if depth is None:
        return None
    apex = query.labels[len(labels) - depth :]
    if query.network_class != message.IN or query.kind in (message.AXFR, message.IXFR):
        return reply_to(query, rcode=message.REFUSED, offers_recursion=True)
    if found is None:
        return _nothing(query, apex, table, message.NAME_ERROR)
    if len(labels) == depth:
        found = [*_apex_records(apex, table), *found]
    owner = DNSLabel(query.labels)
    if query.kind == message.ANY:
        # Not what there is, which would make us an amplifier (RFC 8482, 4.2).
        records = [RR(owner, message.HINFO, ttl=TTL, rdata=RD(_UNSAID))]
    else:
        records = [
            RR(owner, kind, ttl=TTL, rdata=data)
            for kind, data in found
            if kind == query.kind
        ]
    if not records:
        return _nothing(query, apex, table, 0)
    return reply_to(
        query,
        is_authoritative=True,
        offers_recursion=True,
        answers=records,
    )


def is_of_mesh(query: Query) -> bool:
    """Whether the name is of some network: the world outside has none of these."""
    return [label.lower() for label in query.labels[-1:]] == [TOP.encode("ascii")]


_Records = list[tuple[int, RD]]


def _forward(labels: Sequence[bytes], table: NameTable) -> _Records | None:
    """Return what a name of the network has, None if there is no such name."""
    if len(labels) == 2:
        return []
    member = _member(labels[0], table) if len(labels) == 3 else None
    if member is None:
        return None
    return [
        (message.A, ARecord(tuple(member.ipv4))),
        (message.AAAA, AAAARecord(tuple(member.ipv6))),
    ]


def _member(label: bytes, table: NameTable) -> Member | None:
    try:
        return table.member(label.decode("ascii"))
    except UnicodeDecodeError:
        return None


def _depth(place: Place, table: NameTable) -> int | None:
    depths = (zone_depth(place, prefix) for prefix in (table.cidr, table.ula))
    return next((depth for depth in depths if depth is not None), None)


def _backward(
    labels: Sequence[bytes], place: Place, table: NameTable, depth: int | None
) -> _Records | None:
    """Return what a reverse name has: a name, nothing if only names below have some."""
    if not place.is_sound:
        return None
    if place.first == place.last:
        name = table.name_of(place.first)
        if name is not None:
            return [(message.PTR, PTRRecord(_full(name, table)))]
    elif table.has_between(place.first, place.last):
        return []
    return [] if len(labels) == depth else None


def _nothing(
    query: Query,
    apex: Sequence[bytes],
    table: NameTable,
    rcode: int,
) -> bytes:
    """Say that there is nothing, and how long that holds (RFC 2308, 3)."""
    soa = RR(DNSLabel(apex), message.SOA, ttl=NEGATIVE_TTL, rdata=_soa(table))
    return reply_to(
        query,
        rcode=rcode,
        is_authoritative=True,
        offers_recursion=True,
        authority=[soa],
    )


def _apex_records(apex: Sequence[bytes], table: NameTable) -> _Records:
    return [
        (message.SOA, _soa(table)),
        (message.NS, NSRecord(_full(table.own, table))),
    ]


def _soa(table: NameTable) -> SOARecord:
    mail = DNSLabel((b"hostmaster", *_full(table.own, table).label))
    return SOARecord(
        _full(table.own, table), mail, (table.serial, *_REFRESH, NEGATIVE_TTL)
    )


def _full(name: str, table: NameTable) -> DNSLabel:
    return DNSLabel(tuple(f"{name}.{table.domain}".encode("ascii").split(b".")))
