"""Any bytes as introduction, control frame or flow: counted, bounded, never raised."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec import ip
from meshnode.codec.forwarding import decode_report, encode_report
from meshnode.crypto.primitives import mac
from meshnode.dataplane.flows import flow_of
from meshnode.dataplane.gate import MAX_INTRODUCTION, MIN_INTRODUCTION, HandshakeGate
from meshnode.dataplane.interface import MAX_WAITING_FRAMES
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.traffic import IngressRecorder
from meshnode.errors import BadPacket, DropReason
from meshnode.forwarding import ControlReceived
from meshnode.wireguard.cookie import mac1_key
from tests.unit.dataplane.reference.halves import (
    BORN_AT,
    PATH,
    program,
    seal_data,
    session,
    start_session,
    traffic_memory,
)

OURS = bytes(range(32))
TYPE = (7).to_bytes(4, "little")
REFUSALS = {
    DropReason.BAD_TYPE,
    DropReason.BAD_LENGTH,
    DropReason.BAD_MAC1,
    DropReason.RATE_LIMITED,
}


def gate() -> HandshakeGate:
    """Build a gate for our key."""
    built = HandshakeGate()
    built.set_identity(OURS)
    return built


def signed(body: bytes) -> bytes:
    """Append the right mac1."""
    return body + mac(mac1_key(OURS), body)


@pytest.mark.parametrize("wrap", [bytes, signed])
def test_every_length_of_type_7(wrap) -> None:  # type: ignore[no-untyped-def]
    """Only the lengths allowed are looked at, and only a right mac1 passes."""
    built = gate()
    for size in range(1500):
        data = wrap((TYPE + bytes(range(256)) * 6)[:size])
        reason = built.admit(data, "192.0.2.1", 1, now=float(size))
        right = wrap is signed and MIN_INTRODUCTION <= len(data) <= MAX_INTRODUCTION
        assert (reason is None) is right, len(data)


def test_every_flipped_bit_of_an_introduction() -> None:
    """Each counts, those of the type too."""
    good = signed(TYPE + bytes(80))
    built = gate()
    assert built.admit(good, "192.0.2.1", 1, now=0.0) is None
    for bit in range(8 * len(good)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        reason = built.admit(bytes(changed), "192.0.2.1", 1, now=1.0 + bit)
        assert reason in REFUSALS, bit


@given(st.binary(max_size=1400))
def test_random_bytes_at_the_gate(data: bytes) -> None:
    """With the type written over them or not."""
    assert gate().admit(data, "192.0.2.1", 1, now=0.0) in REFUSALS
    assert gate().admit(TYPE + data, "192.0.2.1", 1, now=0.0) in REFUSALS


def test_hostile_payloads_of_a_peer(rng: random.Random) -> None:
    """Each is delivered, reported or dropped, and every report can be written."""
    table, _ = traffic_memory()
    half = OpenHalf(1, IngressRecorder(table))
    for command in (*program(), *start_session(session())):
        half.apply(command, now=BORN_AT)
    counter = 0
    for batch in range(40):
        sent, dropped = 0, sum(half.drops.values())
        for _ in range(50):
            head = rng.choice((b"", b"\x01", b"\x01\x45", b"\x45\x01", b"\x60"))
            payload = head + rng.randbytes(rng.choice((0, 1, 15, 30, 1217, 1300)))
            half.receive(seal_data(payload, counter), PATH, now=BORN_AT + 1 + batch)
            counter += 1
            sent += bool(payload)  # an empty one is a keepalive
        reports = half.reports()
        for report in reports:
            assert decode_report(encode_report(report)) == report
        frames = sum(isinstance(report, ControlReceived) for report in reports)
        taken = frames + len(half.packets_to_deliver())
        assert taken + sum(half.drops.values()) - dropped == sent
        assert 0 < frames <= MAX_WAITING_FRAMES
    assert half.drops[DropReason.BAD_INNER] > 0


@given(st.binary(min_size=1, max_size=80), st.sampled_from((4, 6)))
def test_flows_of_any_packet(data: bytes, version: int) -> None:
    """What passes the check of its length has a flow, and always the same."""
    packet = bytearray(data)
    packet[0] = version << 4 | packet[0] & 15
    try:
        whole = bytes(packet[: ip.true_length(bytes(packet))])
    except BadPacket:
        return
    flow = flow_of(whole)
    assert flow == flow_of(whole)
    assert flow.startswith(ip.source(whole) + ip.destination(whole))
    assert len(flow) <= 37
