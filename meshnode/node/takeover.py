"""How a control process begins: with what the last one, and the workers, know."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

import trio

from meshnode.codec.lifeline import (
    Begin,
    Direction,
    LinkChanged,
    Worker,
    WorkerStarted,
)
from meshnode.forwarding import HeldSession, Report, Reset, SessionsHeld
from meshnode.node.control_lifeline import ControlLifeline
from meshnode.node.driver import Driver
from meshnode.node.fleet import Fleet
from meshnode.node.program_link import ProgramLink

HELD_TIMEOUT: Final = 5.0
"""Seconds a worker may take to say which sessions it holds."""

_log = logging.getLogger("meshnode.node")


class Takeover:
    """What is heard from the workers, and meanwhile from the supervisor."""

    def __init__(self, links: Mapping[Worker, ProgramLink], begin: Begin) -> None:
        by_direction = {
            Direction.EGRESS: begin.egress_generations,
            Direction.INGRESS: begin.ingress_generations,
        }
        self.generations = {
            worker: by_direction[worker.direction][worker.number] for worker in links
        }
        self.mtu = begin.mtu
        self.up = begin.up
        self.held: dict[Worker, list[HeldSession]] = {worker: [] for worker in links}
        self.silent = set(links)
        self.others: list[Report] = []
        self._links = links

    async def ask(self, lifeline: ControlLifeline) -> None:
        """Ask every worker for its sessions, at most for `HELD_TIMEOUT`."""
        with trio.move_on_after(HELD_TIMEOUT) as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, lifeline)
                async with trio.open_nursery() as answers:
                    for worker in self._links:
                        self._reset(worker)
                        answers.start_soon(self._hear, worker)
                nursery.cancel_scope.cancel()
        if waiting.cancelled_caught:
            _log.warning("a worker does not answer; going on without it")

    def _reset(self, worker: Worker) -> None:
        self._links[worker].put([Reset(self.generations[worker])])

    async def _follow(self, lifeline: ControlLifeline) -> None:
        while True:
            match await lifeline.receive():
                case WorkerStarted(worker, generation):
                    # The one we asked is dead; what it told is worth nothing.
                    self.generations[worker] = generation
                    self.held[worker].clear()
                    self._reset(worker)
                case LinkChanged(mtu, up):
                    self.mtu, self.up = mtu, up

    async def _hear(self, worker: Worker) -> None:
        while True:
            for report in await self._links[worker].reports():
                if not isinstance(report, SessionsHeld):
                    self.others.append(report)
                    continue
                self.held[worker] += report.sessions
                if report.last:
                    self.silent.discard(worker)
                    return


def _nothing_more() -> None:
    """A bare interface has nothing above its engine."""


async def take_over(
    driver: Driver,
    fleet: Fleet,
    lifeline: ControlLifeline,
    begin: Begin,
    *,
    on_restored: Callable[[], None] = _nothing_more,
) -> None:
    """Restore the engine, adopt the workers' sessions, and program all workers.

    Nothing else may read from the links and *lifeline* meanwhile. *on_restored* is
    called when the engine knows what it knew before; what it adds is programmed, too.
    """
    is_restored = driver.restore()
    on_restored()
    takeover = Takeover(fleet.links, begin)
    await takeover.ask(lifeline)
    held = list(takeover.held.values())
    for sessions in held if is_restored else ():
        driver.handle_reports([SessionsHeld(tuple(sessions), last=True)])
    driver.follow_link(mtu=takeover.mtu, up=takeover.up)
    for worker, sessions in takeover.held.items():
        if not sessions and worker not in takeover.silent:
            # It may be new: then what memory says of it was said of another.
            fleet.bury(worker)
        driver.program(worker, takeover.generations[worker])
    if is_restored and not have_the_same(held):
        # A worker died together with control, or commands did.
        driver.lose_sessions()
    driver.handle_reports(takeover.others)


def have_the_same(held: list[list[HeldSession]]) -> bool:
    """Whether all workers hold the same sessions, so that each can be used."""
    indices = [{session.local_index for session in sessions} for sessions in held]
    return all(one == indices[0] for one in indices)
