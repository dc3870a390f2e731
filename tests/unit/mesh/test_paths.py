"""Paths: proof, doubt, standby, death and return, at both ends of real links."""

import pytest

from meshnode.channels import channel_of, endpoint_of
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_member import LINGER
from meshnode.mesh.path_members import MAX_DIRECT
from meshnode.mesh.paths import FORGET_AFTER, FORGOTTEN_AFTER, Paths
from meshnode.types import Endpoint, Path
from tests.unit.mesh.path_world import DIRECT, RELAYED, End, PathWorld

ROUND_TRIP = 2 * DIRECT
RELAY_ROUND_TRIP = 2 * RELAYED
SEEDS = range(8)


def is_direct(end: End) -> bool:
    """Whether data goes by no relay."""
    assert end.path is not None
    return channel_of(end.path.remote) == 0


def talking(seed: int, *, relayed: bool = False, seconds: float = 6.0) -> PathWorld:
    """Return two ends that have talked for a while."""
    world = PathWorld(seed)
    world.connect(relayed=relayed)
    world.talk()
    world.run(seconds)
    assert is_direct(world.a)
    assert is_direct(world.b)
    return world


def test_a_relay_carries_from_the_first_packet_until_a_direct_path_is_proven() -> None:
    """No request is lost meanwhile."""
    world = PathWorld(1)
    world.connect(relayed=True)
    world.talk()
    world.run(0.05)
    assert not is_direct(world.a)
    world.run(0.15)
    assert is_direct(world.a)
    assert is_direct(world.b)
    world.run(1.0)
    assert world.unanswered(0.0, world.now - 0.2) == []


def test_a_path_that_only_one_end_can_use_is_never_taken() -> None:
    """Its pings are never answered."""
    world = PathWorld(1)
    world.connect(relayed=True)
    world.is_up["direct"] = False
    world.a.paths.found(world.b.key, Path(world.b.address), now=world.now)
    world.talk()
    world.run(20.0)
    assert not is_direct(world.a)
    assert not world.unanswered(0.0, world.now - 0.2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_direct_path_that_is_cut_loses_two_round_trips_or_so(seed: int) -> None:
    """At both ends."""
    world = talking(seed)
    world.run(world.rng.random())
    cut = world.now
    world.is_up["direct"] = False
    world.run(3.0)
    assert world.silence(cut) < 0.4
    lost = world.unanswered(cut - ROUND_TRIP, world.now - 0.3)
    assert max(lost) < cut + 3 * ROUND_TRIP
    assert not is_direct(world.a)
    assert not is_direct(world.b)
    assert world.a.standby is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_direct_path_that_returns_is_taken_within_ten_seconds(seed: int) -> None:
    """However long it was away."""
    world = talking(seed)
    world.is_up["direct"] = False
    world.run(5.0 + 60 * world.rng.random())
    world.is_up["direct"] = True
    world.run(10.0)
    assert is_direct(world.a)
    assert is_direct(world.b)
    lost = world.unanswered(world.now - 10.0, world.now - 0.3)
    assert lost == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_relay_that_dies_is_replaced_by_the_second(seed: int) -> None:
    """Under traffic."""
    world = PathWorld(seed)
    world.is_up["direct"] = False
    world.connect(relayed=True)
    world.talk()
    world.run(5.0 + world.rng.random())
    killed = world.now
    world.is_up["relay 1"] = False
    world.run(3.0)
    assert world.silence(killed) < 1.5
    assert world.unanswered(killed + 1.5, world.now - 0.3) == []
    for end in (world.a, world.b):
        assert end.path is not None
        assert channel_of(end.path.remote) % 10 == 2


def close_relay(world: PathWorld, relay: int) -> None:
    """Let both ends hear that their channel over this relay is closed."""
    for end in (world.a, world.b):
        end.relays.close(relay)
        end.paths.ways_changed(end.other.key, now=world.now)


def test_a_channel_that_is_closed_is_left_at_once() -> None:
    """For another one, in the same step."""
    world = PathWorld(1)
    world.is_up["direct"] = False
    world.connect(relayed=True)
    world.talk()
    world.run(5.0)
    closed = world.now
    close_relay(world, 1)
    assert world.a.path == Path(endpoint_of(2))
    assert world.b.path == Path(endpoint_of(12))
    world.run(1.0)
    assert world.silence(closed) <= RELAY_ROUND_TRIP + 0.02


def test_who_was_at_the_last_channel_is_nowhere_until_another_one_opens() -> None:
    """So packets wait for somebody who dials, and nothing is watched for ever."""
    world = PathWorld(1)
    world.is_up["direct"] = False
    world.connect(relayed=True)
    world.talk()
    world.run(5.0)
    before = dict(world.a.relays.channels)
    world.is_up["relay 1"] = world.is_up["relay 2"] = False
    world.run(0.5)
    assert world.a.standby is not None
    close_relay(world, 2)
    assert world.a.standby is None
    close_relay(world, 1)
    assert world.a.path is None
    assert world.a.paths.describe(world.b.key) is None
    world.is_talking = False
    world.run(LINGER + 10.0)
    assert world.run(120.0) == 0
    world.is_up["relay 1"] = True
    world.a.relays.channels = before
    world.a.paths.ways_changed(world.b.key, now=world.now)
    assert world.a.path is not None


def test_who_is_not_watched_any_more_leaves_a_closed_channel_too() -> None:
    """Its session is over, and the path stayed where it was."""
    world = talking(1)
    world.is_talking = False
    for end in (world.a, world.b):
        end.is_alive = False
    world.run(2.0)
    world.a.path = Path(endpoint_of(1))
    world.a.paths.ways_changed(world.b.key, now=world.now)
    assert world.a.path == Path(endpoint_of(1))
    world.a.relays.close(1)
    world.a.paths.ways_changed(world.b.key, now=world.now)
    assert world.a.path is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_address_costs_a_relay_round_trip_and_a_little(seed: int) -> None:
    """The session goes on."""
    world = talking(seed)
    world.run(world.rng.random())
    moved = world.now
    world.a.address = Endpoint("198.51.100.7", 40000)
    world.a.paths.addresses_changed(now=world.now)
    world.run(2.0)
    assert world.silence(moved) < RELAY_ROUND_TRIP + 0.3
    assert is_direct(world.a)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_nat_that_rebinds_every_five_seconds_costs_little(seed: int) -> None:
    """For two minutes."""
    world = talking(seed)
    for number in range(24):
        rebound = world.now
        world.a.address = Endpoint("192.0.2.1", 40000 + number)
        world.run(5.0)
        lost = world.unanswered(rebound - ROUND_TRIP, world.now - 0.5)
        assert max(lost, default=rebound) - rebound < 1.0
        assert world.silence(rebound) < 1.0


def test_a_member_whose_path_fails_one_way_only_is_not_believed_by_relay() -> None:
    """Only pongs by the path itself speak for it."""
    world = talking(3)
    cut = world.now
    # What b sends there is lost; it hears a directly, and cannot say so.
    world.a.address = Endpoint("203.0.113.9", 1)
    carry = world.carry

    def carry_one_way(end: End, frame: object, path: Path) -> None:
        if end is world.a or channel_of(path.remote):
            carry(end, frame, path)  # type: ignore[arg-type]

    world.carry = carry_one_way  # type: ignore[method-assign,assignment]
    world.run(8.0)
    assert not is_direct(world.b)
    assert world.unanswered(cut + 1.5, world.now - 0.3) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_loss_and_jitter_make_nothing_alternate(seed: int) -> None:
    """Two in a hundred, and half a round trip."""
    world = talking(seed)
    world.loss, world.jitter = 0.02, 0.02
    before = len(world.a.changes)
    world.run(120.0)
    assert len(world.a.changes) - before <= 4
    assert is_direct(world.a) or len(world.a.changes) > before


def test_answers_arrive_once_more_at_most_while_in_doubt() -> None:
    """But for probes of the standby."""
    world = talking(4)
    world.run(20.0)
    assert world.a.copies < 20
    world.is_up["direct"] = False
    world.run(10.0)
    assert world.a.copies < 3.0 / 0.01


def test_traffic_without_answers_is_asked_about_and_not_doubled() -> None:
    """A stream one way."""
    world = talking(5)
    world.is_talking = False
    world.run(5.0)
    pings, copies = world.a.pings, world.a.copies
    for number in range(1000):
        world.at(world.now + number / 100, lambda: world.a.send_data(("news", 0)))
    world.run(10.0)
    assert world.a.pings - pings < 25
    assert world.a.copies == copies
    assert is_direct(world.a)


def test_who_has_no_traffic_costs_nothing() -> None:
    """Neither pings nor wakeups."""
    world = talking(6)
    world.is_talking = False
    world.run(LINGER + 5.0)
    pings = world.a.pings + world.b.pings
    assert world.run(600.0) == 0
    assert world.a.pings + world.b.pings == pings
    assert world.a.relays.dropped
    assert world.a.paths.next_deadline() is None


def test_traffic_after_a_rest_is_watched_again() -> None:
    """The path, behind which nobody has to be expected, broke meanwhile."""
    world = talking(7)
    for end in (world.a, world.b):
        end.open_at = (end.other.address,)
    world.is_talking = False
    world.run(300.0)
    world.is_up["direct"] = False
    for end in (world.a, world.b):
        end.paths.traffic_resumed(end.other.key, now=world.now)
    woken = world.now
    world.talk()
    world.run(3.0)
    assert world.silence(woken) < 1.5


def test_traffic_between_gossip_is_seen_though_nobody_tells_of_it() -> None:
    """The tunnels tell of traffic only while they expect none."""
    world = PathWorld(2)
    world.connect(relayed=True)
    world.a.gossips = world.b.gossips = True
    world.run(LINGER + 5.0)
    assert not world.a.sought
    world.talk()
    world.run(3.0)
    assert world.a.sought
    assert is_direct(world.a)


def test_who_only_gossips_is_neither_measured_nor_sought() -> None:
    """Sessions for that are many, and few of them ever carry data."""
    world = PathWorld(1)
    world.connect(relayed=True)
    world.run(LINGER + 5.0)
    assert world.a.sought == world.b.sought == 0
    assert world.a.pings == world.b.pings == 0
    assert not is_direct(world.a)
    world.talk()
    for end in (world.a, world.b):
        end.paths.traffic_resumed(end.other.key, now=world.now)
    world.run(0.3)
    assert is_direct(world.a)


def test_traffic_soon_after_the_session_is_seen_soon() -> None:
    """Nobody tells of it, as the tunnels watch the member still."""
    world = PathWorld(1)
    world.connect(relayed=True)
    world.run(0.3)
    world.talk()
    world.run(0.5)
    assert is_direct(world.a)


def test_who_serves_others_is_reached_directly_whatever_is_said() -> None:
    """A relay behind a relay is none, and sees nobody's NAT."""
    world = PathWorld(1)
    world.a.is_other_public = True
    world.connect(relayed=True)
    world.run(2.0)
    assert world.a.sought
    assert is_direct(world.a)


def test_a_direct_path_that_nats_may_have_forgotten_is_left() -> None:
    """So the next packet goes by a relay, and spoils no NAT."""
    world = talking(7)
    world.is_talking = False
    world.run(FORGOTTEN_AFTER - 2.0)
    assert is_direct(world.a)
    world.run(5.0)
    assert world.a.path is None
    assert world.a.paths.describe(world.b.key) is None
    assert world.a.paths.next_deadline() is None


def test_what_is_dead_for_a_minute_is_left_to_the_seeker() -> None:
    """By then NATs have forgotten it."""
    world = talking(8)
    world.is_up["direct"] = False
    world.run(FORGET_AFTER + 20.0)
    pings = world.a.pings
    world.run(4.0)
    assert world.a.pings - pings <= 4
    sought = world.a.sought
    world.run(30.0)
    assert world.a.sought > sought


def test_a_session_that_is_over_is_forgotten() -> None:
    """With its timers."""
    world = talking(9)
    world.is_talking = False
    world.run(1.0)
    for end in (world.a, world.b):
        end.is_alive = False
    world.run(2.0)
    assert world.a.paths.describe(world.b.key) is None
    assert world.a.paths.next_deadline() is None


def test_a_stall_of_the_process_kills_no_path() -> None:
    """It has asked nobody meanwhile."""
    world = talking(10)
    world.now += 5.0
    world.run(3.0)
    assert is_direct(world.a)
    assert not [path for _, path in world.a.changes if channel_of(path.remote)]


def test_who_sends_from_everywhere_fills_no_table() -> None:
    """Nor is it asked everywhere; the path in use stays among those known."""
    world = talking(12)
    world.is_talking = False
    pings = world.a.pings
    for number in range(2000):
        world.now += 0.001
        world.a.arrive(("news", number), Path(Endpoint("203.0.113.9", 1024 + number)))
    ((_, member),) = world.a.paths._members.items()
    assert len(member.ways) <= MAX_DIRECT + len(world.a.relays.channels)
    assert member.present is not None
    world.run(0.5)
    assert world.a.pings - pings < 200


def test_how_a_member_is_reached_is_told() -> None:
    """Also the standby."""
    world = talking(11)
    world.run(10.0)
    state = world.a.paths.describe(world.b.key)
    assert state is not None
    assert state.kind is PathKind.DIRECT
    assert state.endpoint == world.b.address
    assert state.seconds == pytest.approx(ROUND_TRIP)
    assert state.standby is PathKind.RELAYED
    world.is_up["direct"] = False
    world.run(5.0)
    state = world.a.paths.describe(world.b.key)
    assert state is not None
    assert state.kind is PathKind.RELAYED
    assert state.endpoint in (endpoint_of(1), endpoint_of(2))
    assert len(state.via) == 1
    assert world.a.paths.describe(b"x" * 32) is None


def test_a_way_that_a_probe_came_by_is_asked_with_the_first_session() -> None:
    """Before our own probes are answered."""
    world = PathWorld(1)
    world.a.is_alive = False
    world.a.paths.found(world.b.key, Path(world.b.address), now=world.now)
    assert world.a.paths.next_deadline() is None
    world.a.is_alive = True
    world.connect(relayed=True)
    world.run(ROUND_TRIP + 0.001)
    assert is_direct(world.a)


def test_a_control_process_that_starts_anew_asks_for_channels_again() -> None:
    """Those of the one before went with it, and the session does not know."""
    world = talking(3, relayed=True)
    end = world.a
    end.paths = Paths(
        end.key,
        end,
        world.rng.randbytes,
        relays=end.relays,
        seeker=end,
        kind_of=lambda key, endpoint: PathKind.DIRECT,
        candidates=lambda key, now: (),
        is_public=lambda key: False,
    )
    end.paths.adopt(world.b.key, now=world.now)
    assert end.paths.describe(world.b.key) is None
    assert end.paths.next_deadline() is None
    end.path = Path(endpoint_of(77))
    wanted = end.relays.wanted[world.b.key]
    end.paths.adopt(world.b.key, now=world.now)
    end.paths.adopt(world.b.key, now=world.now)
    assert end.relays.wanted[world.b.key] == wanted + 1
    assert end.paths.next_deadline() is not None
