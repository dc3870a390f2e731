"""When TLS is tried, and when it is left; nothing here waits."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.mesh.udp_watch import (
    CHECK_AFTER,
    LINGER,
    MAX_WANTED,
    PROBE_EVERY,
    RECENT,
    SILENCE,
    UdpWatch,
)

HOMES = (b"a", b"b", b"c")
CONNECTED_WITHIN, BACK_WITHIN = 5.0, 30.0


@pytest.fixture
def watch(rng: random.Random) -> UdpWatch:
    """A watch with three homes."""
    return UdpWatch(lambda: HOMES, rng.randbytes)


def suspected(watch: UdpWatch) -> float:
    """Ask a home, and hear nothing; return when that is suspicious."""
    watch.asked(b"a", now=100.0)
    check = watch.next_deadline()
    assert check is not None
    watch.handle_deadline(now=check.at)
    assert watch.take_probes(now=check.at)
    deadline = watch.next_deadline()
    assert deadline is not None
    watch.handle_deadline(now=deadline.at)
    return deadline.at


def test_silence_after_a_question_is_suspicious(watch: UdpWatch) -> None:
    """Soon enough; before, nothing is due and nobody is wanted."""
    assert watch.next_deadline() is None
    watch.asked(b"stranger", now=100.0)
    assert watch.next_deadline() is None
    at = suspected(watch)
    assert at == 100.0 + SILENCE < 100.0 + CONNECTED_WITHIN
    assert watch.wanted == HOMES[:MAX_WANTED]
    assert not watch.is_blocked


def test_the_only_home_is_dialled_again_and_not_waited_for(rng: random.Random) -> None:
    """Once its rest is over nothing is due but the next question by UDP."""
    watch = UdpWatch(lambda: HOMES[:1], rng.randbytes)
    at = suspected(watch)
    assert watch.wanted == HOMES[:1]
    watch.lost(b"a", now=at)
    assert watch.wanted == ()
    deadline = watch.next_deadline()
    assert deadline is not None
    watch.handle_deadline(now=deadline.at)
    assert watch.wanted == HOMES[:1]
    following = watch.next_deadline()
    assert following is not None
    assert following.at > deadline.at


def test_an_answer_or_another_member_dispels_it(watch: UdpWatch) -> None:
    """Nobody is dialled by TLS where UDP works, though one home is down."""
    watch.asked(b"a", now=100.0)
    watch.heard(now=100.5)
    assert watch.next_deadline() is None
    watch.asked(b"a", now=101.0)
    assert watch.take_probes(now=101.0) == ()
    watch.handle_deadline(now=101.0 + CHECK_AFTER)
    assert watch.take_probes(now=101.0 + CHECK_AFTER) == HOMES
    deadline = watch.next_deadline()
    assert deadline is not None
    assert deadline.at == 100.5 + RECENT
    watch.handle_deadline(now=103.0)
    assert watch.wanted == ()


def test_one_answer_ends_a_false_alarm(watch: UdpWatch) -> None:
    """As long as no TLS connection is there, there is nothing to keep."""
    at = suspected(watch)
    watch.heard(now=at + 0.1)
    assert watch.wanted == ()
    assert watch.next_deadline() is None


def test_a_home_that_cannot_be_had_gives_its_place_away(watch: UdpWatch) -> None:
    """It is tried again later, later each time."""
    at = suspected(watch)
    watch.lost(b"a", now=at)
    assert watch.wanted == (b"b", b"c")
    watch.lost(b"b", now=at)
    watch.lost(b"c", now=at)
    assert watch.wanted == ()
    deadline = watch.next_deadline()
    assert deadline is not None
    watch.handle_deadline(now=deadline.at + 2.0)
    assert len(watch.wanted) == MAX_WANTED


def test_tls_is_left_when_udp_has_answered_for_a_while(watch: UdpWatch) -> None:
    """And within 30 s, however the probes fall."""
    at = suspected(watch)
    watch.connected(b"a", now=at + 1.0)
    assert watch.is_blocked
    returned, now = at + 20.0, at + 1.0
    while watch.wanted:
        deadline = watch.next_deadline()
        assert deadline is not None
        now = max(now, deadline.at)
        watch.handle_deadline(now=now)
        if watch.take_probes(now=now) and now > returned:
            watch.heard(now=now + 0.05)
        assert now < returned + BACK_WITHIN
    assert not watch.is_blocked


def test_an_answer_that_stays_alone_changes_nothing(watch: UdpWatch) -> None:
    """TLS goes on; the connection was never given up."""
    at = suspected(watch)
    watch.connected(b"a", now=at)
    watch.heard(now=at + 1.0)
    assert not watch.is_blocked
    watch.handle_deadline(now=at + 1.0 + LINGER)
    assert watch.is_blocked
    assert b"a" in watch.wanted


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["asked", "heard", "connected", "lost", "due"]),
            st.sampled_from(HOMES),
            st.floats(0.0, 2 * PROBE_EVERY),
        ),
        max_size=60,
    )
)
def test_whatever_happens(
    steps: list[tuple[str, bytes, float]],
) -> None:
    """Never more than two, only homes, and nothing is due that never comes to rest."""
    watch = UdpWatch(lambda: HOMES, random.Random(1).randbytes)
    now = 0.0
    for what, key, pause in steps:
        now += pause
        match what:
            case "heard":
                watch.heard(now=now)
            case "due":
                watch.handle_deadline(now=now)
            case _:
                getattr(watch, what)(key, now=now)
        for _ in range(3):
            watch.handle_deadline(now=now)
            watch.take_probes(now=now)
        assert len(watch.wanted) <= MAX_WANTED
        assert set(watch.wanted) <= set(HOMES)
        deadline = watch.next_deadline()
        assert deadline is None or deadline.at > now - 1e-6
