"""Who of the workers is told what, and where their sessions are shared."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from meshnode.codec.forwarding import decode_command
from meshnode.codec.lifeline import Direction, Worker, workers_of
from meshnode.dataplane.shared_sessions import RECORD_WORDS
from meshnode.forwarding import (
    AddPeer,
    Command,
    InstallSession,
    ProgramComplete,
    Reset,
    RetireSession,
    SendControl,
    SendKeepalive,
    SendProbe,
    Session,
    UseSession,
)
from meshnode.node.fleet import Fleet, bit_of, open_book

EGRESS, SECOND_EGRESS, INGRESS, SECOND_INGRESS = workers_of(2)
ALL = sum(map(bit_of, workers_of(2)))


class FakeLink:
    """Keeps what a worker would be sent; `story` is shared by all."""

    def __init__(self, worker: Worker, story: list[str]) -> None:
        self.generation = 0
        self.commands: list[Command] = []
        self.sockets: Any = None
        self.beside: list[object] = []
        self._worker = worker
        self._story = story

    def put_messages(self, messages: Iterable[bytes]) -> None:
        """Take commands."""
        self.commands += map(decode_command, messages)
        self._story.append(self._worker.name)

    def start_over(self, generation: int, program: Iterable[Command]) -> None:
        """Take a program."""
        self.generation = generation
        self.commands = [Reset(generation), *program, ProgramComplete()]

    def use_sockets(self, pair: object, beside: Sequence[object] = ()) -> None:
        """Take sockets."""
        self.sockets = pair
        self.beside = list(beside)


class Workers:
    """Two workers of each direction, and the memory they share."""

    def __init__(self, places: int = 8) -> None:
        self.story: list[str] = []
        self.links: Any = {w: FakeLink(w, self.story) for w in workers_of(2)}
        self.words = memoryview(bytearray(8 * RECORD_WORDS * places)).cast("Q")
        self.fleet = Fleet(self.links, open_book(self.words, workers_of(2)))

    def let_go(self, place: int) -> None:
        """Let all workers forget a session."""
        self.words[place * RECORD_WORDS] = 0

    def placed(self, worker: Worker) -> list[int]:
        """Return the places of the sessions that *worker* was told of."""
        commands = self.links[worker].commands
        return [c.session.place for c in commands if isinstance(c, InstallSession)]


@pytest.fixture
def workers() -> Workers:
    """Two workers of each direction."""
    return Workers()


def session(index: int) -> Session:
    """Return a session as the engine makes it."""
    return Session(index, 9, bytes(32), bytes(32), 1.0, True)


def test_ingress_is_told_first(workers: Workers) -> None:
    """All of them must know a session before any egress provokes answers."""
    workers.fleet.forward([AddPeer(1)])
    assert workers.story == ["ingress", "ingress-1", "egress", "egress-1"]
    assert all(link.commands == [AddPeer(1)] for link in workers.links.values())


def test_nothing_is_said_when_there_is_nothing_to_say(workers: Workers) -> None:
    """Most steps of control ask nothing of the workers."""
    workers.fleet.forward([])
    assert workers.story == []


def test_one_worker_speaks_for_all(workers: Workers) -> None:
    """A keepalive or a control frame goes out once, however many could send it."""
    frame = b"\x01x"
    spoken = [SendKeepalive(1), SendControl(1, frame), SendProbe(1, frame, 8920)]
    workers.fleet.forward([UseSession(1, 7), *spoken])
    assert workers.links[EGRESS].commands == [UseSession(1, 7), *spoken]
    assert workers.links[SECOND_EGRESS].commands == [UseSession(1, 7)]
    workers.story.clear()
    workers.fleet.forward(spoken)
    assert "egress-1" not in workers.story


def test_every_session_gets_a_place_that_all_workers_know(workers: Workers) -> None:
    """The same one for all, and another one for each session."""
    workers.fleet.forward(
        [InstallSession(1, session(7)), InstallSession(2, session(8))]
    )
    for worker in workers_of(2):
        assert workers.links[worker].commands == [
            InstallSession(1, replace(session(7), place=0)),
            InstallSession(2, replace(session(8), place=1)),
        ]
    assert workers.words[0] == workers.words[RECORD_WORDS] == ALL


def test_a_place_is_used_again_when_control_and_workers_let_go() -> None:
    """Retired alone is not enough, nor is it that nobody holds it."""
    workers = Workers(places=1)
    workers.fleet.forward([InstallSession(1, session(7))])
    workers.fleet.forward([RetireSession(1, 7), InstallSession(1, session(8))])
    assert workers.placed(EGRESS) == [0]
    workers.let_go(0)
    workers.fleet.forward([InstallSession(1, session(9))])
    assert workers.placed(EGRESS) == [0, 0]


def test_a_session_without_a_place_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is told of it: two workers would count for themselves."""
    workers = Workers(places=1)
    workers.fleet.forward([InstallSession(1, session(7)), AddPeer(3)])
    workers.fleet.forward([InstallSession(2, session(8)), AddPeer(4)])
    assert workers.links[INGRESS].commands[2:] == [AddPeer(4)]
    assert "no place" in caplog.text


def test_what_is_retired_twice_or_never_was_ours_is_passed_on(
    workers: Workers,
) -> None:
    """Sessions of an earlier control process have no place in our book."""
    retire = RetireSession(1, 99)
    workers.fleet.forward([retire, retire])
    assert workers.links[SECOND_INGRESS].commands == [retire, retire]


def test_a_dead_worker_stands_in_the_way_of_nobody() -> None:
    """Its bit stays, and means nothing."""
    workers = Workers(places=1)
    workers.fleet.forward([InstallSession(1, session(7))])
    workers.fleet.bury(SECOND_EGRESS)
    workers.fleet.forward([RetireSession(1, 7)])
    workers.words[0] = bit_of(SECOND_EGRESS)
    workers.fleet.forward([InstallSession(1, session(8))])
    assert workers.placed(EGRESS) == [0, 0]


def test_a_single_worker_of_each_direction_shares_nothing() -> None:
    """Sessions go to it as the engine made them."""
    links: Any = {w: FakeLink(w, []) for w in workers_of(1)}
    fleet = Fleet(links)
    install = InstallSession(1, session(7))
    fleet.forward([install, RetireSession(1, 7), SendKeepalive(1)])
    fleet.bury(EGRESS)
    for worker in workers_of(1):
        assert links[worker].commands == [
            install,
            RetireSession(1, 7),
            SendKeepalive(1),
        ]


def test_a_program_is_for_one_worker(workers: Workers) -> None:
    """It begins anew in the generation that it was told of."""
    workers.fleet.start_over(SECOND_INGRESS, 4, [AddPeer(1)])
    link = workers.links[SECOND_INGRESS]
    assert link.commands == [Reset(4), AddPeer(1), ProgramComplete()]
    assert workers.fleet.generation(SECOND_INGRESS) == 4
    assert workers.fleet.generation(INGRESS) == 0


def test_sockets_go_by_the_number(workers: Workers) -> None:
    """Both directions of one number share a pair."""
    pairs: Any = ["first", "second"]
    workers.fleet.use_sockets(pairs)
    for worker, link in workers.links.items():
        assert link.sockets == pairs[worker.number]


def test_bits_are_those_that_the_workers_use() -> None:
    """Egress in the lower sixteen, ingress above."""
    assert bit_of(Worker(Direction.EGRESS, 3)) == 1 << 3
    assert bit_of(Worker(Direction.INGRESS, 3)) == 1 << 19


def test_sockets_beside_are_everybodys(workers: Workers) -> None:
    """A worker that is new gets them again, for it was started without."""
    pairs: Any = ("first", "second")
    beside: Any = ["one"]
    workers.fleet.use_sockets(pairs)
    workers.fleet.use_beside(beside)
    assert all(link.beside == beside for link in workers.links.values())
    link = workers.links[SECOND_INGRESS]
    link.sockets, link.beside = None, []
    workers.fleet.start_over(SECOND_INGRESS, 2, [])
    assert (link.sockets, link.beside) == ("second", beside)
    workers.fleet.use_beside([])
    assert all(link.beside == [] for link in workers.links.values())
