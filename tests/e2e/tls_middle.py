"""Who may stand between a node and a TLS server: two proxies, and an interceptor.

    python tls_middle.py connect|socks5 PORT USER PASSWORD
    python tls_middle.py intercept PORT SERVER

Each prints a line for every connection that it carries.
"""

import base64
import os
import socket
import ssl
import struct
import sys
import tempfile
import threading
from collections.abc import Callable

from meshnode.mesh.tls_leaf import create_leaf

Answer = Callable[[socket.socket], socket.socket]


def main(words: list[str]) -> None:
    """Be what *words* say, until killed."""
    kind, port, *rest = words
    answer: Answer
    if kind == "connect":
        answer = Connect(*rest)
    elif kind == "socks5":
        answer = Socks(*rest)
    else:
        answer = Interceptor(*rest)
    with socket.create_server(("", int(port))) as server:
        while True:
            one, _ = server.accept()
            threading.Thread(target=serve, args=(one, answer), daemon=True).start()


def serve(one: socket.socket, answer: Answer) -> None:
    """Carry one connection."""
    try:
        inside = answer(one) if not isinstance(answer, Interceptor) else None
        if inside is None:
            assert isinstance(answer, Interceptor)
            answer.serve(one)
            return
    except (OSError, ValueError) as error:
        print("refused:", error, flush=True)
        one.close()
        return
    print("carried", flush=True)
    carry(one, inside)


def carry(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until either ends."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    threading.Thread(target=pump, args=(one, other), daemon=True).start()
    pump(other, one)


class Connect:
    """An HTTP proxy that knows CONNECT, and one user."""

    def __init__(self, user: str, password: str) -> None:
        self._wanted = base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, one: socket.socket) -> socket.socket:
        """Answer the request; return the connection to the target."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += one.recv(1)
        text = head.decode()
        if f"Proxy-Authorization: Basic {self._wanted}\r\n" not in text:
            one.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")
            raise ValueError("user")
        host, _, port = text.split()[1].rpartition(":")
        other = socket.create_connection((host.strip("[]"), int(port)), 5)
        one.sendall(b"HTTP/1.1 200 Connected\r\nVia: 1.1 lab\r\n\r\n")
        return other


class Socks:
    """A SOCKS5 proxy for IPv4, and one user."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user.encode(), password.encode()

    def __call__(self, one: socket.socket) -> socket.socket:
        """Answer the request; return the connection to the target."""
        count = exactly(one, 2)[1]
        if 2 not in exactly(one, count):
            one.sendall(b"\x05\xff")
            raise ValueError("method")
        one.sendall(b"\x05\x02")
        user = exactly(one, exactly(one, 2)[1])
        password = exactly(one, exactly(one, 1)[0])
        if (user, password) != (self._user, self._password):
            one.sendall(b"\x01\x01")
            raise ValueError("user")
        one.sendall(b"\x01\x00")
        assert exactly(one, 4) == b"\x05\x01\x00\x01"
        host = socket.inet_ntoa(exactly(one, 4))
        (port,) = struct.unpack(">H", exactly(one, 2))
        other = socket.create_connection((host, port), 5)
        one.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        return other


class Interceptor:
    """Ends TLS with a certificate of its own, and speaks TLS to the server."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(create_leaf(os.urandom(32), os.urandom(16))[1])
            file.flush()
            self._outside.load_cert_chain(file.name)
        self._inside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._inside.check_hostname = False
        self._inside.verify_mode = ssl.CERT_NONE
        for context in (self._outside, self._inside):
            context.set_alpn_protocols(["meshnode/1"])

    def __call__(self, one: socket.socket) -> socket.socket:
        """Not used: TLS has two ends of its own here."""
        raise ValueError("an interceptor is no proxy")

    def serve(self, one: socket.socket) -> None:
        """Pass the first frames on, and tell what the client says after the proof."""
        client = self._outside.wrap_socket(one, server_side=True)
        other = socket.create_connection((self._server, 443), 5)
        server = self._inside.wrap_socket(other)
        server.sendall(client.recv(65536))
        client.sendall(server.recv(65536))
        try:
            heard = client.recv(65536)
        except OSError:
            heard = b""
        print("intercepted", len(heard), flush=True)


def exactly(one: socket.socket, count: int) -> bytes:
    """Receive *count* bytes."""
    data = b""
    while len(data) < count:
        more = one.recv(count - len(data))
        if not more:
            raise ValueError("the connection ended")
        data += more
    return data


if __name__ == "__main__":
    main(sys.argv[1:])
