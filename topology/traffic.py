"""Small senders and receivers to run inside hosts: `python -m topology.traffic`.

Exit status 0 means that what was waited for happened.

`send_file` and `send_datagrams` run both ends of a transfer, over TCP or UDP, and check
what arrived.
"""

import hashlib
import socket
import struct
import sys
from pathlib import Path

from topology.hosts import Host, wait_until
from topology.processes import LabError, Process

PORT = 7777
_PATIENCE = 20.0

_DATAGRAM = 1200
_AT_ONCE = 40
_UDP_SEGMENT = 103
_TOTAL = struct.Struct(">Q")
_ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[1])}


def start(host: Host, *words: str) -> Process:
    """Start one of the verbs below in *host*."""
    # By its path: the hosts' working directory is not ours to choose.
    return host.start([sys.executable, __file__, *words], environment=_ENVIRONMENT)


def run(host: Host, *words: str, timeout: float = _PATIENCE) -> None:
    """Run one of the verbs below in *host* to its end; it must succeed."""
    host.run(
        [sys.executable, __file__, *words], timeout=timeout, environment=_ENVIRONMENT
    )


def await_listener(host: Host, port: int = PORT) -> None:
    """Wait until a process in *host* listens on a TCP or UDP port."""
    wait_until(
        lambda: bool(host.run(f"ss -Hltun sport = {port}").stdout),
        f"a listener on port {port}",
    )


def send_file(
    file: Path, sender: Host, receiver: Host, address: str, *, timeout: float = 30
) -> str:
    """Send a file to *address* of *receiver* and return its SHA-256.

    Raises:
        LabError: if it takes longer than *timeout* seconds or arrives changed.
    """
    return _transfer(file, sender, receiver, address, ("send", "receive"), timeout)


def send_datagrams(
    file: Path, sender: Host, receiver: Host, address: str, *, timeout: float = 30
) -> str:
    """Send a file in datagrams, many by a call, and return its SHA-256.

    Raises:
        LabError: if it takes longer than *timeout* seconds or arrives changed.
    """
    return _transfer(file, sender, receiver, address, ("throw_all", "catch"), timeout)


def _transfer(
    file: Path,
    sender: Host,
    receiver: Host,
    address: str,
    verbs: tuple[str, str],
    timeout: float,
) -> str:
    server = start(receiver, verbs[1], address)
    try:
        await_listener(receiver)
        run(sender, verbs[0], address, str(file), timeout=timeout)
        server.wait(timeout)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if server.output.strip() != digest:
            raise LabError(f"arrived changed:\n{server.output}")
    finally:
        server.stop()
    return digest


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


def catch(address: str) -> int:
    """Take datagrams up to an empty one and print the SHA-256 of their bytes.

    Each is answered by how many bytes there were so far.
    """
    digest, total = hashlib.sha256(), 0
    with socket.socket(_family(address), socket.SOCK_DGRAM) as udp:
        udp.bind((address, PORT))
        udp.settimeout(_PATIENCE)
        while True:
            data, sender = udp.recvfrom(1 << 16)
            if not data:
                break
            digest.update(data)
            total += len(data)
            udp.sendto(_TOTAL.pack(total), sender)
    print(digest.hexdigest())
    return 0


def throw_all(address: str, file: str) -> int:
    """Send a file in datagrams, each lot when the one before has arrived."""
    data = Path(file).read_bytes()
    segments = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", _DATAGRAM))]
    with socket.socket(_family(address), socket.SOCK_DGRAM) as udp:
        udp.settimeout(_PATIENCE)
        udp.connect((address, PORT))
        for at in range(0, len(data), _AT_ONCE * _DATAGRAM):
            lot = data[at : at + _AT_ONCE * _DATAGRAM]
            udp.sendmsg([lot], segments)
            while _TOTAL.unpack(udp.recv(64))[0] < at + len(lot):
                pass
        udp.send(b"")
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
    verb.__name__: verb
    for verb in (receive, send, catch, throw_all, datagram, throw, silence)
}

if __name__ == "__main__":
    raise SystemExit(VERBS[sys.argv[1]](*sys.argv[2:]))
