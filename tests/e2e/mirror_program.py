"""Tells everybody who he is: HTTP on the TCP ports given, and UDP on the same.

The body of an answer is the client's address; a datagram's answer is that, a space,
and what was sent. It serves until it is killed.
"""

import signal
import socketserver
import sys
import threading
from socket import AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY


def plain(host: str) -> str:
    """Return an address without the form that IPv4 has in IPv6 sockets."""
    return host.removeprefix("::ffff:")


class Web(socketserver.StreamRequestHandler):
    """Answers one request."""

    def handle(self) -> None:
        """Read the head, and tell."""
        while self.rfile.readline().strip():
            pass
        body = plain(self.client_address[0]).encode()
        head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


class Echo(socketserver.DatagramRequestHandler):
    """Answers one datagram."""

    def handle(self) -> None:
        """Tell, and repeat what was said."""
        sender = plain(self.client_address[0]).encode()
        self.wfile.write(sender + b" " + self.rfile.read())


class Streams(socketserver.ThreadingTCPServer):
    """TCP for both IP versions."""

    address_family = AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 200

    def server_bind(self) -> None:
        """Take IPv4, too."""
        self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        super().server_bind()


class Datagrams(socketserver.ThreadingUDPServer):
    """UDP for one IP version: its answers must come from where it was asked."""

    daemon_threads = True


class Datagrams6(Datagrams):
    """The same for IPv6."""

    address_family = AF_INET6


def main(addresses: list[str], ports: list[int]) -> None:
    """Serve until killed."""
    servers: list[socketserver.BaseServer] = []
    for port in ports:
        servers.append(Streams(("::", port), Web))
        for address in addresses:
            kind = Datagrams6 if ":" in address else Datagrams
            servers.append(kind((address, port), Echo))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.pause()


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        [word for word in words if not word.isdigit()],
        [int(word) for word in words if word.isdigit()],
    )
