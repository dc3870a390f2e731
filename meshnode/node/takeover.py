"""How a control process begins: with what the last one, and the workers, know."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from meshnode.codec.lifeline import Begin, Worker
from meshnode.forwarding import HeldSession, Report, Reset, SessionsHeld
from meshnode.node.driver import Driver
from meshnode.node.program_link import ProgramLink

HELD_TIMEOUT: Final = 5.0
"""Seconds a worker may take to say which sessions it holds."""

_log = logging.getLogger("meshnode.node")


@dataclass(slots=True)
class _Answer:
    """What one worker said until it had told all its sessions."""

    sessions: list[HeldSession] = field(default_factory=list)
    others: list[Report] = field(default_factory=list)


async def take_over(
    driver: Driver, links: Mapping[Worker, ProgramLink], begin: Begin
) -> None:
    """Restore the engine, adopt the workers' sessions, and program both workers.

    Nothing else may read from *links* meanwhile.
    """
    is_restored = driver.restore()
    generations = {
        Worker.EGRESS: begin.egress_generation,
        Worker.INGRESS: begin.ingress_generation,
    }
    answers = {worker: _Answer() for worker in links}
    with trio.move_on_after(HELD_TIMEOUT) as waiting:
        async with trio.open_nursery() as nursery:
            for worker, link in links.items():
                link.put([Reset(generations[worker])])
                nursery.start_soon(_listen, link, answers[worker])
    if waiting.cancelled_caught:
        _log.warning("a worker does not answer; going on without it")
    held = [answer.sessions for answer in answers.values()]
    for sessions in held if is_restored else ():
        driver.handle_reports([SessionsHeld(tuple(sessions), last=True)])
    driver.follow_link(mtu=begin.mtu, up=begin.up)
    for worker in links:
        driver.program(worker, generations[worker])
    if is_restored and not have_the_same(held):
        # A worker died together with control, or commands did.
        driver.lose_sessions()
    for answer in answers.values():
        driver.handle_reports(answer.others)


def have_the_same(held: list[list[HeldSession]]) -> bool:
    """Whether all workers hold the same sessions, so that each can be used."""
    indices = [{session.local_index for session in sessions} for sessions in held]
    return all(one == indices[0] for one in indices)


async def _listen(link: ProgramLink, answer: _Answer) -> None:
    while True:
        for report in await link.reports():
            if not isinstance(report, SessionsHeld):
                answer.others.append(report)
                continue
            answer.sessions += report.sessions
            if report.last:
                return
