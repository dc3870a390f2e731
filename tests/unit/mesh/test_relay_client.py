"""Channels that we want: asked for, renewed, given up."""

import pytest

from meshnode.codec.early_calls import (
    EARLY_CALL_TYPE,
    EarlyCall,
    encode_early_call,
)
from meshnode.codec.messages import (
    RelayClose,
    RelayOpen,
    RelayReason,
)
from meshnode.types import Datagram, Path
from tests.unit.mesh.relay_parts import OTHER, R, RelayUser, S, T, handshake


@pytest.fixture(name="user")
def _user() -> RelayUser:
    return RelayUser()


def test_two_relays_are_asked_with_the_first_datagrams(user: RelayUser) -> None:
    """The ways are there at once; the introduction goes before the handshake."""
    user.client.want(OTHER, now=0.0)
    assert user.ways.changed == {OTHER}
    first = user.ways.of(OTHER)[0]
    path = Path(first.endpoint)
    for data in (handshake(1), handshake(7, 700), handshake(1) + b"n"):
        assert user.ways.carry(Datagram(data, path)) is None
    sent = user.run(0.1)
    assert [(to, type(message)) for _, to, message in sent] == [
        (R, RelayOpen),
        (S, RelayOpen),
    ]
    (asked,) = [m for _, to, m in sent if to == first.relay]
    data = (handshake(7, 700), handshake(1) + b"n")
    assert asked == RelayOpen(OTHER, (), (), first.channel, data)


def test_questions_are_repeated_and_others_asked_too(user: RelayUser) -> None:
    """After a second a third relay; who never answers is given up."""
    user.client.want(OTHER, now=0.0)
    sent = user.run(0.9)
    assert [round(at, 3) for at, to, _ in sent if to == R] == [0.002, 0.252, 0.752]
    assert {to for _, to, _ in sent} == {R, S}
    user.answer(S)
    sent = user.run(2.0)
    assert T in {to for _, to, _ in sent}
    assert user.order()[0] == S
    user.answer(T)
    user.run(20.0)
    assert sorted(user.order()) == [S, T]


def test_a_promise_is_no_answer_but_gives_the_number(user: RelayUser) -> None:
    """The other end may answer by it at any time."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    way = user.way_by(R)
    assert user.tunnels.channels[way.channel] == (R, way.channel, None)
    user.answer(R, label=5, lease=0)
    assert user.tunnels.channels[way.channel] == (R, 5, None)
    assert not way.is_open
    user.answer(R, label=5)
    assert way.is_open
    assert way.milliseconds == pytest.approx(98.0)


def test_a_channel_is_renewed_as_long_as_it_is_wanted(user: RelayUser) -> None:
    """Well before its lease ends; dropped, it is closed."""
    user.relays = [R]
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    user.answer(R)
    asked = [at for at, _, m in user.run(250.0) if isinstance(m, RelayOpen)]
    assert 100.0 < asked[0] < 240.0
    user.answer(R)
    user.client.drop(OTHER, now=user.now)
    assert (R, RelayClose(9, RelayReason.CLOSED)) in user.tunnels.taken()
    assert not user.tunnels.channels
    assert user.client.next_deadline() is None


def test_who_refuses_is_left_for_another_at_once(user: RelayUser) -> None:
    """It comes last for a while."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    user.client.receive_close(user.way_by(R), now=user.now)
    assert [to for _, to, _ in user.run(0.2)] == [T]
    assert sorted(user.order()) == [S, T]


def test_who_refuses_again_and_again_is_asked_now_and_then(user: RelayUser) -> None:
    """Not as fast as it answers."""
    user.relays = [R]
    user.client.want(OTHER, now=0.0)
    asked = 0
    for _ in range(1000):
        asked += len(user.run(user.now + 0.01))
        for way in user.ways.of(OTHER):
            if way.tries:
                user.client.receive_close(way, now=user.now)
    assert 2 <= asked <= 11
    user.client.forget(R, now=user.now)
    asked = len(user.run(user.now + 0.5))
    assert asked <= 2


def test_a_channel_that_was_kept_for_long_is_asked_for_anew_at_once(
    user: RelayUser,
) -> None:
    """Its relay began anew, perhaps."""
    user.relays = [R]
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    user.answer(R)
    user.run(10.0)
    user.client.receive_close(user.way_by(R), now=user.now)
    assert [to for _, to, _ in user.run(user.now + 0.1)] == [R]


def test_nothing_is_left_of_who_is_no_member(user: RelayUser) -> None:
    """Be it the member or a relay; with a relay gone another is asked."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    user.answer(R)
    user.relays = [S, T]
    user.client.forget(R, now=user.now)
    assert sorted(user.order()) == [S, T]
    user.offer(5, relay=S)
    user.client.forget(OTHER, now=user.now)
    assert len(user.ways) == 0
    assert not user.tunnels.channels


def test_an_early_call_goes_with_the_question_or_a_further_one(user: RelayUser) -> None:
    """Until the way is open: then there will be a session to say it in."""
    call = encode_early_call(EarlyCall(1, b"record"))
    user.client.want(OTHER, now=0.0)
    user.client.say(OTHER, call, now=0.0)
    asked = [m for _, _, m in user.run(0.1) if isinstance(m, RelayOpen)]
    assert [one.datagrams for one in asked] == [(call,), (call,)]
    user.client.say(OTHER, call, now=user.now)
    again = [m for _, m in user.tunnels.taken() if isinstance(m, RelayOpen)]
    assert [one.datagrams for one in again] == [(call,), (call,)]
    first, other = user.ways.of(OTHER)
    first.kept[EARLY_CALL_TYPE] = call
    user.answer(first.relay)
    assert user.outbox.datagrams == []
    user.client.say(OTHER, call, now=user.now)
    assert [to for to, _ in user.tunnels.taken()] == [other.relay]


def test_a_refused_route_is_asked_again_soon_if_there_is_no_other(
    user: RelayUser,
) -> None:
    """Else after a minute: one way is enough for so long."""
    user.relays = [R]
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    (way,) = user.ways.of(OTHER)
    user.client.receive_close(way, now=user.now)
    sent = user.run(6.0)
    assert [to for _, to, _ in sent][:1] == [R]


def test_a_relay_that_answers_nothing_is_told_of(user: RelayUser) -> None:
    """Others are chosen from then on."""
    user.relays = [R]
    user.client.want(OTHER, now=0.0)
    user.run(9.0)
    assert user.silent == [R]
