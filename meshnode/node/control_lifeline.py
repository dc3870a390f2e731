"""Control's end of the lifeline: what the supervisor tells, and what it is asked."""

import errno
import socket
from typing import Final

import trio

from meshnode.codec.lifeline import (
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    ControlMessage,
    DropSocket,
    KeepSocket,
    Ready,
    Rebind,
    Rebound,
    SupervisorMessage,
    WantCarrier,
    WantProxy,
    WantTls,
    decode_from_supervisor,
    encode,
)
from meshnode.errors import HostError
from meshnode.host.channels import recv_with_fds, send_with_fds
from meshnode.host.udp import UdpPair, adopt_pairs

REBIND_TIMEOUT: Final = 5.0
"""Seconds the supervisor may take to open a port."""


class SupervisorGoneError(Exception):
    """The lifeline has ended: the supervisor is dead."""


class ControlLifeline:
    """The lifeline over *channel*; one task receives, others ask.

    *workers* is how many there are of each direction.
    """

    def __init__(self, channel: socket.socket, workers: int = 1) -> None:
        self._channel = channel
        self._workers = workers
        self._asking = trio.Lock()
        self._answered = trio.Event()
        self._answer: tuple[Rebound, list[int]] | None = None

    async def receive(self) -> SupervisorMessage:
        """Return the next message that is no answer.

        Raises:
            SupervisorGoneError: if the supervisor is dead.
            CodecError: if it speaks another language, so that we must end.
        """
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            received = recv_with_fds(
                self._channel, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
            )
            if received is None:
                continue
            data, descriptors = received
            if not data:
                raise SupervisorGoneError
            message = decode_from_supervisor(data)
            if not isinstance(message, Rebound):
                return message
            self._answer = message, descriptors
            self._answered.set()

    def tell_ready(self) -> None:
        """Say that we serve."""
        self._send(Ready())

    def keep_socket(self, port: int, descriptor: int) -> None:
        """Have a socket on *port* kept for the control process after us."""
        self._send(KeepSocket(port), (descriptor,))

    def drop_socket(self, port: int) -> None:
        """Have it closed."""
        self._send(DropSocket(port))

    def want_tls(self) -> None:
        """Ask for the process that speaks TLS; nothing happens if it runs."""
        self._send(WantTls())

    def want_proxy(self) -> None:
        """Ask for the process of applications; nothing happens if it runs."""
        self._send(WantProxy())

    def want_carrier(self) -> None:
        """Ask for the process that carries what is steered, in the same way."""
        self._send(WantCarrier())

    async def rebind(self, port: int, fwmark: int) -> tuple[UdpPair, ...]:
        """Ask for sockets on *port*, 0 for a random one; the old ones are closed.

        A pair is returned for each worker of a direction.

        Raises:
            HostError: with the errno of the refusal; then nothing changed.
        """
        async with self._asking:
            self._answered = trio.Event()
            self._send(Rebind(port, fwmark))
            with trio.move_on_after(REBIND_TIMEOUT) as waiting:
                await self._answered.wait()
            if waiting.cancelled_caught or self._answer is None:
                raise HostError("the supervisor does not answer", errno=errno.EIO)
            answer, descriptors = self._answer
            self._answer = None
        if answer.errno:
            raise HostError(f"UDP port {port} cannot be had", errno=answer.errno)
        return adopt_pairs(descriptors, self._workers)

    def _send(self, message: ControlMessage, descriptors: tuple[int, ...] = ()) -> None:
        if not send_with_fds(self._channel, encode(message), descriptors):
            raise HostError("the supervisor does not listen", errno=errno.EIO)
