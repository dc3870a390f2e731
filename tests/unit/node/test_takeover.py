"""How a control process begins."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import trio

from meshnode.codec.lifeline import (
    Begin,
    LinkChanged,
    Worker,
    WorkerStarted,
    workers_of,
)
from meshnode.forwarding import (
    Command,
    HeldSession,
    NeedSession,
    Report,
    Reset,
    SessionsHeld,
)
from meshnode.node import takeover
from meshnode.node.fleet import Fleet
from meshnode.node.takeover import have_the_same, take_over
from meshnode.types import Cipher

CHACHA = Cipher.CHACHA20_POLY1305
EGRESS, INGRESS = workers_of(1)
BEGIN = Begin((3,), (4,), mtu=1420, up=True)
ONE = HeldSession(0, 111, 9, 1.0, is_initiator=True, in_use=True, cipher=CHACHA)
TWO = HeldSession(1, 222, 8, 2.0, is_initiator=False, in_use=False, cipher=CHACHA)


class FakeLink:
    """A worker that answers `Reset` of one generation with *reports*."""

    def __init__(self, generation: int, reports: Sequence[Report]) -> None:
        self.resets: list[Command] = []
        self._generation = generation
        self._reports = list(reports)
        self._was_reset = trio.Event()

    def put(self, commands: Iterable[Command]) -> None:
        """Take commands."""
        self.resets += commands
        if Reset(self._generation) in self.resets:
            self._was_reset.set()

    async def reports(self) -> list[Report]:
        """Answer once."""
        await self._was_reset.wait()
        if not self._reports:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return [self._reports.pop(0)]


class FakeLifeline:
    """Tells *messages*, then nothing more."""

    def __init__(self, *messages: object) -> None:
        self._messages = list(messages)

    async def receive(self) -> object:
        """Return the next message."""
        await trio.lowlevel.checkpoint()
        if not self._messages:
            await trio.sleep_forever()
        return self._messages.pop(0)


class FakeBook:
    """Keeps whose bits mean nothing any more."""

    def __init__(self) -> None:
        self.buried: list[int] = []

    def bury(self, bit: int) -> None:
        """Keep a bit."""
        self.buried.append(bit)


class FakeDriver:
    """Keeps what is asked of it."""

    def __init__(self, *, is_restored: bool) -> None:
        self.story: list[Any] = []
        self._is_restored = is_restored

    def restore(self) -> bool:
        """Say whether there was something."""
        return self._is_restored

    def handle_reports(self, reports: Iterable[Report]) -> None:
        """Keep reports."""
        self.story += reports

    def follow_link(self, *, mtu: int, up: bool) -> None:
        """Keep the link."""
        self.story.append(("link", mtu, up))

    def program(self, worker: Worker, generation: int) -> None:
        """Keep who was programmed."""
        self.story.append((worker.name, generation))

    def lose_sessions(self) -> None:
        """Keep that sessions are lost."""
        self.story.append("lost")


PROGRAMMED = [("egress", 3), ("ingress", 4)]


async def begin(
    egress: FakeLink,
    ingress: FakeLink,
    *messages: object,
    is_restored: bool = True,
    book: Any = None,
) -> list[Any]:
    """Take over with these workers; return what the driver was asked."""
    driver: Any = FakeDriver(is_restored=is_restored)
    links: Any = {EGRESS: egress, INGRESS: ingress}
    lifeline: Any = FakeLifeline(*messages)
    with trio.fail_after(30):
        await take_over(driver, Fleet(links, book), lifeline, BEGIN)
    story: list[Any] = driver.story
    return story


def held(*sessions: HeldSession, last: bool = True) -> SessionsHeld:
    """Return a worker's answer."""
    return SessionsHeld(sessions, last=last)


async def test_a_first_process_programs_fresh_workers() -> None:
    """Nothing is adopted; the link is known before the table is sent."""
    story = await begin(FakeLink(3, [held()]), FakeLink(4, [held()]), is_restored=False)
    assert story == [("link", 1420, True), *PROGRAMMED]


async def test_sessions_that_both_hold_are_adopted() -> None:
    """Answers in parts are joined; then the link, then the table."""
    egress = FakeLink(3, [held(ONE, last=False), held(TWO)])
    ingress = FakeLink(4, [held(TWO, ONE)])
    assert await begin(egress, ingress) == [
        held(ONE, TWO),
        held(TWO, ONE),
        ("link", 1420, True),
        *PROGRAMMED,
    ]


async def test_sessions_that_one_lacks_are_made_anew() -> None:
    """A worker that died with control has no keys: all begin again."""
    story = await begin(FakeLink(3, [held(ONE)]), FakeLink(4, [held()]))
    assert story[-1] == "lost"


async def test_other_reports_are_handled_at_the_end() -> None:
    """What the workers say meanwhile is not lost."""
    egress = FakeLink(3, [NeedSession(1), held()])
    story = await begin(egress, FakeLink(4, [held()]))
    assert story[-1] == NeedSession(1)


async def test_a_worker_that_restarts_meanwhile_is_asked_again() -> None:
    """What its predecessor told is worth nothing, nor is its generation."""
    egress = FakeLink(5, [held()])
    story = await begin(
        egress,
        FakeLink(4, [held()]),
        WorkerStarted(EGRESS, 5),
        LinkChanged(1300, up=False),
    )
    assert egress.resets == [Reset(3), Reset(5)]
    assert ("egress", 5) in story
    assert ("link", 1300, False) in story


async def test_a_silent_worker_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other one is programmed, and `wg` is served."""
    monkeypatch.setattr(takeover, "HELD_TIMEOUT", 0.01)
    story = await begin(FakeLink(99, []), FakeLink(4, [held()]))
    assert [entry for entry in story if entry in PROGRAMMED] == PROGRAMMED
    assert "does not answer" in caplog.text


@pytest.mark.parametrize(
    ("answer", "buried"), [([held()], [1 << 16]), ([held(ONE)], []), ([], [])]
)
async def test_who_holds_nothing_is_no_holder(
    answer: list[Report], buried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that says so; one that is silent may hold anything."""
    monkeypatch.setattr(takeover, "HELD_TIMEOUT", 0.5)
    book = FakeBook()
    await begin(FakeLink(3, [held(ONE)]), FakeLink(4, answer), book=book)
    assert book.buried == buried


def test_sameness_is_by_index() -> None:
    """Order and use do not matter, a missing session does."""
    assert have_the_same([[ONE, TWO], [TWO, ONE]])
    assert have_the_same([[], []])
    assert not have_the_same([[ONE], [ONE, TWO]])


async def test_a_mesh_begins_between_restoring_and_programming() -> None:
    """It sees the peers there were, and what it adds is part of the program."""
    driver: Any = FakeDriver(is_restored=True)
    links: Any = {
        EGRESS: FakeLink(3, [held()]),
        INGRESS: FakeLink(4, [held()]),
    }
    lifeline: Any = FakeLifeline()
    restore = driver.restore

    def restored() -> bool:
        driver.story.append("restored")
        found: bool = restore()
        return found

    driver.restore = restored
    with trio.fail_after(30):
        await take_over(
            driver,
            Fleet(links),
            lifeline,
            BEGIN,
            on_restored=lambda: driver.story.append("mesh"),
        )
    assert driver.story[:2] == ["restored", "mesh"]
    assert driver.story[-2:] == PROGRAMMED
