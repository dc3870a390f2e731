"""A bus of D-Bus with one service on it: as much of systemd-resolved as is asked for.

It speaks the protocol itself, by jeepney's codec, so no daemon is needed: whoever
connects is let in, says hello, and calls methods.
"""

import socket
import threading
from pathlib import Path
from typing import Any, Self

from jeepney import HeaderFields, MessageType
from jeepney.low_level import Message, Parser
from jeepney.wrappers import new_error, new_method_return

LINKS = (7,)


class FakeBus:
    """Serves until the end of the `with`; `links` is what it was told of each.

    `known` are the links there are; `is_running` is whether resolved is there;
    `refusal` is a D-Bus error's name that it answers with; `is_silent` lets it answer
    nothing. `calls` are the methods that went well.
    """

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "bus")
        self.is_running = True
        self.refusal = ""
        self.is_silent = False
        self.known: tuple[int, ...] = LINKS
        self.links: dict[int, dict[str, Any]] = {}
        self.calls: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        data = b""
        while b"BEGIN\r\n" not in data:
            piece = client.recv(1024)
            if not piece:
                return
            data += piece
            if b"AUTH" in piece:
                client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        # The first call may have come right behind.
        data = data.partition(b"BEGIN\r\n")[2] or client.recv(4096)
        parser, serial = Parser(), 0
        while data:
            for call in parser.feed(data):
                serial += 1
                reply = self._answer(call)
                if reply is not None:
                    client.sendall(reply.serialise(serial=serial))
            data = client.recv(4096)

    def _answer(self, call: Message) -> Message | None:
        assert call.header.message_type is MessageType.method_call
        method = call.header.fields[HeaderFields.member]
        if method == "Hello":
            return new_method_return(call, "s", (":1.1",))
        if method == "NameHasOwner":
            return new_method_return(call, "b", (self.is_running,))
        assert call.header.fields[HeaderFields.path] == "/org/freedesktop/resolve1"
        index, *values = call.body
        if self.is_silent:
            return None
        if not self.is_running:
            name = "org.freedesktop.DBus.Error.ServiceUnknown"
            return new_error(call, name, "s", ("not there",))
        if self.refusal:
            return new_error(call, self.refusal, "s", ("so it is",))
        if index not in self.known:
            name = "org.freedesktop.resolve1.NoSuchLink"
            return new_error(call, name, "s", (f"Link {index} not known",))
        self.calls.append(method)
        if method == "RevertLink":
            self.links.pop(index, None)
        else:
            self.links.setdefault(index, {})[method] = values[0]
        return new_method_return(call)
