"""Bytes from anybody who asks for names, and from resolvers.

No exception, no reply to what is none, no reply larger than 512 bytes for names of
ours; tables of names refuse with one error.
"""

import random

import pytest
from dnslib import RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import CodecError
from meshnode.names.describe import describe_reply
from meshnode.names.message import (
    Query,
    addresses_in,
    for_asker,
    is_reply,
    parse_query,
    upstream_query,
)
from meshnode.names.table import parse_table
from meshnode.names.zone import answer
from tests.unit.names.parts import TABLE, asked

ROUNDS = 4000
SAMPLES = (
    asked("anna.home.mesh"),
    asked("bert.home.mesh", "AAAA", edns=1232),
    asked("1.0.77.10.in-addr.arpa", "PTR"),
    asked("home.mesh", "SOA", edns=65535),
    asked("www.example.org", "ANY"),
)


def mutate(rng: random.Random, sample: bytes) -> bytes:
    """Return the sample with some bytes changed, cut or longer."""
    data = bytearray(sample)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    match rng.randrange(4):
        case 0:
            return bytes(data[: rng.randrange(len(data))])
        case 1:
            return bytes(data) + rng.randbytes(rng.randint(1, 40))
    return bytes(data)


def check(data: bytes) -> None:
    """Ask, and see that the answer is small and well formed."""
    query = parse_query(data)
    if isinstance(query, bytes):
        assert len(query) <= max(len(data), 12)
        reply: bytes | None = query
    else:
        reply = answer(query, TABLE)
        again = parse_query(upstream_query(query, query.number, query.name))
        assert isinstance(again, Query)
        assert (again.question, again.wants_dnssec) == (
            query.question,
            query.wants_dnssec,
        )
    if reply:
        assert len(reply) <= 512
        assert reply[:2] == data[:2]
        assert reply[2] & 0x80
        if data.isascii():  # dnslib reads no other names
            DNSRecord.parse(reply)
        assert parse_query(reply) == b""


def test_any_change_of_a_query(rng: random.Random) -> None:
    """It is read as another one, or refused."""
    for _ in range(ROUNDS):
        check(mutate(rng, rng.choice(SAMPLES)))


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    """Noise is survived."""
    check(data)
    check(b"\0\1\1\0\0\1\0\0\0\0\0\0" + data)
    describe_reply(data)
    addresses_in(data)


def test_any_reply_of_a_resolver(rng: random.Random) -> None:
    """What is believed can be handed on, and nothing is made of the rest."""
    query = parse_query(asked("www.example.org"))
    assert isinstance(query, Query)
    record = DNSRecord.parse(asked("www.example.org")).reply()
    for number in range(5):
        record.add_answer(RR("www.example.org", rdata=A(f"192.0.2.{number}"), ttl=9))
    sample = bytes(record.pack())
    for _ in range(ROUNDS):
        data = mutate(rng, sample)
        if is_reply(data, 77, query.question):
            assert is_reply(for_asker(query, data), 77, query.question)
        addresses, seconds = addresses_in(data)
        assert len(addresses) <= 500
        assert seconds >= 0
        describe_reply(data)


def test_any_change_of_a_table(rng: random.Random) -> None:
    """It is another whole table, or an error."""
    sample = TABLE.serialise()
    for _ in range(ROUNDS):
        data = mutate(rng, sample)
        try:
            table = parse_table(data)
        except CodecError:
            continue
        assert table.serialise() == data


def test_pointers_without_end_cost_nothing() -> None:
    """A message of 64 KiB that is one chain of them."""
    chain = bytearray(asked("a.mesh"))
    while len(chain) < 65000:
        chain += (0xC000 | min(len(chain) - 2, 0x3FFF)).to_bytes(2, "big")
    chain[11] = 4
    check(bytes(chain))
    addresses_in(bytes(chain))
    with pytest.raises(CodecError):
        parse_table(bytes(chain))
