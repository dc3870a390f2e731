"""Ways that are dead under traffic."""

import pytest

from tests.unit.mesh.relay_parts import OTHER, R, RelayUser, S


@pytest.fixture(name="user")
def _user() -> RelayUser:
    return RelayUser()


def test_silence_asks_all_ways_and_leaves_the_dead(
    user: RelayUser,
) -> None:
    """The one that answers is the best, before the other is given up."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    for relay in (R, S):
        user.answer(relay)
    user.relays = [R, S]
    best, other = user.order()
    user.tunnels.paths[OTHER] = user.way_by(best).endpoint
    user.tunnels.received[OTHER] = 1.0
    user.tunnels.data_sent[OTHER] = 60.0
    user.now = 1.0
    user.watch.traffic_resumed(OTHER, now=1.0)
    sent = user.run(1.55)
    assert sorted(to for _, to, _ in sent) == sorted((best, other))
    user.ways.changed.clear()
    user.answer(other)
    user.run(1.85)
    assert user.order() == [other, best]
    assert user.ways.changed == {OTHER}
    user.run(2.5)
    assert not user.ways.of(OTHER)[-1].is_open
    assert user.ways.of(OTHER)[0].relay == other


def test_without_traffic_nobody_is_asked(user: RelayUser) -> None:
    """And after a while nobody looks."""
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    for relay in (R, S):
        user.answer(relay)
    user.tunnels.paths[OTHER] = user.way_by(R).endpoint
    user.watch.begin(OTHER, now=user.now)
    assert user.run(50.0) == []
    assert user.watch.next_deadline() is None


def test_it_looks_on_while_the_tunnels_tell_of_nothing(user: RelayUser) -> None:
    """Gossip keeps them watching, and then users' traffic is no news."""
    user.tunnels.is_watched = lambda key: True
    user.client.want(OTHER, now=0.0)
    user.run(0.1)
    for relay in (R, S):
        user.answer(relay)
    user.tunnels.paths[OTHER] = user.way_by(R).endpoint
    user.watch.begin(OTHER, now=user.now)
    user.run(50.0)
    assert user.watch.next_deadline() is not None
