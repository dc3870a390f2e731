"""The tasks that bring input."""

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import trio

from meshnode.codec.datagram import encode_datagram
from meshnode.codec.lifeline import (
    Begin,
    Direction,
    LinkChanged,
    Worker,
    WorkerStarted,
)
from meshnode.errors import HostError
from meshnode.forwarding import NeedSession, Report, SessionsHeld
from meshnode.host.channels import seqpacket_pair
from meshnode.host.clock import BootTimer
from meshnode.node import pumps
from meshnode.node.pumps import (
    pump_deadlines,
    pump_handshakes,
    pump_lifeline,
    pump_reports,
)
from meshnode.types import Datagram, Endpoint, Path


class FakeDriver:
    """Keeps its inputs; says when one has come."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.came = trio.Event()
        self.timer = BootTimer()
        self.is_loaded = False

    def is_under_load(self) -> bool:
        """Say what a test wants."""
        return self.is_loaded

    def note(self, value: Any) -> None:
        """Keep one input."""
        self.inputs.append(value)
        self.came.set()

    def receive(self, datagrams: list[Datagram], *, queued: int) -> None:
        """Keep the number of datagrams and the estimate."""
        self.note((len(datagrams), queued))

    def handle_reports(self, reports: Iterable[Report]) -> None:
        """Keep reports."""
        self.note(list(reports))

    def handle_deadline(self) -> None:
        """Keep that it was due."""
        self.timer.clear()
        self.note("deadline")

    def follow_link(self, *, mtu: int, up: bool) -> None:
        """Keep the link's state."""
        self.note((mtu, up))

    def restart_worker(self, worker: Worker, generation: int) -> None:
        """Keep which worker is new."""
        self.note((worker, generation))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a link."""
    pair = seqpacket_pair(buffer_bytes=2**20)
    yield pair
    for end in pair:
        end.close()


DATAGRAM = Datagram(bytes(148), Path(Endpoint("192.0.2.1", 1)))
Ends = tuple[socket.socket, socket.socket]


async def test_handshakes_come_in_batches_with_an_estimate(
    ends: Ends, nursery: trio.Nursery
) -> None:
    """A flood is taken in bounded pieces, and the engine knows what still waits."""
    for _ in range(300):
        ends[1].send(encode_datagram(DATAGRAM))
    driver: Any = FakeDriver()
    nursery.start_soon(pump_handshakes, driver, ends[0])
    with trio.fail_after(30):
        while sum(count for count, _ in driver.inputs) < 300:
            await driver.came.wait()
            driver.came = trio.Event()
    counts = [count for count, _ in driver.inputs]
    assert counts == [64, 64, 64, 64, 44]
    first, last = driver.inputs[0][1], driver.inputs[-1][1]
    assert 180 < first < 290
    assert last == 0
    driver.timer.close()


async def test_under_load_a_flood_gathers_before_control_wakes_again(
    ends: Ends, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a batch under load the next ones wait, and then come as one."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        for _ in range(3):
            ends[1].send(encode_datagram(DATAGRAM))
        driver.is_loaded = False
        await trio.lowlevel.checkpoint()

    driver: Any = FakeDriver()
    driver.is_loaded = True
    monkeypatch.setattr(pumps.trio, "sleep", pause)
    ends[1].send(encode_datagram(DATAGRAM))
    nursery.start_soon(pump_handshakes, driver, ends[0])
    with trio.fail_after(30):
        while len(driver.inputs) < 2:
            await driver.came.wait()
            driver.came = trio.Event()
    assert [count for count, _ in driver.inputs] == [1, 3]
    assert pauses == [0.01]
    driver.timer.close()


async def test_nonsense_of_ingress_is_skipped(
    ends: Ends, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no datagram is logged, and the next one still arrives."""
    ends[1].send(b"\x01")
    ends[1].send(encode_datagram(DATAGRAM))
    driver: Any = FakeDriver()
    nursery.start_soon(pump_handshakes, driver, ends[0])
    with trio.fail_after(30):
        await driver.came.wait()
    assert driver.inputs == [(1, 0)]
    assert "nonsense" in caplog.text
    driver.timer.close()


async def test_reports_reach_the_driver(nursery: trio.Nursery) -> None:
    """All but the answers to `Reset`, which only the beginning wants."""

    class FakeLink:
        calls = 0

        async def reports(self) -> list[Report]:
            self.calls += 1
            if self.calls > 1:
                await trio.sleep_forever()
            return [NeedSession(1), SessionsHeld((), last=True), NeedSession(2)]

    driver: Any = FakeDriver()
    link: Any = FakeLink()
    nursery.start_soon(pump_reports, driver, link)
    with trio.fail_after(30):
        await driver.came.wait()
    assert driver.inputs == [[NeedSession(1), NeedSession(2)]]
    driver.timer.close()


async def test_what_the_supervisor_tells_is_followed() -> None:
    """Link and workers; a second beginning is a mistake that ends us."""

    class FakeLifeline:
        messages = iter(
            [
                LinkChanged(1300, up=True),
                WorkerStarted(Worker(Direction.EGRESS, 1), 4),
                Begin((1,), (1,), 1420, up=False),
            ]
        )

        async def receive(self) -> object:
            await trio.lowlevel.checkpoint()
            return next(self.messages)

    driver: Any = FakeDriver()
    lifeline: Any = FakeLifeline()
    with pytest.raises(HostError, match="began twice"):
        await pump_lifeline(driver, lifeline)
    assert driver.inputs == [(1300, True), (Worker(Direction.EGRESS, 1), 4)]
    driver.timer.close()


async def test_the_timer_wakes_the_driver(nursery: trio.Nursery) -> None:
    """A moment in the past is handled at once, one never set is not."""
    driver: Any = FakeDriver()
    nursery.start_soon(pump_deadlines, driver)
    await trio.testing.wait_all_tasks_blocked()
    assert driver.inputs == []
    driver.timer.set(0.0)
    with trio.fail_after(30):
        await driver.came.wait()
    assert driver.inputs == ["deadline"]
    driver.timer.close()


async def test_long_introductions_are_not_taken_for_many_handshakes(
    ends: Ends, nursery: trio.Nursery
) -> None:
    """The estimate goes by the size of what came before."""
    introduction = Datagram(bytes(1280), DATAGRAM.path)
    for _ in range(100):
        ends[1].send(encode_datagram(introduction))
    driver: Any = FakeDriver()
    nursery.start_soon(pump_handshakes, driver, ends[0])
    with trio.fail_after(30):
        while sum(count for count, _ in driver.inputs) < 100:
            await driver.came.wait()
            driver.came = trio.Event()
    (_, first), (_, last) = driver.inputs
    assert 30 < first < 45
    assert last == 0
    driver.timer.close()
