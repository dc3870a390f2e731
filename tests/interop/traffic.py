"""Small senders and receivers that the scenarios run inside hosts.

Exit status 0 means that what was waited for happened.
"""

import hashlib
import socket
import sys
from pathlib import Path

PORT = 7777
_PATIENCE = 20.0


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def receive(address: str) -> int:
    """Take one TCP connection to its end and print the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    with socket.create_server((address, PORT), family=_family(address)) as server:
        server.settimeout(_PATIENCE)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(_PATIENCE)
            while data := connection.recv(1 << 16):
                digest.update(data)
    print(digest.hexdigest())
    return 0


def send(address: str, file: str) -> int:
    """Send a file over TCP and wait until the other side has taken all of it."""
    with socket.create_connection((address, PORT), timeout=_PATIENCE) as connection:
        connection.sendall(Path(file).read_bytes())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return 0


def datagram(address: str) -> int:
    """Wait a second for a datagram."""
    return _wait_for_datagram(address, PORT, 1.0)


def throw(address: str, source: str) -> int:
    """Send one datagram from the address *source*."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as udp:
        udp.bind((source, 0))
        udp.sendto(b"X", (address, PORT))
    return 0


def silence(address: str, port: str, seconds: str) -> int:
    """Listen that many seconds; a datagram breaks the silence."""
    return 1 - _wait_for_datagram(address, int(port), float(seconds))


def _wait_for_datagram(address: str, port: int, seconds: float) -> int:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as udp:
        udp.bind((address, port))
        udp.settimeout(seconds)
        try:
            data, sender = udp.recvfrom(2048)
        except TimeoutError:
            return 1
    print(f"{len(data)} bytes from {sender}")
    return 0


VERBS = {
    verb.__name__: verb for verb in (receive, send, datagram, throw, silence)
}

if __name__ == "__main__":
    raise SystemExit(VERBS[sys.argv[1]](*sys.argv[2:]))
