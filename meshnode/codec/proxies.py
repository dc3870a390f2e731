"""What is said to a proxy before it carries a connection: HTTP CONNECT and SOCKS5.

A dialogue is driven until it `is_open`:

    stream.send(dialogue.data_to_send())
    dialogue.receive(stream.read())

Then the stream is the target's. Whatever comes behind the proxy's last answer is
refused. If the target may speak first, read no more than `wanted` bytes at a time:
then that is still in the stream.

HTTP: RFC 9110, 9.3.6, with Basic authentication (RFC 7617). SOCKS5: RFC 1928, with
user and password (RFC 1929).
"""

import base64
from typing import Final, Protocol

from meshnode.codec import socks
from meshnode.codec.socks import NOWHERE, Command
from meshnode.errors import CodecError
from meshnode.types import Endpoint, Target
from meshnode.values import frozen

MAX_ANSWER: Final = 8192
"""Bytes of the head of a proxy's answer."""

_MAX_SECRET: Final = 255

_SOCKS_VERSION: Final = 5
_NO_AUTHENTICATION: Final = 0
_USER_AND_PASSWORD: Final = 2
_HEAD_END: Final = b"\r\n\r\n"
_REFUSALS: Final = {
    1: "failure of the proxy",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "too many hops",
    7: "it knows no such command",
    8: "it knows no such address",
}


class ProxyRefusal(CodecError):
    """The proxy understands, but will not; `code` is its SOCKS or HTTP reason."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Credentials:
    """Who we are to a proxy; both "" for nobody."""

    user: str = ""
    password: str = ""


class ProxyDialogue(Protocol):
    """What is said before the stream is the target's."""

    is_open: bool

    @property
    def wanted(self) -> int:
        """How many bytes the proxy has still to say at least; 0 if it is open."""

    def data_to_send(self) -> bytes:
        """Return and forget what is to be sent."""

    def receive(self, data: bytes) -> None:
        """Take what the proxy says; raises `CodecError` if it refuses, or says why."""


def open_dialogue(
    scheme: str, target: Target, credentials: Credentials
) -> ProxyDialogue:
    """Return the dialogue of a proxy with that *scheme*, "http" or "socks5".

    Raises:
        CodecError: if *target* or *credentials* cannot be said in it.
    """
    if scheme == "http":
        return HttpConnect(target, credentials)
    return Socks5(target, credentials)


class HttpConnect:
    """Ask an HTTP proxy for a connection to *target*.

    Raises:
        CodecError: if the host of *target* is no name.
    """

    def __init__(self, target: Target, credentials: Credentials) -> None:
        self.is_open = False
        target = Target(socks.checked_host(target.host), target.port)
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if credentials.user:
            pair = f"{credentials.user}:{credentials.password}".encode()
            lines.append(
                f"Proxy-Authorization: Basic {base64.b64encode(pair).decode('ascii')}"
            )
        self._sending = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")
        self._heard = b""

    @property
    def wanted(self) -> int:
        """How many bytes the proxy has still to say at least; 0 if it is open."""
        if self.is_open:
            return 0
        # What may be the begin of the end needs the rest of it.
        size = len(_HEAD_END)
        begun = (n for n in range(size) if self._heard.endswith(_HEAD_END[: size - n]))
        return next(begun, size)

    def data_to_send(self) -> bytes:
        """Return and forget what is to be sent."""
        data, self._sending = self._sending, b""
        return data

    def receive(self, data: bytes) -> None:
        """Take what the proxy says.

        Raises:
            CodecError: if it refuses, or speaks no HTTP.
        """
        self._heard += data
        head, end, rest = self._heard.partition(_HEAD_END)
        if not end:
            if len(self._heard) > MAX_ANSWER:
                raise CodecError("the proxy's answer has no end")
            return
        version, _, status = head.partition(b"\r\n")[0].partition(b" ")
        code = status[:3]
        is_status = len(code) == 3 and code.isdigit() and status[3:4] in (b"", b" ")
        if len(head) > MAX_ANSWER or version not in (b"HTTP/1.0", b"HTTP/1.1"):
            raise CodecError("the proxy speaks no HTTP")
        if not is_status:
            raise CodecError("the proxy speaks no HTTP")
        if code == b"407":
            raise ProxyRefusal("the proxy wants another user or password (407)", 407)
        if code[:1] != b"2":
            text = code.decode("ascii")
            raise ProxyRefusal(f"the proxy refuses ({text})", int(text))
        if rest:
            raise CodecError("the proxy said more than it was asked")
        self.is_open = True


class Socks5:
    """Ask a SOCKS5 proxy to do *command* for *target*; by default, to connect to it.

    `place` is the address in the proxy's last answer, `NOWHERE` if that is a name.
    BIND has two answers: `is_waiting` says that the first is there, and `place` is
    then where the target should call; it is open with the second.

    Raises:
        CodecError: if *target*, user or password cannot be said in the protocol.
    """

    def __init__(
        self,
        target: Target,
        credentials: Credentials,
        command: Command = Command.CONNECT,
    ) -> None:
        self.is_open = False
        self.is_waiting = False
        self.place = NOWHERE
        self._user = credentials.user.encode()
        self._password = credentials.password.encode()
        if max(len(self._user), len(self._password)) > _MAX_SECRET:
            raise CodecError("user or password are too long for SOCKS5")
        self._request = bytes([_SOCKS_VERSION, command, 0])
        self._request += socks.encode_address(target)
        self._command = command
        methods = [_NO_AUTHENTICATION]
        if self._user:
            methods.append(_USER_AND_PASSWORD)
        self._sending = bytes([_SOCKS_VERSION, len(methods), *methods])
        self._heard = b""
        self._step = self._take_method
        self._length = 2

    @property
    def wanted(self) -> int:
        """How many bytes the proxy has still to say at least; 0 if it is open."""
        return 0 if self.is_open else self._length - len(self._heard)

    def data_to_send(self) -> bytes:
        """Return and forget what is to be sent."""
        data, self._sending = self._sending, b""
        return data

    def receive(self, data: bytes) -> None:
        """Take what the proxy says.

        Raises:
            CodecError: if it refuses, or speaks no SOCKS5.
        """
        self._heard += data
        while not self.is_open and len(self._heard) >= self._length:
            heard = self._heard[: self._length]
            if self._step(heard):
                self._heard = self._heard[len(heard) :]
        if self.is_open and self._heard:
            raise CodecError("the proxy said more than it was asked")

    # Each step gets as many bytes as `_length` says. It takes them all, or returns
    # False and asks for more.

    def _take_method(self, heard: bytes) -> bool:
        if heard[0] != _SOCKS_VERSION:
            raise CodecError("the proxy speaks no SOCKS5")
        if heard[1] == _NO_AUTHENTICATION:
            self._ask()
        elif heard[1] == _USER_AND_PASSWORD and self._user:
            self._sending += bytes([1, len(self._user)]) + self._user
            self._sending += bytes([len(self._password)]) + self._password
            self._step = self._take_verdict
        else:
            raise CodecError("the proxy wants another way to say who we are")
        return True

    def _take_verdict(self, heard: bytes) -> bool:
        if heard[1]:
            raise CodecError("the proxy wants another user or password")
        self._ask()
        return True

    def _ask(self) -> None:
        self._sending += self._request
        self._step, self._length = self._take_reply, 5

    def _take_reply(self, heard: bytes) -> bool:
        if heard[0] != _SOCKS_VERSION or heard[2]:
            raise CodecError("the proxy speaks no SOCKS5")
        if heard[1]:
            reason = _REFUSALS.get(heard[1], f"code {heard[1]}")
            raise ProxyRefusal(f"the proxy refuses ({reason})", heard[1])
        sizes = {socks.IPV4: 4, socks.IPV6: 16, socks.NAME: 1 + heard[4]}
        if heard[3] not in sizes:
            raise CodecError("the proxy speaks no SOCKS5")
        self._length = 4 + sizes[heard[3]] + 2
        if len(heard) < self._length:
            return False
        self.place = _place(heard)
        self._length = 5
        self.is_open = self.is_waiting or self._command != Command.BIND
        self.is_waiting = not self.is_open
        return True


def _place(reply: bytes) -> Endpoint:
    # Of a name in an answer nothing is wanted, so it may be anything.
    found = None if reply[3] == socks.NAME else socks.take_address(reply, 3)
    return Endpoint(found[0].host, found[0].port) if found else NOWHERE
