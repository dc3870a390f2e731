"""Questions and answers as people read them."""

import random

import pytest
from dnslib import CNAME, QTYPE, RR, A, DNSRecord

from meshnode.errors import UsageError
from meshnode.names.describe import describe_reply, make_query
from meshnode.names.message import parse_query, upstream_query
from tests.unit.names.parts import asked


@pytest.mark.parametrize("name", ["anna.home.mesh", "Anna.home.mesh.", "x"])
def test_question_is_made(name: str) -> None:
    """That which dnslib makes of the same words."""
    query = make_query(name, "aaaa")
    other = parse_query(asked(name, "AAAA", edns=1232))
    assert query.question == other.question  # type: ignore[union-attr]
    again = parse_query(upstream_query(query, 7, query.name))
    assert again.name == query.name  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, "a." * 130, "ä", "a\nb"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """In one line."""
    with pytest.raises(UsageError):
        make_query(name, "A")


def test_unknown_type_is_refused() -> None:
    """Those there are are named."""
    with pytest.raises(UsageError, match="AAAA"):
        make_query("a", "AXFR")


def test_reply_is_described() -> None:
    """Its code, and a record each."""
    record = DNSRecord.question("www.example.org").reply()
    record.add_answer(
        RR("www.example.org", QTYPE.CNAME, rdata=CNAME("x.example.org"), ttl=5),
        RR("x.example.org", QTYPE.A, rdata=A("192.0.2.1"), ttl=300),
    )
    assert describe_reply(bytes(record.pack())) == {
        "code": "NOERROR",
        "records": [
            {
                "name": "www.example.org",
                "type": "CNAME",
                "ttl": 5,
                "data": "x.example.org",
            },
            {"name": "x.example.org", "type": "A", "ttl": 300, "data": "192.0.2.1"},
        ],
    }


def test_malformed_reply_is_none(rng: random.Random) -> None:
    """Whatever the bytes are, pointers without end included."""
    record = DNSRecord.question("www.example.org").reply()
    record.add_answer(RR("www.example.org", QTYPE.A, rdata=A("192.0.2.1")))
    sample = bytes(record.pack())
    for _ in range(2000):
        data = bytearray(sample)
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(256)
        describe_reply(bytes(data[: rng.randint(0, len(data))]))
    chain = bytearray(sample[:12] + bytes(5))
    for at in range(12, 8000, 2):
        chain += (0xC000 | max(at - 2, 12)).to_bytes(2, "big")
    describe_reply(bytes(chain))
