"""Both engines tell the tap the same of the same traffic."""

import importlib.util
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.capture.rings import Rings
from meshnode.codec.channels import encode_header
from meshnode.codec.virtio import PLAIN
from meshnode.forwarding import SetEndpoint, SetStandby
from tests.inner_packets import tcp_packet, udp_packet
from tests.property.test_channels_by_engines import steps
from tests.property.test_engines_agree import ENGINES, Rig
from tests.tap_parts import memory
from tests.unit.dataplane.reference.halves import SLOT, seal_data
from tests.unit.dataplane.test_channels_by_pumps import BEHIND, Relayed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("meshnode.dataplane.fast.taps") is None,
    reason="the fast engine is not compiled",
)

GOOD = [
    tcp_packet(version, bytes(size), number=size)
    for version in (4, 6)
    for size in (0, 5, 700)
]
FOREIGN = bytearray(udp_packet(4, b"from elsewhere"))
FOREIGN[12:16] = bytes([172, 16, 0, 1])
ASTRAY = bytearray(udp_packet(4, b"to elsewhere"))
ASTRAY[16:20] = bytes([172, 16, 0, 1])
INNER_PACKETS = st.sampled_from([*GOOD, bytes(FOREIGN), b"", b"\x45 malformed"])
SENT = st.sampled_from([*GOOD, bytes(ASTRAY)])
WANTED = st.integers(1, 3)
SNAPLEN = st.sampled_from((20, 96, 65535))


def _tapped(
    name: str, role: str, wanted: int, snaplen: int, stack: ExitStack
) -> tuple[Rig, Rings]:
    ring = memory(wanted=wanted, snaplen=snaplen)
    return Rig(name, role, stack, tap=ring), Rings(ring)


def _told(rings: Rings, rig: Rig) -> list[Any]:
    """Return what was noted, but for the times and where the rig's peer is."""
    found = []
    while noted := rings.read():
        for one in noted:
            assert one.version in (0, 4)
            if one.version:
                assert one.remote[:4] == bytes([127, 0, 0, 1])
                assert one.remote_port == rig.peer.getsockname()[1]
            kept = (one.side, one.verdict, one.slot, one.channel, one.version)
            found.append((*kept, one.length, one.data))
    # Who seals a run does so after its packets were noted, or between them.
    return sorted(found)


@settings(max_examples=60)
@given(st.lists(SENT, min_size=1, max_size=20), WANTED, SNAPLEN)
def test_both_note_the_same_of_what_is_sent(
    sent: list[bytes], wanted: int, snaplen: int
) -> None:
    """Packets, datagrams, and what goes nowhere."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig, rings = _tapped(name, "egress", wanted, snaplen, stack)
            for packet in sent:
                rig.kernel.send(PLAIN + packet)
            rig.pump()
            outcomes.append(_told(rings, rig))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) >= (wanted & 1) * len(sent)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(INNER_PACKETS, st.integers(0, 30)), min_size=1, max_size=30),
    st.sets(st.integers(0, 30), max_size=4),
    WANTED,
    SNAPLEN,
)
def test_both_note_the_same_of_what_is_received(
    sealed: list[tuple[bytes, int]], damaged: set[int], wanted: int, snaplen: int
) -> None:
    """Replays, forgeries, sources that are not allowed, unknown sessions."""
    datagrams = [bytearray(seal_data(packet, n)) for packet, n in sealed]
    for number in damaged & set(range(len(datagrams))):
        # The tag, or the index of the session.
        datagrams[number][-1 if number % 2 else 4] ^= 1
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig, rings = _tapped(name, "ingress", wanted, snaplen, stack)
            for datagram in datagrams:
                rig.peer.sendto(datagram, rig.address)
            rig.pump()
            outcomes.append(_told(rings, rig))
    assert outcomes[0] == outcomes[1]
    if wanted & 2:
        outer = [one for one in outcomes[0] if one[0] == 2]
        assert len(outer) == len(datagrams)


@settings(max_examples=30, deadline=None)
@given(st.lists(steps(), min_size=1, max_size=20), WANTED)
def test_both_note_the_same_of_what_comes_by_relays(
    sent: list[tuple[str, int, bytes | None, int]], wanted: int
) -> None:
    """What ends here, what goes on, and what has no channel."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            ring = memory(wanted=wanted)
            rig, rings = Relayed(name, "ingress", stack, tap=ring), Rings(ring)
            for sender, channel, plain, counter in sent:
                data = bytes(33) if plain is None else seal_data(plain, counter)
                if channel:
                    data = encode_header(channel) + data
                getattr(rig, sender).sendto(data, rig.address)
                rig.pump()
            outcomes.append(
                [
                    (one.side, one.verdict, one.slot, one.channel, one.data)
                    for one in rings.read()
                ]
            )
    assert outcomes[0] == outcomes[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(SENT, min_size=1, max_size=10), WANTED, st.booleans())
def test_both_note_the_same_of_what_goes_by_a_relay(
    sent: list[bytes], wanted: int, has_standby: bool
) -> None:
    """Behind a channel, and by a second way at once."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            ring = memory(wanted=wanted)
            rig, rings = Relayed(name, "egress", stack, tap=ring), Rings(ring)
            rig.apply(SetEndpoint(SLOT, BEHIND))
            if has_standby:
                rig.apply(SetStandby(SLOT, rig.path))
            for packet in sent:
                rig.kernel.send(PLAIN + packet)
                rig.pump()
            outcomes.append(
                sorted(
                    (one.side, one.verdict, one.slot, one.channel, one.data)
                    for one in rings.read()
                )
            )
    assert outcomes[0] == outcomes[1]
