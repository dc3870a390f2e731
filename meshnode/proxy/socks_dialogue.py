"""What a client of a SOCKS proxy says until its request is known; sans-IO.

    dialogue.receive(stream.read())
    match dialogue.next_event():
        case Login(): dialogue.answer_login(...)
        case Request(): ...
    stream.send(dialogue.data_to_send())

A client may say everything at once. What lies behind the request is kept in `rest`,
and belongs to the stream.
"""

import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from meshnode.codec.socks import KINDS, MAX_NAME, Command, checked_host, take_address
from meshnode.errors import CodecError
from meshnode.proxy import socks_messages as messages
from meshnode.proxy.socks_messages import SOCKS4, SOCKS5, Login, Request
from meshnode.types import Target

MAX_REST: Final = 16_384
"""Bytes that a client may say ahead of an answer."""

MAX_USER_4: Final = 255
"""Bytes of the user of SOCKS4, which has no limit of its own."""

_COMMANDS_4: Final = (Command.CONNECT, Command.BIND)


class SocksDialogue:
    """The server's side of one dialogue; with *wants_login* only users are served.

    SOCKS4 has no passwords: where a login is wanted, it is refused.
    """

    def __init__(self, *, wants_login: bool) -> None:
        self._wants_login = wants_login
        self._heard = b""
        self._sending = b""
        self._event: Login | Request | None = None
        self._step: Callable[[bytes], int] | None = self._take_version

    @property
    def rest(self) -> bytes:
        """What was said and not understood yet; after the request, the stream's."""
        return self._heard

    def data_to_send(self) -> bytes:
        """Return and forget what is to be sent."""
        data, self._sending = self._sending, b""
        return data

    def next_event(self) -> Login | Request | None:
        """Return and forget what was understood; the request is the last."""
        event, self._event = self._event, None
        return event

    def receive(self, data: bytes) -> None:
        """Take what the client says.

        Raises:
            CodecError: if it cannot be served. There may still be an answer to send.
        """
        self._heard += data
        self._advance()
        if len(self._heard) > MAX_REST:
            raise CodecError("the client says too much before it is answered")

    def answer_login(self, *, is_known: bool) -> None:
        """Say whether the login was right, and go on if it was.

        Raises:
            CodecError: if it was not, or as `receive`.
        """
        self._sending += messages.encode_verdict(is_known=is_known)
        self._step = self._take_request if is_known else self._refuse
        self._advance()

    def _advance(self) -> None:
        while self._step is not None:
            try:
                taken = self._step(self._heard)
            except CodecError:
                self._step = self._refuse
                raise
            if not taken:
                return
            self._heard = self._heard[taken:]

    # Each step returns how many bytes it took, 0 as long as there are too few.

    def _refuse(self, heard: bytes) -> int:
        raise CodecError("the client was refused")

    def _take_version(self, heard: bytes) -> int:
        if not heard:
            return 0
        if heard[0] == SOCKS4:
            self._step = self._take_request_4
        elif heard[0] == SOCKS5:
            self._step = self._take_methods
        else:
            raise CodecError("the client speaks no SOCKS")
        return 1

    def _take_methods(self, heard: bytes) -> int:
        if not heard or len(heard) < 1 + heard[0]:
            return 0
        end = 1 + heard[0]
        wanted = messages.NO_AUTHENTICATION
        self._step = self._take_request
        if self._wants_login:
            wanted = messages.USER_AND_PASSWORD
            self._step = self._take_login
        if wanted not in heard[1:end]:
            self._sending += messages.encode_method(messages.NO_METHOD)
            raise CodecError("the client has no way to say who it is that we know")
        self._sending += messages.encode_method(wanted)
        return end

    def _take_login(self, heard: bytes) -> int:
        if not heard:
            return 0
        if heard[0] != messages.LOGIN_VERSION:
            raise CodecError("the client speaks another way to log in")
        words, at = [], 1
        for _ in range(2):
            if len(heard) <= at or len(heard) < at + 1 + heard[at]:
                return 0
            words.append(heard[at + 1 : at + 1 + heard[at]])
            at += 1 + heard[at]
        try:
            self._event = Login(words[0].decode(), words[1].decode())
        except UnicodeDecodeError:
            self._sending += messages.encode_verdict(is_known=False)
            # Without its cause, in which the password stands.
            raise CodecError("user or password are no UTF-8") from None
        self._step = None
        return at

    def _take_request(self, heard: bytes) -> int:
        if len(heard) < 4:
            return 0
        version, command, _, kind = heard[:4]
        if version != SOCKS5:
            raise CodecError("the client speaks two versions of SOCKS")
        if command not in list(Command):
            self._fail(messages.COMMAND_UNSUPPORTED)
            raise CodecError("the client wants what is no command")
        if kind not in KINDS:
            self._fail(messages.ADDRESS_UNSUPPORTED)
            raise CodecError("the client has another kind of address")
        try:
            found = take_address(heard, 3)
        except CodecError:
            self._fail(messages.GENERAL_FAILURE)
            raise
        if found is None:
            return 0
        target, end = found
        self._event = Request(SOCKS5, Command(command), target)
        self._step = None
        return end

    def _fail(self, code: int) -> None:
        self._sending += messages.encode_failed_5(code)

    def _take_request_4(self, heard: bytes) -> int:
        try:
            return self._take_fields_4(heard)
        except CodecError:
            self._sending += messages.encode_rejected_4()
            raise

    def _take_fields_4(self, heard: bytes) -> int:
        if len(heard) < 7:
            return 0
        command, port, host = struct.unpack_from(">BH4s", heard)
        if command not in _COMMANDS_4:
            raise CodecError("the client wants what is no command")
        end = _text_end(heard, 7, MAX_USER_4)
        name = str(IPv4Address(host))
        # 4a: an address that no host has says that a name follows.
        if end and host[:3] == bytes(3) and host[3]:
            begin, end = end, _text_end(heard, end, MAX_NAME)
            name = checked_host(heard[begin : end - 1].decode("latin-1")) if end else ""
        if not end:
            return 0
        if self._wants_login:
            raise CodecError("SOCKS4 cannot say who the client is")
        self._event = Request(SOCKS4, Command(command), Target(name, port))
        self._step = None
        return end


def _text_end(heard: bytes, begin: int, limit: int) -> int:
    """Return where a text of at most *limit* bytes ends, behind its zero; 0 if cut."""
    end = heard.find(0, begin, begin + limit + 1) + 1
    if not end and len(heard) > begin + limit:
        raise CodecError("a text of the client has no end")
    return end
