"""An attempt as a value."""

from meshnode.codec.records import Endpoints, NatHint
from meshnode.mesh.punch_attempt import Attempt, How, Running, Told
from meshnode.mesh.punch_search import Search, Shot
from meshnode.types import Endpoint, Path, Source

PLACE = Endpoint("203.0.113.1", 7)


def attempt() -> Running:
    """Return one that nothing was done in."""
    return Running(1, is_caller=True, told=Told((), None, NatHint()), ends_at=9.0)


def test_a_record_tells_candidates_and_the_nat() -> None:
    """But not where the member is seen."""
    record = Endpoints(bytes(32), 1, (PLACE,), bytes(32), NatHint(first_port=5))
    assert Told.by_record(record) == Told((PLACE,), None, NatHint(first_port=5))


def test_candidates_are_told_apart_by_our_own_port() -> None:
    """A path that was heard of takes the place of a guess."""
    running = attempt()
    told = running.add(PLACE, How.TOLD)
    path = Path(PLACE, Source("192.0.2.1"))
    assert running.add(PLACE, How.HEARD, path) is told
    assert (told.how, told.path) == (How.TOLD, path)
    beside = running.add(PLACE, How.HEARD, Path(PLACE, Source("192.0.2.1", 0, 99)))
    assert beside is not told
    told.pings, told.seconds = 2, 0.05
    assert running.describe() == (
        Attempt(PLACE, How.TOLD, 0, 2, 50.0),
        Attempt(PLACE, How.HEARD, 0, 0, None),
    )


def test_the_next_moment_is_the_earliest() -> None:
    """Of calls, rounds, the search and the end."""
    running = attempt()
    assert running.next_at() == 9.0
    running.search = Search(begins_at=8.0, rate=1.0, sockets=0)
    assert running.next_at() == 9.0
    running.search.aim(iter([Shot(PLACE)]))
    assert running.next_at() == 8.0
    running.rounds = [7.0, 7.5]
    assert running.next_at() == 7.0
    running.calls = [6.0]
    assert running.next_at() == 6.0
