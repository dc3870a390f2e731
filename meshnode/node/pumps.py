"""The tasks that bring input to the driver; each does a bounded amount at a time."""

import array
import fcntl
import logging
import socket
import termios
from typing import Final

import trio

from meshnode.codec.datagram import decode_datagram
from meshnode.codec.lifeline import Begin, LinkChanged, WorkerStarted
from meshnode.errors import HostError
from meshnode.forwarding import SessionsHeld
from meshnode.host.channels import recv_with_fds
from meshnode.node.control_lifeline import ControlLifeline
from meshnode.node.driver import Driver
from meshnode.node.program_link import ProgramLink
from meshnode.types import Datagram

_BATCH: Final = 64
_MAX_HANDSHAKE_BYTES: Final = 2048
_LOADED_PAUSE: Final = 0.01
_TYPICAL_BYTES: Final = 170  # an initiation with its path
_log = logging.getLogger("meshnode.node")


async def pump_handshakes(driver: Driver, channel: socket.socket) -> None:
    """Bring the handshake messages and introductions that ingress lets through."""
    while True:
        await trio.lowlevel.wait_readable(channel)
        datagrams = _receive_handshakes(channel)
        if datagrams:
            driver.receive(datagrams, queued=_estimate_queue(channel, datagrams))
        if driver.is_under_load():
            # Waking up costs more than a cookie: let a flood gather in the link.
            await trio.sleep(_LOADED_PAUSE)
        else:
            await trio.lowlevel.checkpoint()


async def pump_reports(driver: Driver, link: ProgramLink) -> None:
    """Bring the reports of one worker.

    Its answers to `Reset` were of interest at the beginning only: later on, a
    worker that is reset has nothing we do not know.
    """
    while True:
        reports = await link.reports()
        driver.handle_reports(r for r in reports if not isinstance(r, SessionsHeld))
        await trio.lowlevel.checkpoint()


async def pump_lifeline(driver: Driver, lifeline: ControlLifeline) -> None:
    """Follow what the supervisor tells; raises `SupervisorGoneError` at its death."""
    while True:
        match await lifeline.receive():
            case LinkChanged(mtu, up):
                driver.follow_link(mtu=mtu, up=up)
            case WorkerStarted(worker, generation):
                _log.debug("%s is new: all sessions are made anew", worker.name)
                driver.restart_worker(worker, generation)
            case Begin():
                raise HostError("the supervisor began twice")
        await trio.lowlevel.checkpoint()


async def pump_deadlines(driver: Driver) -> None:
    """The one sleeping task: wake when the engine has something to do."""
    while True:
        await trio.lowlevel.wait_readable(driver.timer)
        driver.handle_deadline()
        await trio.lowlevel.checkpoint()


def _receive_handshakes(channel: socket.socket) -> list[Datagram]:
    datagrams: list[Datagram] = []
    for _ in range(_BATCH):
        try:
            received = recv_with_fds(channel, max_bytes=_MAX_HANDSHAKE_BYTES)
            if received is None or not received[0]:
                break
            datagrams.append(decode_datagram(received[0]))
        except (ValueError, HostError) as error:
            _log.error("ingress sent nonsense: %s", error)
    return datagrams


def _estimate_queue(channel: socket.socket, before: list[Datagram]) -> int:
    """Return about how many messages wait: the kernel counts their bytes.

    They are taken to be as long as those that came *before* them: an introduction is
    several times as long as a handshake message.
    """
    waiting = array.array("i", [0])
    fcntl.ioctl(channel, termios.FIONREAD, waiting)
    mean = sum(len(datagram.data) for datagram in before) // len(before)
    return waiting[0] // max(mean, _TYPICAL_BYTES)
