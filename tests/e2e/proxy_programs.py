"""Programs of the tests of proxies: one word says which, the others what.

internet ADDRESS        HTTP at port 80 that answers with who asks; UDP echo at 7
udp PROXY HOST:PORT TEXT   send TEXT by the SOCKS5 proxy and print what comes back
crowd PROXY HOST:PORT COUNT   hold COUNT connections by the proxy, print who got one
"""

import contextlib
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMEOUT = 10.0


class Mirror(BaseHTTPRequestHandler):
    """Answers with the address of who asks."""

    def do_GET(self) -> None:
        """Answer."""
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Takes a crowd."""

    request_queue_size = 1024
    daemon_threads = True


def internet(address: str) -> None:
    """Be a host of the internet, until killed."""
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((address, 7))

    def answer() -> None:
        while True:
            data, source = echo.recvfrom(65535)
            echo.sendto(source[0].encode() + b" said " + data, source)

    threading.Thread(target=answer, daemon=True).start()
    with Server((address, 80), Mirror) as server:
        server.serve_forever()


def split(place: str) -> tuple[str, int]:
    """Read HOST:PORT."""
    host, _, port = place.rpartition(":")
    return host, int(port)


def ask(proxy: str, command: int, target: str) -> tuple[socket.socket, int, bytes]:
    """Ask a SOCKS5 proxy; return the connection, its answer's code and the rest."""
    one = socket.create_connection(split(proxy), timeout=TIMEOUT)
    one.sendall(b"\5\1\0")
    assert one.recv(2) == b"\5\0"
    host, port = split(target)
    name = host.encode()
    one.sendall(bytes((5, command, 0, 3, len(name))) + name + struct.pack(">H", port))
    answer = one.recv(300)
    return one, answer[1], answer[3:]


def udp(proxy: str, target: str, text: str) -> None:
    """Send one datagram and print the answer."""
    held, code, place = ask(proxy, 3, "0.0.0.0:0")
    if code:
        sys.exit(f"refused with {code}")
    size = 4 if place[0] == 1 else 16
    family = socket.AF_INET if place[0] == 1 else socket.AF_INET6
    relay = socket.inet_ntop(family, place[1 : 1 + size])
    (port,) = struct.unpack(">H", place[1 + size :])
    host, target_port = split(target)
    header = b"\0\0\0\1" + socket.inet_aton(host) + struct.pack(">H", target_port)
    with held, socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(TIMEOUT)
        one.sendto(header + text.encode(), (relay, port))
        print(one.recv(65535)[10:].decode())


def crowd(proxy: str, target: str, count: str) -> None:
    """Hold many connections at once; print how many work, and how many were closed."""
    host, port = split(target)
    asked = b"\5\1\0" + bytes((5, 1, 0, 1)) + socket.inet_aton(host)
    asked += struct.pack(">H", port) + b"GET / HTTP/1.0\r\n\r\n"
    connections, served, refused = [], 0, 0
    for _ in range(int(count)):
        connections.append(socket.create_connection(split(proxy), timeout=TIMEOUT))
        with contextlib.suppress(ConnectionError):
            connections[-1].sendall(asked)
    for one in connections:
        try:
            answer = one.recv(2, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b""
        refused += not answer
        if answer:
            granted = one.recv(10, socket.MSG_WAITALL)
            served += granted[1] == 0 and b"200" in one.recv(4096)
    print(served, refused)


if __name__ == "__main__":
    program, *words = sys.argv[1:]
    {"internet": internet, "udp": udp, "crowd": crowd}[program](*words)
