"""When UPnP is asked, and what is told of it."""

import time
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from meshnode.errors import HostError
from meshnode.node import upnp_mapper
from meshnode.node.upnp_mapper import (
    ANSWER_WITHIN,
    FIRST_AFTER,
    REPEAT_AFTER,
    UpnpMapper,
)
from meshnode.types import Endpoint

OUTSIDE = Endpoint("203.0.113.1", 51820)


class FakeMapping:
    """Stands for a router; `renewals` counts how often it was asked."""

    made: ClassVar[list["FakeMapping"]] = []
    problem = ""

    def __init__(self, client: str, port: int) -> None:
        self.client = client
        self.renewals = 0
        self.is_over = False
        FakeMapping.made.append(self)

    def renew(self, lifetime: int) -> Endpoint:
        """Forward the port."""
        self.renewals += 1
        if FakeMapping.problem:
            raise HostError(FakeMapping.problem)
        return OUTSIDE

    def end(self) -> None:
        """Forward it no more."""
        self.is_over = True


class Mapper:
    """A mapper, and the address that needs it."""

    def __init__(self) -> None:
        self.client = "192.168.7.5"
        self.changes = 0
        self.mapper = UpnpMapper(
            51820, needed_for=lambda: self.client, on_change=self._note
        )

    def _note(self) -> None:
        self.changes += 1


@pytest.fixture
def mapper(monkeypatch: pytest.MonkeyPatch) -> Mapper:
    """A mapper over a fake router."""
    FakeMapping.made = []
    monkeypatch.setattr(FakeMapping, "problem", "")
    monkeypatch.setattr(upnp_mapper, "UpnpMapping", FakeMapping)
    return Mapper()


async def threads() -> None:
    """Let threads, which no mock clock knows, come to an end."""
    for _ in range(200):
        await trio.testing.wait_all_tasks_blocked(0.0)
        with trio.CancelScope():
            await trio.to_thread.run_sync(time.sleep, 0.0)


async def test_it_is_asked_late_and_renewed(
    mapper: Mapper, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """After 20 s without another mapping, then every ten minutes."""
    nursery.start_soon(mapper.mapper.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(FIRST_AFTER - 0.1)
    await threads()
    assert FakeMapping.made == []
    mock_clock.jump(0.2)
    await threads()
    (mapping,) = FakeMapping.made
    assert mapper.mapper.external == OUTSIDE
    assert (mapper.changes, mapping.renewals) == (1, 1)
    mock_clock.jump(REPEAT_AFTER + 0.1)
    await threads()
    assert mapping.renewals == 2
    # Another protocol got a port meanwhile.
    mapper.client = ""
    mapper.mapper.network_changed()
    await threads()
    mock_clock.jump(FIRST_AFTER + 0.1)
    await threads()
    assert mapping.is_over
    assert mapper.mapper.external is None
    assert mapper.mapper.client == ""
    await mapper.mapper.end()


async def test_refusal_is_told(
    mapper: Mapper, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """And what was mapped is not told any more."""
    FakeMapping.problem = "UPnP: the router refuses: no"
    nursery.start_soon(mapper.mapper.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(FIRST_AFTER + 0.1)
    await threads()
    assert mapper.mapper.external is None
    assert mapper.mapper.problem == FakeMapping.problem
    await mapper.mapper.end()
    assert FakeMapping.made[0].is_over


async def test_router_that_never_answers_is_left(
    mapper: Mapper,
    nursery: trio.Nursery,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread is abandoned after 15 s."""

    async def hang(work: object, *, abandon_on_cancel: bool) -> None:
        assert abandon_on_cancel
        await trio.sleep_forever()

    monkeypatch.setattr("trio.to_thread.run_sync", hang)
    nursery.start_soon(mapper.mapper.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(FIRST_AFTER + 0.1)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(ANSWER_WITHIN + 0.1)
    await trio.testing.wait_all_tasks_blocked()
    assert mapper.mapper.problem == "UPnP: the router takes too long"
    assert mapper.changes == 1


async def test_without_the_library_nothing_is_done(
    mapper: Mapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    monkeypatch.setattr(upnp_mapper, "has_upnp", lambda: False)
    await mapper.mapper.run()
    assert FakeMapping.made == []
