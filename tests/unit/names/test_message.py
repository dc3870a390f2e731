"""DNS messages: what is read of a query, and what replies are like."""

import ipaddress
import random

import pytest
from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord

from meshnode.names.message import (
    MAX_LIMIT,
    REFUSED,
    Query,
    addresses_in,
    fit,
    for_asker,
    is_reply,
    is_truncated,
    mix_case,
    parse_query,
    rcode_of,
    repeats,
    reply_to,
    upstream_query,
)
from tests.unit.names.parts import asked


def read(data: bytes) -> Query:
    """Return the query in *data*."""
    query = parse_query(data)
    assert isinstance(query, Query)
    return query


def test_query_is_read() -> None:
    """Name with its case, type, class, flags, and what EDNS says."""
    query = read(asked("AnNa.home.Mesh", "AAAA", edns=4096))
    assert query.labels == (b"AnNa", b"home", b"Mesh")
    assert query.text == "anna.home.mesh"
    assert (query.number, query.kind, query.network_class) == (77, QTYPE.AAAA, 1)
    assert query.wants_recursion
    assert (query.size, query.limit) == (4096, MAX_LIMIT)
    assert not query.wants_dnssec


@pytest.mark.parametrize(
    ("edns", "limit"), [(0, 512), (1, 512), (600, 600), (1232, 1232), (65535, 1232)]
)
def test_size_by_udp_is_bounded(edns: int, limit: int) -> None:
    """From 512 bytes to 1,232."""
    assert read(asked("a.mesh", edns=edns)).limit == limit


def test_root_is_a_name() -> None:
    """It has no labels."""
    assert read(asked(".", "NS")).labels == ()


def test_reply_is_never_answered() -> None:
    """Nor is what is too short to be anything."""
    data = bytearray(asked("anna.home.mesh"))
    data[2] |= 0x80
    assert parse_query(bytes(data)) == b""
    assert parse_query(b"") == parse_query(bytes(11)) == b""


def changed(data: bytes, *pairs: tuple[int, int]) -> bytes:
    """Return *data* with bytes changed."""
    copy = bytearray(data)
    for at, value in pairs:
        copy[at] = value
    return bytes(copy)


QUERY = asked("anna.home.mesh", edns=1232)


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (changed(QUERY, (2, 0x29)), "NOTIMP"),  # UPDATE
        (changed(QUERY, (5, 2)), "FORMERR"),  # two questions
        (changed(QUERY, (5, 0)), "FORMERR"),
        (changed(QUERY, (7, 1)), "FORMERR"),  # an answer
        (changed(QUERY, (11, 2)), "FORMERR"),  # an additional record too few
        (changed(QUERY, (12, 64)), "FORMERR"),  # a long label
        (changed(QUERY, (12, 0xC0), (13, 0)), "FORMERR"),  # a pointer
        (QUERY[:-1], "FORMERR"),
        (QUERY + b"x", "FORMERR"),
        (QUERY[:20], "FORMERR"),
        (changed(QUERY, (11, 2)) + QUERY[-11:], "FORMERR"),  # OPT twice
        (QUERY[:12] + b"\x3f" * 63 * 5 + b"\0\0\1\0\1", "FORMERR"),  # 255 bytes
    ],
)
def test_malformed_queries_are_told(data: bytes, rcode: str) -> None:
    """In twelve bytes: nothing of them is repeated."""
    reply = parse_query(data)
    assert isinstance(reply, bytes)
    assert len(reply) == 12
    parsed = DNSRecord.parse(reply)
    assert parsed.header.id == 77
    assert parsed.header.qr
    assert RCODE.get(parsed.header.rcode) == rcode


def test_later_edns_is_told() -> None:
    """BADVERS is 16: half of it is in the OPT record (RFC 6891, 6.1.3)."""
    reply = parse_query(changed(QUERY, (len(QUERY) - 5, 1)))
    assert isinstance(reply, bytes)
    parsed = DNSRecord.parse(reply)
    assert (parsed.header.rcode, parsed.ar[0].edns_rcode) == (0, 1)


def test_reply_repeats_the_question() -> None:
    """In the asker's case, with EDNS only for who has it."""
    query = read(asked("AnNa.home.Mesh", edns=1232))
    parsed = DNSRecord.parse(reply_to(query, rcode=REFUSED))
    assert parsed.header.id == 77
    assert parsed.q.qname.label == (b"AnNa", b"home", b"Mesh")
    assert parsed.header.rcode == REFUSED
    assert len(parsed.ar) == 1
    assert not DNSRecord.parse(reply_to(read(asked("a.mesh")))).ar


def long_reply(query: Query) -> bytes:
    """Return a reply of some two thousand bytes."""
    records = [RR("a.mesh", QTYPE.A, rdata=A(f"10.0.0.{n}")) for n in range(120)]
    return reply_to(query, answers=records)


def test_what_does_not_fit_is_for_tcp() -> None:
    """The reply has the flag TC, and no record but OPT (RFC 2181, 9)."""
    query = read(asked("a.mesh", edns=1232))
    reply = long_reply(query)
    assert fit(query, reply, 65535) == reply
    short = fit(query, reply, query.limit)
    assert len(short) < 60
    assert is_truncated(short)
    parsed = DNSRecord.parse(short)
    assert not parsed.rr
    assert parsed.ar[0].rtype == QTYPE.OPT


def test_question_goes_on_under_another_number(rng: random.Random) -> None:
    """And in a mixture of cases; its answer comes back as if it were ours."""
    query = read(asked("Www.Example.org", edns=4096))
    name = mix_case(query.name, rng.randbytes(len(query.name)))
    assert name != query.name
    assert name.lower() == query.name.lower()
    data = upstream_query(query, 4242, name)
    parsed = DNSRecord.parse(data)
    assert (parsed.header.id, parsed.header.rd) == (4242, 1)
    assert parsed.ar[0].edns_len == MAX_LIMIT
    answer = parsed.reply()
    answer.add_answer(RR("www.example.org", rdata=A("192.0.2.1"), ttl=9))
    heard = bytes(answer.pack())
    question = name + query.question[len(name) :]
    assert is_reply(heard, 4242, question)
    assert repeats(heard, question)
    assert not repeats(heard, query.question)
    assert not is_reply(heard, 4243, question)
    assert not is_reply(data, 4242, question)
    assert not is_reply(heard, 4242, question[:-1] + b"\3")
    ours = DNSRecord.parse(for_asker(query, heard))
    assert ours.header.id == 77
    assert ours.header.ra
    assert ours.q.qname.label == query.labels
    assert str(ours.a.rdata) == "192.0.2.1"


def test_addresses_of_an_answer_are_found() -> None:
    """Of all the names that the answer leads over; the shortest time counts."""
    record = DNSRecord.question("www.example.org").reply()
    record.add_answer(
        RR("www.example.org", QTYPE.CNAME, rdata=CNAME("x.example.org"), ttl=5),
        RR("x.example.org", QTYPE.A, rdata=A("192.0.2.1"), ttl=300),
        RR("x.example.org", QTYPE.AAAA, rdata=AAAA("2001:db8::1"), ttl=60),
    )
    record.add_ar(RR("y.example.org", QTYPE.A, rdata=A("192.0.2.9"), ttl=1))
    data = bytes(record.pack())
    found, seconds = addresses_in(data)
    assert [str(one) for one in found] == ["192.0.2.1", "2001:db8::1"]
    assert seconds == 60
    assert addresses_in(data[:60]) == ((), 0)
    assert addresses_in(b"") == ((), 0)
    assert isinstance(found[0], ipaddress.IPv4Address)


def test_code_is_read() -> None:
    """That of RFC 1035."""
    assert rcode_of(reply_to(read(asked("a.mesh")), rcode=3)) == 3
