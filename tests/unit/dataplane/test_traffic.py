"""The shared traffic records: counts, waits, generations."""

import mmap

import pytest

from meshnode.dataplane.traffic import (
    RECORD_BYTES,
    ControlView,
    EgressRecorder,
    IngressRecorder,
    TrafficTable,
    table_bytes,
)
from meshnode.ports import NEVER, Traffic, TrafficView


class Node:
    """The three users of one table of four slots."""

    def __init__(self) -> None:
        self.table = TrafficTable(bytearray(4 * RECORD_BYTES))
        self.egress = EgressRecorder(self.table)
        self.ingress = IngressRecorder(self.table)
        self.control = ControlView(self.table)


@pytest.fixture
def node() -> Node:
    """Three processes' views of fresh memory."""
    return Node()


def test_the_view_is_the_one_control_expects() -> None:
    """`ControlView` has what the engine asks for."""
    view: TrafficView = Node().control
    assert view.read(3) == Traffic()


def test_memory_of_zeros_is_a_table_in_which_nothing_happened(node: Node) -> None:
    """A slot that nobody touched has no counts, and its times are NEVER."""
    assert node.control.read(0) == Traffic()
    assert node.control.read(0).last_sent_at == NEVER


def test_zero_is_an_instant(node: Node) -> None:
    """What happened at 0.0 is not taken for what never happened."""
    node.egress.sent_data(0, 1, 128, 0.0)
    node.control.count_handshake(0, received=92, now=0.0)
    facts = node.control.read(0)
    assert facts.last_sent_at == facts.last_data_sent_at == 0.0
    assert facts.last_received_at == 0.0
    assert facts.last_data_received_at == NEVER


def test_counts_are_the_kernel_tests_sums(node: Node) -> None:
    """Handshake, ten pings and a keepalive give the byte counts netns.sh wants."""
    node.control.count_handshake(1, sent=148, now=1.0)
    node.control.count_handshake(1, received=92, now=1.1)
    node.egress.sent_data(1, 10, 10 * 128, 1.2)
    node.ingress.received_data(1, 10, 10 * 128, 1.3)
    node.egress.sent_keepalive(1, 32, 11.3)
    facts = node.control.read(1)
    assert (facts.sent_packets, facts.sent_bytes) == (12, 1460)
    assert (facts.received_packets, facts.received_bytes) == (11, 1372)
    assert (facts.last_sent_at, facts.last_data_sent_at) == (11.3, 1.2)
    assert (facts.last_received_at, facts.last_data_received_at) == (1.3, 1.3)
    assert node.control.read(0) == node.control.read(2) == Traffic()


def test_unanswered_begins_with_the_first_data(node: Node) -> None:
    """Data sent after the first does not move the wait, and says nothing more."""
    assert node.egress.sent_data(0, 1, 128, 5.0) is True
    assert node.egress.sent_data(0, 1, 128, 6.0) is False
    assert node.control.read(0).unanswered_since == 5.0


@pytest.mark.parametrize("answer", ["data", "keepalive", "handshake"])
def test_any_authenticated_packet_is_an_answer(node: Node, answer: str) -> None:
    """Data, keepalive and handshake end the wait; the next data begins another."""
    node.egress.sent_data(0, 1, 128, 5.0)
    match answer:
        case "data":
            node.ingress.received_data(0, 1, 128, 6.0)
        case "keepalive":
            node.ingress.received_keepalive(0, 32, 6.0)
        case _:
            node.control.count_handshake(0, received=92, now=6.0)
    assert node.control.read(0).unanswered_since is None
    assert node.egress.sent_data(0, 1, 128, 7.0) is True
    assert node.control.read(0).unanswered_since == 7.0


@pytest.mark.parametrize("send", ["data", "keepalive", "handshake"])
def test_any_packet_of_ours_acknowledges(node: Node, send: str) -> None:
    """Data, keepalive and handshake end what we owe; the next data begins it."""
    assert node.ingress.received_data(0, 1, 128, 5.0) is True
    assert node.ingress.received_data(0, 1, 128, 5.5) is False
    assert node.control.read(0).unacknowledged_since == 5.0
    match send:
        case "data":
            node.egress.sent_data(0, 1, 128, 6.0)
        case "keepalive":
            node.egress.sent_keepalive(0, 32, 6.0)
        case _:
            node.control.count_handshake(0, sent=148, now=6.0)
    assert node.control.read(0).unacknowledged_since is None
    assert node.ingress.received_data(0, 1, 128, 7.0) is True
    assert node.control.read(0).unacknowledged_since == 7.0


def test_keepalives_begin_no_wait(node: Node) -> None:
    """An empty packet, sent or received, wants no answer."""
    assert node.egress.sent_keepalive(0, 32, 1.0) is False
    assert node.ingress.received_keepalive(0, 32, 2.0) is False
    facts = node.control.read(0)
    assert facts.unanswered_since is facts.unacknowledged_since is None
    assert (facts.last_data_sent_at, facts.last_data_received_at) == (NEVER, NEVER)
    assert (facts.last_sent_at, facts.last_received_at) == (1.0, 2.0)


def test_a_watched_peer_is_not_reported(node: Node) -> None:
    """While control watches, waits begin without a word; afterwards with one."""
    node.control.watch(0, True)
    assert node.egress.sent_data(0, 1, 128, 1.0) is False
    assert node.ingress.received_data(0, 1, 128, 2.0) is False
    assert node.control.read(0).unacknowledged_since == 2.0
    node.control.watch(0, False)
    assert node.egress.sent_data(0, 1, 128, 3.0) is True
    assert node.ingress.received_data(0, 1, 128, 4.0) is True
    assert node.egress.sent_data(1, 1, 128, 3.0) is True


def test_control_can_end_a_wait(node: Node) -> None:
    """After `stop_waiting` the next data begins anew, and no packet is counted."""
    node.control.watch(0, True)
    node.egress.sent_data(0, 1, 128, 1.0)
    node.ingress.received_data(0, 1, 128, 2.0)
    node.egress.sent_data(0, 1, 128, 3.0)
    before = node.control.read(0)
    assert before.unanswered_since == 3.0
    node.control.stop_waiting(0)
    after = node.control.read(0)
    assert after.unanswered_since is None
    assert after.received_packets == before.received_packets == 1
    assert after.last_received_at == 2.0
    assert node.egress.sent_data(0, 1, 128, 9.0) is False, "it is still watched"
    assert node.control.read(0).unanswered_since == 9.0
    node.control.stop_waiting(0)
    node.control.watch(0, False)
    assert node.egress.sent_data(0, 1, 128, 11.0) is True


def test_ending_a_wait_leaves_what_we_owe(node: Node) -> None:
    """`stop_waiting` is about answers to us, not about ours."""
    node.ingress.received_data(0, 1, 128, 2.0)
    node.control.stop_waiting(0)
    assert node.control.read(0).unacknowledged_since == 2.0


def test_a_new_peer_inherits_nothing(node: Node) -> None:
    """After `clear` a slot is blank for control and starts afresh for workers."""
    node.control.count_handshake(0, sent=148, received=92, now=1.0)
    node.control.watch(0, True)
    node.control.stop_waiting(0)
    node.egress.sent_data(0, 3, 300, 2.0)
    node.ingress.received_data(0, 3, 300, 2.0)
    node.control.clear(0)
    assert node.control.read(0) == Traffic()
    assert node.egress.sent_data(0, 1, 128, 3.0) is True
    facts = node.control.read(0)
    assert (facts.sent_packets, facts.sent_bytes) == (1, 128)
    assert facts.unanswered_since == 3.0
    assert facts.received_packets == 0
    assert facts.last_received_at == NEVER


def test_the_wait_of_a_new_peer_ignores_the_old_ones_packets(node: Node) -> None:
    """A mark set while the other line is stale holds when that line starts afresh."""
    node.ingress.received_data(0, 7, 700, 1.0)
    node.control.clear(0)
    node.egress.sent_data(0, 1, 128, 2.0)
    assert node.control.read(0).unanswered_since == 2.0
    for _ in range(7):
        node.ingress.received_keepalive(0, 32, 3.0)
    assert node.control.read(0).unanswered_since is None


def test_facts_outlive_their_processes(node: Node) -> None:
    """A new worker or control over the same memory goes on where the old one was."""
    node.egress.sent_data(0, 2, 256, 1.0)
    EgressRecorder(node.table).sent_data(0, 1, 128, 2.0)
    facts = ControlView(node.table).read(0)
    assert (facts.sent_packets, facts.sent_bytes) == (3, 384)
    assert facts.unanswered_since == 1.0


def test_full_size_table_over_shared_memory() -> None:
    """The last of 65,536 slots works, and two tables see the same memory."""
    area = mmap.mmap(-1, table_bytes(1))
    EgressRecorder(TrafficTable(area)).sent_data(65535, 1, 128, 4.0)
    table = TrafficTable(area)
    assert table.slots == 65536
    assert ControlView(table).read(65535).last_data_sent_at == 4.0


def test_slots_beyond_the_table_are_refused(node: Node) -> None:
    """No slot reaches memory that is not its own."""
    with pytest.raises(IndexError):
        node.egress.sent_data(4, 1, 128, 1.0)
    with pytest.raises(IndexError):
        node.control.read(4)


@pytest.mark.parametrize("buffer", [bytes(RECORD_BYTES), bytearray(), bytearray(100)])
def test_memory_that_cannot_hold_records(buffer: bytes | bytearray) -> None:
    """Read-only memory and parts of records are refused at once."""
    with pytest.raises(ValueError, match="writable"):
        TrafficTable(buffer)


def test_writers_keep_to_their_lines(node: Node) -> None:
    """Each of the three changes only its own 64 bytes of the record."""
    octets = node.table.words.cast("B")

    def changed_lines() -> set[int]:
        return {n // 64 for n, octet in enumerate(octets) if octet}

    node.control.count_handshake(0, sent=1, received=1, now=1.5)
    node.control.watch(0, True)
    node.control.stop_waiting(0)
    node.control.clear(0)
    assert changed_lines() == {2}
    before = bytes(octets[128:192])
    node.egress.sent_data(0, 1, 1, 1.5)
    assert changed_lines() == {0, 2}
    egress = bytes(octets[:64])
    node.ingress.received_data(0, 1, 1, 1.5)
    assert changed_lines() == {0, 1, 2}
    assert bytes(octets[:64]) == egress
    assert bytes(octets[128:192]) == before


# --- several workers of each direction ---


class Several:
    """Three workers of each direction over one table of four slots."""

    def __init__(self) -> None:
        self.octets = bytearray(4 * 64 * 7)
        self.table = TrafficTable(self.octets, workers=3)
        self.egress = [EgressRecorder(self.table, n) for n in range(3)]
        self.ingress = [IngressRecorder(self.table, n) for n in range(3)]
        self.control = ControlView(self.table)

    def changed_lines(self) -> set[int]:
        """Return the lines of slot 0 in which something stands."""
        return {n // 64 for n, octet in enumerate(self.octets[: 64 * 7]) if octet}


@pytest.fixture
def several() -> Several:
    """A table of several workers."""
    return Several()


def test_each_of_several_workers_has_a_line(several: Several) -> None:
    """Egress first, then ingress, then control; a slot's record is all of them."""
    assert several.table.slots == 4
    for number in range(3):
        several.egress[number].sent_data(0, 1, 1, 1.5)
        assert several.changed_lines() == set(range(number + 1))
    for number in range(3):
        several.ingress[number].received_data(0, 1, 1, 1.5)
        assert several.changed_lines() == set(range(number + 4))
    several.control.clear(0)
    assert several.changed_lines() == set(range(7))
    assert several.control.read(0) == several.control.read(1) == Traffic()


def test_facts_of_several_workers_are_added_up(several: Several) -> None:
    """Counts are sums, times are the latest of all."""
    for number in range(3):
        several.egress[number].sent_data(1, 2, 200, 5.0 - number)
        several.ingress[number].received_data(1, 3, 300, 7.0 + number)
    several.egress[1].sent_keepalive(1, 32, 20.0)
    facts = several.control.read(1)
    assert (facts.sent_packets, facts.sent_bytes) == (7, 632)
    assert (facts.received_packets, facts.received_bytes) == (9, 900)
    assert (facts.last_sent_at, facts.last_data_sent_at) == (20.0, 5.0)
    assert (facts.last_received_at, facts.last_data_received_at) == (9.0, 9.0)


def test_the_earliest_wait_is_the_peers(several: Several) -> None:
    """Whichever worker began it; and any worker of the other direction ends it."""
    assert several.egress[2].sent_data(0, 1, 128, 5.0) is True
    assert several.egress[0].sent_data(0, 1, 128, 6.0) is True
    assert several.control.read(0).unanswered_since == 5.0
    several.ingress[1].received_keepalive(0, 32, 7.0)
    assert several.control.read(0).unanswered_since is None
    assert several.egress[0].sent_data(0, 1, 128, 8.0) is True
    assert several.control.read(0).unanswered_since == 8.0
    several.control.stop_waiting(0)
    assert several.control.read(0).unanswered_since is None


def test_any_egress_worker_pays_what_is_owed(several: Several) -> None:
    """What one sends is an acknowledgement of what any other received."""
    several.ingress[0].received_data(0, 1, 128, 5.0)
    several.ingress[2].received_data(0, 1, 128, 4.0)
    assert several.control.read(0).unacknowledged_since == 4.0
    several.egress[1].sent_keepalive(0, 32, 6.0)
    assert several.control.read(0).unacknowledged_since is None


def test_lines_of_a_peer_that_is_gone_count_for_nobody(several: Several) -> None:
    """Neither in sums nor in marks, until their writer starts them afresh."""
    several.ingress[0].received_data(0, 7, 700, 1.0)
    several.ingress[1].received_data(0, 5, 500, 1.0)
    several.control.clear(0)
    several.egress[0].sent_data(0, 1, 128, 2.0)
    assert several.control.read(0).unanswered_since == 2.0
    several.ingress[1].received_keepalive(0, 32, 3.0)
    facts = several.control.read(0)
    assert (facts.received_packets, facts.unanswered_since) == (1, None)
