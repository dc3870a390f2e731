"""iperf3's reports: what the receiver got counts, not what was sent."""

import pytest

from topology import iperf

# What iperf3 3.12 told of a second of either kind, without what nobody reads.
TCP_REPORT = {
    "end": {
        "sum_sent": {"seconds": 1.0, "bytes": 600, "bits_per_second": 4800.0},
        "sum_received": {"seconds": 2.0, "bytes": 500, "bits_per_second": 2000.0},
        "cpu_utilization_percent": {"host_total": 30.0, "remote_total": 20.0},
    }
}
UDP_REPORT = {
    "end": {
        # The sum is the sender's, with the receiver's losses.
        "sum": {"seconds": 1.0, "packets": 437940, "lost_packets": 284329},
        "sum_sent": {"seconds": 1.0, "packets": 437940, "lost_packets": 0},
        "sum_received": {
            "seconds": 2.0,
            "bytes": 5529996,
            "packets": 437940,
            "lost_packets": 284329,
        },
    }
}


def test_tcp_is_what_was_received() -> None:
    """The sender's own sum has bytes that never arrived."""
    result = iperf.throughput(TCP_REPORT, processor_seconds=3.0)
    assert (result.bits_per_second, result.seconds) == (2000.0, 2.0)
    assert result.program_seconds == 1.0


def test_processor_time_is_told_for_each_gigabit() -> None:
    """Without a bit received the price has no bound."""
    result = iperf.Throughput(2e9, processor_seconds=6.0, seconds=3.0)
    assert result.processor_seconds_per_gigabit == 1.0
    nothing = iperf.Throughput(0.0, processor_seconds=6.0, seconds=3.0)
    assert nothing.processor_seconds_per_gigabit == float("inf")


def test_datagrams_are_counted_on_both_sides() -> None:
    """Each side by its own clock."""
    result = iperf.datagrams(UDP_REPORT, payload=36)
    assert result.offered == 437940
    assert result.received == 153611 / 2
    assert result.bits_per_second == 153611 / 2 * 36 * 8
    assert result.loss == pytest.approx(1 - 153611 / 2 / 437940)


def test_loss_is_never_below_nothing() -> None:
    """Clocks that differ a little make no negative loss."""
    assert iperf.Datagrams(offered=100.0, received=101.0, payload=64).loss == 0
    assert iperf.Datagrams(offered=0.0, received=0.0, payload=64).loss == 0
