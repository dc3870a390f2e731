"""Each active peer has a task tree of its own, and what fails in one stays there."""

import random
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from meshnode.node.peer_tasks import INBOX, QUIET, PeerTasks

A, B = b"a" * 32, b"b" * 32


class Taken:
    """Remembers what was handled; fails on what it is told to fail on."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bytes]] = []
        self.poison = b"poison"

    def __call__(self, key: bytes, frame: bytes) -> None:
        """Take a frame."""
        if frame == self.poison:
            raise RuntimeError("a fault of ours")
        self.frames.append((key, frame))


@pytest.fixture
def taken() -> Taken:
    """What the trees did."""
    return Taken()


@pytest.fixture
async def peers(taken: Taken, nursery: trio.Nursery) -> AsyncIterator[PeerTasks]:
    """Running trees, in a time that jumps over waiting."""
    tasks = PeerTasks(taken)
    nursery.start_soon(tasks.run)
    await trio.testing.wait_all_tasks_blocked()
    yield tasks
    nursery.cancel_scope.cancel()


async def test_frames_of_a_peer_are_handled_in_order(
    autojump_clock: trio.testing.MockClock, peers: PeerTasks, taken: Taken
) -> None:
    """One tree a peer, started by its first frame."""
    for number in range(5):
        peers.put(A, bytes((number,)))
    peers.put(B, b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert [frame for key, frame in taken.frames if key == A] == [
        bytes((number,)) for number in range(5)
    ]
    assert (B, b"x") in taken.frames
    assert len(peers) == 2


async def test_a_failure_touches_no_other_peer(
    autojump_clock: trio.testing.MockClock,
    peers: PeerTasks,
    taken: Taken,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The peer's own tree starts again after a pause, and others never stopped."""
    peers.put(A, taken.poison)
    peers.put(B, b"one")
    await trio.testing.wait_all_tasks_blocked()
    peers.put(B, b"two")
    await trio.sleep(1.0)
    peers.put(A, b"three")
    await trio.testing.wait_all_tasks_blocked()
    assert taken.frames == [(B, b"one"), (B, b"two"), (A, b"three")]
    assert "was not handled" in caplog.text


async def test_restarts_of_a_tree_come_ever_later(
    autojump_clock: trio.testing.MockClock,
    peers: PeerTasks,
    taken: Taken,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A peer whose every frame fails costs little, however many it sends."""
    failures = 0
    for _ in range(100):
        peers.put(A, taken.poison)
        await trio.sleep(0.1)
    failures = caplog.text.count("was not handled")
    assert 3 <= failures <= 20
    assert taken.frames == []


async def test_an_inbox_has_a_bound(
    autojump_clock: trio.testing.MockClock, peers: PeerTasks, taken: Taken
) -> None:
    """What a peer sends beyond it is lost, and counted; others lose nothing."""
    for _ in range(INBOX + 100):
        peers.put(A, b"x")
    peers.put(B, b"y")
    await trio.testing.wait_all_tasks_blocked()
    assert peers.dropped == 100
    assert taken.frames.count((A, b"x")) == INBOX
    assert (B, b"y") in taken.frames


async def test_the_tree_of_a_quiet_peer_ends(
    autojump_clock: trio.testing.MockClock, peers: PeerTasks, taken: Taken
) -> None:
    """And another one begins with the next frame."""
    peers.put(A, b"x")
    await trio.sleep(QUIET + 1)
    assert len(peers) == 0
    peers.put(A, b"y")
    await trio.testing.wait_all_tasks_blocked()
    assert taken.frames == [(A, b"x"), (A, b"y")]


async def test_nothing_is_lost_while_frames_and_quiet_meet(
    autojump_clock: trio.testing.MockClock,
    peers: PeerTasks,
    taken: Taken,
    rng: random.Random,
) -> None:
    """Frames about when the tree would end are handled all the same."""
    sent = 0
    for _ in range(50):
        await trio.sleep(QUIET * rng.choice((0.999, 1.0, 1.001)))
        peers.put(A, b"x")
        sent += 1
    await trio.testing.wait_all_tasks_blocked()
    assert len(taken.frames) + peers.dropped == sent
    assert peers.dropped == 0


async def test_frames_before_the_beginning_are_dropped(taken: Taken) -> None:
    """They are datagrams: who needs an answer asks again."""
    tasks = PeerTasks(taken)
    tasks.put(A, b"x")
    assert (tasks.dropped, len(tasks)) == (1, 0)


async def test_the_number_of_trees_has_a_bound(
    autojump_clock: trio.testing.MockClock,
    peers: PeerTasks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond it new peers wait until others are quiet."""
    monkeypatch.setattr("meshnode.node.peer_tasks.MAX_TREES", 2)
    put: Callable[[bytes, bytes], None] = peers.put
    for key in (A, B, b"c" * 32):
        put(key, b"x")
    assert (len(peers), peers.dropped) == (2, 1)
