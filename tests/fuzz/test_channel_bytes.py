"""Any bytes to who receives relayed datagrams: refused, and never more out than in."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec.channels import (
    encode_header,
    may_have_channels,
    parse,
    relabel,
    runs,
    wrap,
)
from meshnode.dataplane.interface import Burst
from meshnode.errors import BadPacket
from meshnode.forwarding import EndpointMoved, PathHeard
from meshnode.types import Endpoint, Path
from tests.unit.dataplane.reference.halves import OTHER_PATH, PATH, SLOT
from tests.unit.dataplane.reference.test_relay import (
    BEHIND,
    NEXT_PATH,
    RELAY_PATH,
    Ingress,
)
from tests.unit.dataplane.test_gate import introduction, message

ORIGINS = (PATH, OTHER_PATH, RELAY_PATH, NEXT_PATH)


@given(st.binary(max_size=80))
@example(encode_header(0))
@example(encode_header(2**32 - 1) + b"x")
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    """And what is parsed is what would be sent."""
    try:
        channel, content = parse(data)
    except BadPacket:
        return
    assert encode_header(channel) + content == data


@given(data=st.binary(max_size=200), size=st.integers(1, 60), fives=st.booleans())
def test_any_burst_is_split_without_loss(data: bytes, size: int, fives: bool) -> None:
    """Runs lie one behind the other, and agree with the single datagrams."""
    whole = bytearray(data)
    if fives:
        for at in range(0, max(len(whole) - 4, 0), size):
            whole[at : at + 4] = bytes((5, 0, 0, 0))
    found = list(runs(whole, len(whole), size))
    assert b"".join(whole[run.start : run.end] for run in found) == whole
    for run in found:
        for at in range(run.start, run.end, size):
            one = bytes(whole[at : min(at + size, run.end)])
            try:
                channel: int | None = parse(one)[0]
            except BadPacket:
                channel = None
            assert channel == run.channel
    if any(run.channel is not None for run in found):
        assert may_have_channels(whole, len(whole), size)


@given(
    st.binary(min_size=1, max_size=200),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_any_burst_is_wrapped_and_relabelled(
    data: bytes, size: int, first: int, second: int
) -> None:
    """As each datagram alone would be."""
    wrapped = wrap(data, size, first)
    assert [run.channel for run in runs(wrapped, len(wrapped), size + 8)] == [first]
    relabel(wrapped, size + 8, second)
    assert wrapped == wrap(data, size, second)


@given(st.integers(1, 2**32 - 1), st.ip_addresses(v=6))
def test_any_channel_has_an_endpoint(number: int, address: object) -> None:
    """And any other address is no channel of ours, or has a number of 32 bits."""
    assert channel_of(endpoint_of(number)) == number
    assert 0 <= channel_of(Endpoint(str(address), 9)) < 2**32


@pytest.mark.parametrize("seed", range(4))
def test_nothing_comes_out_beyond_what_came_in(seed: int) -> None:
    """Whatever strangers and relays send, whole or in bursts: the meter of ingress."""
    dice = random.Random(seed)
    ingress = Ingress()
    for _ in range(3000):
        pieces = [_datagram(dice) for _ in range(dice.choice((1, 1, 1, 5)))]
        size = max(map(len, pieces))
        if len(pieces) > 1:
            # Those of a burst are equal in size.
            pieces = [one + bytes(size - len(one)) for one in pieces]
        came, path = sum(map(len, pieces)), dice.choice(ORIGINS)
        before = ingress.half.relayed
        ingress.receive_burst(b"".join(pieces), size, path)
        bursts = ingress.forwarded()
        sent = [data for burst in bursts for data in burst.datagrams()]
        assert len(sent) <= len(pieces)
        assert sum(map(len, sent)) <= came
        # Only from who has the channel, only to where it leads.
        assert not sent or path is RELAY_PATH
        assert all(burst.path is NEXT_PATH for burst in bursts)
        assert all(parse(data)[0] == 80 for data in sent)
        assert ingress.half.relayed[1] - before[1] == sum(map(len, sent))
        for datagram in ingress.half.handshakes():
            # A channel leads no handshake to anywhere but itself.
            assert datagram.path in (path, BEHIND)
    assert ingress.half.relayed[0] > 50
    moved = [r for r in ingress.half.reports() if isinstance(r, EndpointMoved)]
    assert moved == []
    assert not [r for r in ingress.half.reports() if isinstance(r, PathHeard)]
    assert ingress.view.read(SLOT).received_packets == 0


def _datagram(dice: random.Random) -> bytes:
    """Return something between noise and what is nearly right."""
    kind = dice.choice((*range(9), 5, 5, 5, 255))
    content = dice.randbytes(dice.choice((0, 3, 4, 8, 31, 32, 92, 148, 400)))
    if kind == 1:
        return message(1) if dice.random() < 0.5 else bytes((1, 0, 0, 0)) + content
    if kind == 7:
        return introduction()
    if kind == 5:
        number = dice.choice((0, 7, 8, 8, 9, 70, 80, 2**32 - 1))
        inner = _datagram(dice) if dice.random() < 0.3 else content
        return encode_header(number) + inner
    return bytes((kind, 0, 0, 0)) + content


def test_the_meter_counts() -> None:
    """A burst of the relay's is really forwarded by the half that is looked at."""
    ingress = Ingress()
    ingress.receive_burst(wrap(bytes(120), 40, 8), 48, RELAY_PATH)
    assert ingress.forwarded() == [Burst(NEXT_PATH, 48, wrap(bytes(120), 40, 80))]
    ingress.receive_burst(wrap(bytes(120), 40, 8), 48, Path(Endpoint("192.0.2.66", 1)))
    assert ingress.forwarded() == []
