"""The compiled recorder writes what the reference's does, word for word."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.dataplane.fast.facts import Recorder
from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
)

SLOTS = 2
STEPS = st.tuples(
    st.sampled_from(
        ("sent", "received", "kept", "watch", "unwatch", "handshake", "stop", "clear")
    ),
    st.integers(0, SLOTS - 1),
    st.integers(1, 70),
    st.sampled_from((0.0, 0.5, 25.0)),
)


@given(st.lists(STEPS, max_size=60))
def test_both_write_the_same_memory(
    steps: list[tuple[str, int, int, float]],
) -> None:
    """And say the same of who must be told."""
    memories = bytearray(SLOTS * RECORD_BYTES), bytearray(SLOTS * RECORD_BYTES)
    tables = [TrafficTable(memory) for memory in memories]
    views = [ControlView(table) for table in tables]
    egress, ingress = EgressRecorder(tables[0]), IngressRecorder(tables[0])
    sent, received = Recorder(tables[1], True), Recorder(tables[1], False)
    now = 1.0
    for what, slot, packets, pause in steps:
        now += pause
        octets = packets * 128
        if what == "sent":
            told = egress.sent_data(slot, packets, octets, now)
            assert sent.data(slot, packets, octets, now) is told
        elif what == "received":
            told = ingress.received_data(slot, packets, octets, now)
            assert received.data(slot, packets, octets, now) is told
        elif what == "kept":
            ingress.received_keepalive(slot, octets, now, packets=packets)
            received.keepalives(slot, packets, octets, now)
        for view in views:
            if what in ("watch", "unwatch"):
                view.watch(slot, what == "watch")
            elif what == "handshake":
                view.count_handshake(slot, sent=148, received=92, now=now)
            elif what == "stop":
                view.stop_waiting(slot)
            elif what == "clear":
                view.clear(slot)
        assert memories[0] == memories[1]
