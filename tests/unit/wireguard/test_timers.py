"""The five timers, computed from facts: when each expires, and that it does once."""

import dataclasses

import pytest

from meshnode.ports import NEVER, Traffic
from meshnode.wireguard.timers import Timer, Timers

QUIET = Traffic()


def deadline(timers, traffic=QUIET):
    """Return the moment and the reason of the next deadline."""
    found = timers.next_deadline(traffic)
    return None if found is None else (found.at, found.reason)


def expire(timers, now, traffic=QUIET):
    """Return the timers that expire by *now*."""
    return timers.pop_expired(traffic, now=now)


def test_nothing_runs_at_first():
    """A peer that did nothing waits for nothing."""
    assert deadline(Timers()) is None
    assert not Timers().awaits_traffic(QUIET)


def test_retransmission_is_stored_and_concluded():
    """It expires at its moment, not before, and once."""
    timers = Timers()
    timers.retransmit_at = 5.2
    assert deadline(timers) == (5.2, "retransmit handshake")
    assert expire(timers, 5.1) == []
    assert expire(timers, 5.2) == [Timer.RETRANSMIT_HANDSHAKE]
    assert timers.retransmit_at is None
    assert expire(timers, 99.0) == []


def test_keys_are_zeroed_once():
    """The moment is stored by whoever derives keys."""
    timers = Timers()
    timers.zero_keys_at = 540.0
    assert deadline(timers) == (540.0, "zero key material")
    assert expire(timers, 600.0) == [Timer.ZERO_KEY_MATERIAL]
    assert deadline(timers) is None


def test_silence_counts_from_the_first_unanswered_packet():
    """Fifteen seconds and the jitter."""
    timers = Timers()
    timers.silence_jitter = 0.25
    waiting = Traffic(unanswered_since=100.0)
    assert deadline(timers, waiting) == (115.25, "new handshake after silence")
    assert timers.awaits_traffic(waiting)
    assert expire(timers, 115.0, waiting) == []
    assert expire(timers, 115.25, waiting) == [Timer.NEW_HANDSHAKE]


def test_a_wait_that_began_at_zero_is_a_wait():
    """0.0 is a real instant of boottime, not nothing."""
    timers = Timers()
    assert timers.awaits_traffic(Traffic(unanswered_since=0.0))
    assert timers.awaits_traffic(Traffic(unacknowledged_since=0.0))


def received(since, last=None):
    """Return the facts after data arrived, first *since*, last at *last*."""
    return Traffic(
        unacknowledged_since=since,
        last_data_received_at=since if last is None else last,
    )


def test_a_keepalive_is_owed_ten_seconds_after_data():
    """Once for the data, if no more came."""
    timers = Timers()
    facts = received(50.0)
    assert deadline(timers, facts) == (60.0, "send keepalive")
    assert expire(timers, 60.0, facts) == [Timer.SEND_KEEPALIVE]
    assert deadline(timers, facts) is None
    assert not timers.awaits_traffic(facts)


def test_more_data_meanwhile_asks_for_a_second():
    """Ten seconds after the first, and no third."""
    timers = Timers()
    facts = received(50.0, last=55.0)
    assert expire(timers, 60.0, facts) == [Timer.SEND_KEEPALIVE]
    # The keepalive went out, so nothing is unacknowledged any more.
    facts = dataclasses.replace(facts, unacknowledged_since=None)
    assert deadline(timers, facts) == (70.0, "send keepalive")
    assert timers.awaits_traffic(facts)
    assert expire(timers, 70.0, facts) == [Timer.SEND_KEEPALIVE]
    assert deadline(timers, facts) is None


def test_data_we_send_cancels_the_second_keepalive():
    """The keepalive itself does not; data does."""
    timers = Timers()
    expire(timers, 60.0, received(50.0, last=55.0))
    after = Traffic(last_data_received_at=55.0, last_sent_at=60.0)
    assert deadline(timers, after) == (70.0, "send keepalive")
    spoken = dataclasses.replace(after, last_data_sent_at=61.0)
    assert deadline(timers, spoken) is None


def test_new_data_after_an_answer_is_a_new_debt():
    """Each wait has its own keepalive."""
    timers = Timers()
    assert expire(timers, 60.0, received(50.0)) == [Timer.SEND_KEEPALIVE]
    assert deadline(timers, received(80.0)) == (90.0, "send keepalive")


def test_what_control_could_not_send_is_not_tried_again_at_once():
    """If the keepalive failed, the same debt does not make a storm."""
    timers = Timers()
    facts = received(50.0)
    assert expire(timers, 60.0, facts) == [Timer.SEND_KEEPALIVE]
    assert expire(timers, 60.0, facts) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Traffic(last_sent_at=10.0), 35.0),
        (Traffic(last_received_at=12.0), 37.0),
        (Traffic(last_sent_at=10.0, last_received_at=12.0), 37.0),
    ],
)
def test_persistent_keepalives_follow_traffic_either_way(facts, expected):
    """The interval counts from the last authenticated packet."""
    timers = Timers(persistent_interval=25)
    assert deadline(timers, facts) == (expected, "persistent keepalive")
    assert not timers.awaits_traffic(facts)


def test_a_persistent_keepalive_counts_from_its_own_expiry_too():
    """Without traffic it comes at every interval, and after a stall just once."""
    timers = Timers(persistent_interval=25)
    facts = Traffic(last_sent_at=10.0)
    assert expire(timers, 500.0, facts) == [Timer.PERSISTENT_KEEPALIVE]
    assert deadline(timers, facts) == (525.0, "persistent keepalive")


def test_no_interval_means_no_persistent_keepalive():
    """And an interval without any traffic has nothing to count from."""
    assert deadline(Timers(), Traffic(last_sent_at=10.0)) is None
    assert deadline(Timers(persistent_interval=25), Traffic()) is None
    assert Timers().persistent_base == NEVER


def test_the_earliest_timer_decides():
    """All run beside each other."""
    timers = Timers(persistent_interval=5)
    timers.retransmit_at = 30.0
    timers.zero_keys_at = 20.0
    facts = Traffic(last_sent_at=10.0, unanswered_since=10.0, unacknowledged_since=2.0)
    assert deadline(timers, facts) == (12.0, "send keepalive")
    assert expire(timers, 1000.0, facts) == list(Timer)
