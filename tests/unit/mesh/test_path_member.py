"""What is seen of one member's traffic, and when its path is to be asked."""

from meshnode.channels import endpoint_of
from meshnode.mesh.path_choice import PathKind
from meshnode.mesh.path_member import ASK_PAUSE, SHORTEST, UNMEASURED, Member
from meshnode.mesh.path_ways import Way, place_of
from meshnode.types import Endpoint, Path, Source

PATH = Path(Endpoint("192.0.2.1", 51820))


def member(seconds: float | None = 0.04) -> Member:
    """Return one that is spoken to by a direct path."""
    one = Member()
    way = one.ways[place_of(PATH)] = Way(PATH, PathKind.DIRECT)
    way.prove(now=0.0)
    way.quality.seconds = seconds
    one.settle(way, now=0.0)
    return one


def test_silence_is_counted_from_the_last_answer_of_who_was_answering() -> None:
    """And of who was silent before, from when data went."""
    one = member()
    one.follow(sent=10.0, received=10.04, now=10.1)
    assert one.waits_since is None
    one.follow(sent=10.15, received=10.04, now=10.2)
    assert one.was_two_way
    assert one.asks_at(10.2) == 10.04 + one.patience
    one.follow(sent=20.0, received=12.0, now=20.0)
    assert not one.was_two_way
    assert one.asks_at(20.0) == 20.0 + one.patience


def test_an_answer_to_a_ping_makes_a_stream_no_conversation() -> None:
    """Who only answers pings is not silent when it sends nothing else."""
    one = member()
    one.pong_at = 10.2
    one.follow(sent=10.3, received=10.2, now=10.3)
    assert one.is_busy(10.3)
    assert not one.was_two_way


def test_an_address_of_ours_that_is_another_now_is_not_used_any_more() -> None:
    """The way stays the same one, and stays in use."""
    one = member()
    way = one.present
    assert way is not None
    moved = Path(way.path.remote, Source("192.0.2.9"))
    one.renew(way, moved)
    assert one.present is way
    assert one.chooser.path == way.path == moved
    one.renew(way, Path(way.path.remote))
    assert way.path == moved


def test_patience_follows_the_round_trip() -> None:
    """Within limits."""
    assert member(1.0).patience == 1.5
    assert member(0.001).patience == SHORTEST
    assert member(None).patience == UNMEASURED


def test_a_stream_without_answers_is_not_asked_all_the_time() -> None:
    """After an answer there is a pause."""
    one = member()
    one.follow(sent=10.0, received=0.0, now=10.0)
    one.begin_asking(now=10.1)
    assert one.is_asking
    one.end_asking(now=10.14)
    one.follow(sent=10.2, received=10.14, now=10.2)
    assert one.asks_at(10.2) >= 10.14 + ASK_PAUSE


def test_what_has_answered_stands_by_before_what_was_promised() -> None:
    """And the dead not at all."""
    one = member()
    assert one.next_best() is None
    for port, is_proven in ((1, False), (2, True)):
        path = Path(Endpoint("192.0.2.9", port))
        way = one.ways[place_of(path)] = Way(path, PathKind.RELAYED, is_open=True)
        way.is_proven = is_proven
    best = one.next_best()
    assert best is not None
    assert best.path.remote.port == 2
    best.die(now=1.0)
    best = one.next_best()
    assert best is not None
    assert best.path.remote.port == 1
    state = one.describe()
    assert state is not None
    assert (state.kind, state.standby) == (PathKind.DIRECT, PathKind.RELAYED)


def test_what_stands_by_does_not_fall_with_the_path_in_use() -> None:
    """Another relay is better than a second channel of the same, even a nearer one."""
    one = Member()
    ways = []
    for number, (relay, seconds) in enumerate(((1, 0.04), (1, 0.05), (2, 0.2)), 1):
        path = Path(endpoint_of(number))
        way = Way(path, PathKind.RELAYED, via=(bytes([relay]) * 32,), is_open=True)
        way.prove(now=0.0)
        way.quality.seconds = seconds
        one.ways[place_of(path)] = way
        ways.append(way)
    one.settle(ways[0], now=0.0)
    assert one.next_best() is ways[2]
    del one.ways[place_of(ways[2].path)]
    assert one.next_best() is ways[1]
