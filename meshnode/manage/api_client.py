"""Ask a running node: what commands do, with blocking sockets and a time for all.

`call` is for one reply, `stream` for events, `borrow` for a descriptor. Every failure
is a `MeshnodeError` whose exit code tells a script what it was.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from meshnode.errors import (
    CodecError,
    HostError,
    MeshnodeError,
    PrivilegeError,
    UsageError,
)
from meshnode.manage.api_protocol import (
    MAX_REPLY,
    EventLine,
    Failure,
    Reply,
    Result,
    parse_reply,
    serialise_request,
)
from meshnode.manage.paths import Directories
from meshnode.values import frozen

REPLY_TIMEOUT: Final = 30.0
"""Seconds for a reply, unless the caller says otherwise."""

_RECEIVE_BYTES = 2**18
_TIMEVAL = struct.Struct("@ll")


class NotRunningError(MeshnodeError):
    """No node of the network runs, or it ended before it answered."""


class NoReplyError(MeshnodeError):
    """The node did not answer in time."""

    exit_code = 4


class RemoteError(MeshnodeError):
    """The node refused; the exit code is the one it gave."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def call(
    directories: Directories,
    network: str,
    verb: str,
    /,
    *,
    reply_timeout: float = REPLY_TIMEOUT,
    **args: object,
) -> dict[str, Any]:
    """Ask the node of *network* and return the result.

    Raises:
        NotRunningError: if there is none.
        NoReplyError: if it does not answer within *reply_timeout* seconds.
        PrivilegeError: if we may not ask it.
        RemoteError: if it refuses.
        UsageError: if it cannot be asked that.
    """
    line = _request(verb, args)
    with _Connection(directories, network, reply_timeout) as connection:
        connection.send(line, reply_timeout)
        reply = connection.receive(reply_timeout)
    if isinstance(reply, EventLine):
        raise NoReplyError(f"{verb} answers with events; update meshnode")
    return reply.values


def stream(
    directories: Directories,
    network: str,
    verb: str,
    /,
    *,
    event_timeout: float | None = None,
    **args: object,
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    """Ask the node of *network* and return what yields its events.

    The question is asked at once. The generator ends when the node says so, and
    returns the result; closing it ends the request.

    Raises:
        NoReplyError: if no event comes for *event_timeout* seconds (None: for ever).
        NotRunningError, PrivilegeError, RemoteError, UsageError: as `call`.
    """
    line = _request(verb, args)
    connection = _Connection(directories, network, REPLY_TIMEOUT)
    try:
        connection.send(line, REPLY_TIMEOUT)
    except BaseException:
        connection.close()
        raise
    return _events(connection, event_timeout)


@frozen
class Borrowed:
    """What a node lends: a descriptor, and what it says of it in `facts`.

    `events` returns what the node has said since, without waiting for any; it raises
    as `stream` does, and NotRunningError if the node has ended.
    """

    facts: dict[str, Any]
    descriptor: int
    events: Callable[[], list[dict[str, Any]]]


@contextmanager
def borrow(
    directories: Directories, network: str, verb: str, /, **args: object
) -> Generator[Borrowed, None, None]:
    """Ask the node of *network* for a descriptor, and hold it inside the block.

    The node knows from the connection how long it is held, so it knows of our death.

    Raises:
        NotRunningError, NoReplyError, PrivilegeError, RemoteError, UsageError: as
            `call`.
    """
    line = _request(verb, args)
    with _Connection(directories, network, REPLY_TIMEOUT) as connection:
        connection.send(line, REPLY_TIMEOUT)
        reply = connection.receive(REPLY_TIMEOUT)
        if len(connection.descriptors) != 1:
            raise NoReplyError(f"{verb} came without what was asked for; see its log")
        yield Borrowed(reply.values, connection.descriptors[0], connection.received)


def _request(verb: str, args: dict[str, object]) -> bytes:
    try:
        return serialise_request(verb, args)
    except CodecError as error:
        raise UsageError(f"the node cannot be asked that: {error}") from None


def _events(
    connection: "_Connection", timeout: float | None
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    with connection:
        while True:
            reply = connection.receive(timeout)
            if isinstance(reply, Result):
                return reply.values
            yield reply.values


class _Connection:
    """A connection to the node of one network."""

    def __init__(self, directories: Directories, network: str, timeout: float) -> None:
        self._network = network
        self._buffer = bytearray()
        self._scanned = 0
        self.descriptors: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with self._readable_errors(directories.api_socket(network), timeout):
                # A non-blocking connect does not wait where the queue is full.
                seconds, rest = divmod(timeout, 1)
                limit = _TIMEVAL.pack(int(seconds), int(rest * 1e6))
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                self._socket.connect(str(directories.api_socket(network)))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it and what it brought; the node forgets what it was asked."""
        self._socket.close()
        while self.descriptors:
            os.close(self.descriptors.pop())

    def send(self, line: bytes, timeout: float) -> None:
        """Send the line of a request."""
        with self._readable_errors(None, timeout):
            self._socket.settimeout(timeout)
            self._socket.sendall(line)

    def received(self) -> list[dict[str, Any]]:
        """Receive the replies that have come."""
        found = []
        while b"\n" in self._buffer or select.select([self._socket], [], [], 0)[0]:
            found.append(self.receive(REPLY_TIMEOUT).values)
        return found

    def receive(self, timeout: float | None) -> Result | EventLine:
        """Receive one reply; raises `RemoteError` for a bad one."""
        with self._readable_errors(None, timeout or 0.0):
            line = self._receive_line(timeout)
        try:
            reply: Reply = parse_reply(line)
        except CodecError as error:
            raise HostError(
                f"the node of network {self._network} answers with what is {error}; "
                f"run: meshnode restart {self._network}"
            ) from None
        if isinstance(reply, Failure):
            raise RemoteError(reply.text, reply.code)
        return reply

    def _receive_line(self, timeout: float | None) -> bytes:
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            if self._scanned > MAX_REPLY:
                raise OSError(errno.EMSGSIZE, "its reply is too long")
            if give_up_at is not None:
                left = give_up_at - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            else:
                self._socket.settimeout(None)
            data, descriptors, _, _ = socket.recv_fds(self._socket, _RECEIVE_BYTES, 1)
            self.descriptors += descriptors
            if not data:
                raise ConnectionResetError
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    @contextmanager
    def _readable_errors(
        self, path: Path | None, timeout: float
    ) -> Generator[None, None, None]:
        """Turn what a socket raises into what to do; *path* while connecting."""
        network = self._network
        try:
            yield
        except (TimeoutError, BlockingIOError):
            raise NoReplyError(
                f"the node of network {network} did not answer in {timeout:g} s; "
                "try again, or look at its log"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            text = f"network {network} is not up: meshnode up {network}"
            raise NotRunningError(text) from None
        except (ConnectionResetError, BrokenPipeError):
            raise NotRunningError(
                f"the node of network {network} ended before it answered; see its log"
            ) from None
        except PermissionError as error:
            raise PrivilegeError(
                f"{path}: {error.strerror}; use sudo, or become the node's user",
                errno=error.errno or errno.EACCES,
            ) from None
        except OSError as error:
            where = f"{path}: " if path else f"the node of network {network}: "
            raise HostError(
                f"{where}{error.strerror or error}", errno=error.errno or errno.EIO
            ) from None
