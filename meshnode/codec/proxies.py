"""What is said to a proxy before it carries a connection: HTTP CONNECT and SOCKS5.

A dialogue is driven until it `is_open`:

    stream.send(dialogue.data_to_send())
    dialogue.receive(stream.read())

Then the stream is the target's. It must speak second: whatever comes behind the
proxy's last answer is refused, for TLS begins with the client.

HTTP: RFC 9110, 9.3.6, with Basic authentication (RFC 7617). SOCKS5: RFC 1928, with
user and password (RFC 1929).
"""

import base64
import ipaddress
import struct
from typing import Final, Protocol

from meshnode.errors import CodecError
from meshnode.types import Endpoint
from meshnode.values import frozen

MAX_ANSWER: Final = 8192
"""Bytes of the head of a proxy's answer."""

_MAX_SECRET: Final = 255

_SOCKS_VERSION: Final = 5
_NO_AUTHENTICATION: Final = 0
_USER_AND_PASSWORD: Final = 2
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
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


@frozen
class Credentials:
    """Who we are to a proxy; both "" for nobody."""

    user: str = ""
    password: str = ""


class ProxyDialogue(Protocol):
    """What is said before the stream is the target's."""

    is_open: bool

    def data_to_send(self) -> bytes:
        """Return and forget what is to be sent."""

    def receive(self, data: bytes) -> None:
        """Take what the proxy says; raises `CodecError` if it refuses, or says why."""


def open_dialogue(
    scheme: str, target: Endpoint, credentials: Credentials
) -> ProxyDialogue:
    """Return the dialogue of a proxy with that *scheme*, "http" or "socks5"."""
    if scheme == "http":
        return HttpConnect(target, credentials)
    return Socks5(target, credentials)


class HttpConnect:
    """Ask an HTTP proxy for a connection to *target*."""

    def __init__(self, target: Endpoint, credentials: Credentials) -> None:
        self.is_open = False
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if credentials.user:
            pair = f"{credentials.user}:{credentials.password}".encode()
            lines.append(
                f"Proxy-Authorization: Basic {base64.b64encode(pair).decode('ascii')}"
            )
        self._sending = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")
        self._heard = b""

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
        head, end, rest = self._heard.partition(b"\r\n\r\n")
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
            raise CodecError("the proxy wants another user or password (407)")
        if code[:1] != b"2":
            raise CodecError(f"the proxy refuses ({code.decode('ascii')})")
        if rest:
            raise CodecError("the proxy said more than it was asked")
        self.is_open = True


class Socks5:
    """Ask a SOCKS5 proxy for a connection to *target*.

    Raises:
        CodecError: if user or password are longer than the protocol can say.
    """

    def __init__(self, target: Endpoint, credentials: Credentials) -> None:
        self.is_open = False
        self._target = target
        self._user = credentials.user.encode()
        self._password = credentials.password.encode()
        if max(len(self._user), len(self._password)) > _MAX_SECRET:
            raise CodecError("user or password are too long for SOCKS5")
        methods = [_NO_AUTHENTICATION]
        if self._user:
            methods.append(_USER_AND_PASSWORD)
        self._sending = bytes([_SOCKS_VERSION, len(methods), *methods])
        self._heard = b""
        self._step = self._take_method

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
        if self.is_open:
            raise CodecError("the proxy said more than it was asked")
        while not self.is_open:
            taken = self._step(self._heard)
            if not taken:
                return
            self._heard = self._heard[taken:]
        if self._heard:
            raise CodecError("the proxy said more than it was asked")

    # Each step returns how many bytes it took, 0 as long as there are too few.

    def _take_method(self, heard: bytes) -> int:
        if len(heard) < 2:
            return 0
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
        return 2

    def _take_verdict(self, heard: bytes) -> int:
        if len(heard) < 2:
            return 0
        if heard[1]:
            raise CodecError("the proxy wants another user or password")
        self._ask()
        return 2

    def _ask(self) -> None:
        address = ipaddress.ip_address(self._target.host)
        kind = _IPV4 if address.version == 4 else _IPV6
        self._sending += bytes([_SOCKS_VERSION, _CONNECT, 0, kind]) + address.packed
        self._sending += struct.pack(">H", self._target.port)
        self._step = self._take_reply

    def _take_reply(self, heard: bytes) -> int:
        if len(heard) < 5:
            return 0
        if heard[0] != _SOCKS_VERSION or heard[2]:
            raise CodecError("the proxy speaks no SOCKS5")
        if heard[1]:
            reason = _REFUSALS.get(heard[1], f"code {heard[1]}")
            raise CodecError(f"the proxy refuses ({reason})")
        sizes = {_IPV4: 4, _IPV6: 16, _NAME: 1 + heard[4]}
        if heard[3] not in sizes:
            raise CodecError("the proxy speaks no SOCKS5")
        length = 4 + sizes[heard[3]] + 2
        if len(heard) < length:
            return 0
        self.is_open = True
        return length
