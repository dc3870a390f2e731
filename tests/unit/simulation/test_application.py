"""Inner packets have numbers and are real IP packets; requests are answered."""

import pytest

from meshnode.codec import ip
from meshnode.simulation.application import (
    SMALLEST,
    Application,
    InnerPacket,
    Kind,
    inner_address,
    inner_prefixes,
    parse_inner,
)


def make(index=0):
    """Return an application and the list of what it sends."""
    sent, numbers = [], iter(range(100, 200))
    application = Application(index, send=sent.append, number=lambda: next(numbers))
    return application, sent


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [SMALLEST[6], 100, 1420])
def test_packets_are_what_the_data_plane_expects(version, size):
    """True length and both addresses can be read from them."""
    packet = InnerPacket(Kind.REPLY, 3, 2**40, 7)
    source, destination = inner_address(3, version), inner_address(9, version)
    data = packet.serialise(source, destination, size=size)
    assert len(data) == size == ip.true_length(data)
    assert ip.source(data) == source
    assert ip.destination(data) == destination
    assert parse_inner(data) == packet


def test_each_host_has_its_prefixes():
    """One address of each family, all different."""
    prefixes = {str(p) for index in range(100) for p in inner_prefixes(index)}
    assert len(prefixes) == 200
    assert "10.77.0.1/32" in prefixes


def test_a_request_is_answered_and_the_answer_counted_once():
    """By the same size, to where it came from."""
    (a, from_a), (b, from_b) = make(0), make(1)
    number = a.request(1, now=1.0, size=300)
    b.receive(from_a[0], now=2.0)
    assert b.delivered == {number: 2.0}
    assert len(from_b[0]) == 300
    a.receive(from_b[0], now=3.0)
    a.receive(from_b[0], now=4.0)
    assert a.answered == {number: 3.0}
    assert len(from_a) == 1


def test_a_silent_application_answers_nothing():
    """But remembers what came."""
    (a, from_a), (b, from_b) = make(0), make(1)
    b.echoes = False
    a.request(1, now=1.0)
    b.receive(from_a[0], now=2.0)
    assert from_b == []
    assert len(b.delivered) == 1


def test_a_claim_is_a_wrong_source():
    """The packet bears another host's address and our own index."""
    a, sent = make(0)
    a.request(1, now=0.0, claim=5)
    assert ip.source(sent[0]) == inner_address(5, 4)
    assert parse_inner(sent[0]).sender == 0
