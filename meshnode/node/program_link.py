"""Control's end of the link to one worker: commands in order, reports out.

Commands wait here while the link is full. A worker that reads nothing for long must
not fill our memory: beyond `MAX_WAITING` everything is thrown away, and when the link
moves again whoever owns it is asked to program the worker anew.
"""

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from meshnode.codec.forwarding import (
    MAX_MESSAGE_BYTES,
    decode_report,
    encode_command,
    split_allowed_ips,
)
from meshnode.dataplane.worker import SOCKETS
from meshnode.errors import CodecError, HostError
from meshnode.forwarding import (
    AddAllowedIps,
    Command,
    ProgramComplete,
    RemoveAllowedIps,
    Report,
    Reset,
)
from meshnode.host.channels import recv_with_fds, send_with_fds
from meshnode.host.udp import UdpPair

MAX_WAITING: Final = 500_000
"""Commands that may wait; programming 65,536 peers takes 200,000."""

_BATCH: Final = 64
# Prefixes in one command: a worker looks at packets between commands only.
_PREFIXES: Final = 64
_log = logging.getLogger("meshnode.node")


def encode_all(commands: Iterable[Command]) -> list[bytes]:
    """Return the messages of *commands*, of many prefixes several for one command."""
    messages = []
    for command in commands:
        if isinstance(command, AddAllowedIps | RemoveAllowedIps):
            parts = split_allowed_ips(command, _PREFIXES)
            messages += [encode_command(part) for part in parts]
        else:
            messages.append(encode_command(command))
    return messages


class ProgramLink:
    """The link to one worker over *channel*, which stays the caller's.

    `generation` is that of the worker it was last started over for.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.generation = 0
        self._channel = channel
        self._waiting: deque[bytes] = deque()
        self._sockets: list[int] = []
        self._has_overflowed = False
        self._wake = trio.Event()

    def put(self, commands: Iterable[Command]) -> None:
        """Send *commands* after those that wait already."""
        self.put_messages(encode_all(commands))

    def put_messages(self, messages: Iterable[bytes]) -> None:
        """Send what `encode_all` made, which several links may share."""
        if self._has_overflowed:
            return
        self._waiting.extend(messages)
        if len(self._waiting) > MAX_WAITING:
            self._waiting.clear()
            self._has_overflowed = True
        self._flush()

    def use_sockets(self, pair: UdpPair, beside: Sequence[socket.socket] = ()) -> None:
        """Let the worker speak by these as soon as the link takes the message.

        *pair* is the node's own, *beside* are sockets on other ports.
        """
        self._sockets = [one.fileno() for one in (*pair.sockets(), *beside)]
        self._flush()

    def start_over(self, generation: int, program: Iterable[Command]) -> None:
        """Begin with `Reset`; what still waits was for another life of the worker."""
        self.generation = generation
        self._has_overflowed = False
        self._waiting.clear()
        self.put([Reset(generation), *program, ProgramComplete()])

    async def send_forever(self, on_overflow: Callable[[], None]) -> None:
        """Send what waits whenever the link takes it.

        *on_overflow* is called, once the link moves again, after commands were lost.
        """
        while True:
            await self._wake.wait()
            await trio.lowlevel.wait_writable(self._channel)
            self._flush()
            if self._has_overflowed:
                _log.error("a worker read no commands for long: programming it anew")
                on_overflow()

    async def reports(self) -> list[Report]:
        """Wait for reports and return a bounded number of them."""
        while True:
            await trio.lowlevel.wait_readable(self._channel)
            if reports := self._receive():
                return reports
            await trio.lowlevel.checkpoint()

    def _receive(self) -> list[Report]:
        reports: list[Report] = []
        for _ in range(_BATCH):
            try:
                received = recv_with_fds(self._channel, max_bytes=MAX_MESSAGE_BYTES)
                if received is None:
                    break
                if not received[0]:
                    break  # the supervisor died, which the lifeline tells too
                reports.append(decode_report(received[0]))
            except (CodecError, HostError) as error:
                _log.error("a worker sent nonsense: %s", error)
        return reports

    def _flush(self) -> None:
        """Send until nothing waits, the link is full, or others should have a turn."""
        if self._sockets and send_with_fds(self._channel, SOCKETS, self._sockets):
            self._sockets = []
        for _ in range(_BATCH):
            if not self._waiting:
                break
            if not send_with_fds(self._channel, self._waiting[0]):
                break
            self._waiting.popleft()
        if self._waiting or self._sockets or self._has_overflowed:
            self._wake.set()
        elif self._wake.is_set():
            self._wake = trio.Event()
