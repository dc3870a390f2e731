"""Round trips of datagrams, directly or through a SOCKS proxy, as JSON.

    python -m topology.compare.datagrams ADDRESS PORT SECONDS [SOCKS-PORT]

One at a time first, which gives the latency; then many at once, which gives the rate.
"""

import json
import socket
import struct
import sys
import time

WINDOW = 64
"""Datagrams on their way at once when the rate is measured."""

SIZE = 1200
_PATIENCE = 0.2
_NUMBER = struct.Struct(">I")


def main() -> None:
    """Do what the command line says."""
    address, port, seconds, *proxy = sys.argv[1:]
    target = (address, int(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**21)
        client.settimeout(_PATIENCE)
        head, to, control = b"", target, None
        if proxy:
            control, to = associate(("127.0.0.1", int(proxy[0])))
            head = udp_header(target)
        client.connect(to)
        half = float(seconds) / 2
        times = single(client, head, half)
        rate, lost = many(client, head, half)
        if control is not None:
            control.close()
    result = {"timesMs": [one * 1000 for one in times], "rate": rate, "lost": lost}
    json.dump(result, sys.stdout)


def associate(proxy: tuple[str, int]) -> tuple[socket.socket, tuple[str, int]]:
    """Ask for UDP ASSOCIATE (RFC 1928, 7); return the connection and where to send."""
    control = socket.create_connection(proxy, timeout=5)
    control.sendall(b"\5\1\0")
    _expect(control, b"\5\0")
    control.sendall(b"\5\3\0\1" + bytes(6))
    _expect(control, b"\5\0\0\1")
    host = socket.inet_ntoa(_exactly(control, 4))
    (port,) = struct.unpack(">H", _exactly(control, 2))
    return control, (host if host != "0.0.0.0" else proxy[0], port)


def udp_header(target: tuple[str, int]) -> bytes:
    """Return what stands before a datagram to *target*."""
    return bytes(3) + b"\1" + socket.inet_aton(target[0]) + struct.pack(">H", target[1])


def single(client: socket.socket, head: bytes, seconds: float) -> list[float]:
    """Return the seconds of round trips of one datagram after the other."""
    times, number = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        began = time.monotonic()
        client.send(head + _NUMBER.pack(number) + bytes(60))
        if _take(client, head, number):
            times.append(time.monotonic() - began)
    return times


def many(client: socket.socket, head: bytes, seconds: float) -> tuple[float, float]:
    """Return how many came back a second, `WINDOW` under way, and the share lost."""
    payload = bytes(SIZE - _NUMBER.size)
    sent = back = 0
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        while sent - back < WINDOW:
            sent += 1
            client.send(head + _NUMBER.pack(sent) + payload)
        if _take(client, head):
            back += 1
        else:
            # What is under way now does not come any more.
            lost = sent - back
            return _rate(back, began), lost / sent
    return _rate(back, began), 0.0


def _rate(count: int, began: float) -> float:
    return count / (time.monotonic() - began)


def _take(client: socket.socket, head: bytes, number: int | None = None) -> bool:
    """Wait for the datagram with that number, or for any; return whether it came."""
    while True:
        try:
            data = client.recv(65536)
        except TimeoutError:
            return False
        if number in (None, _NUMBER.unpack_from(data, len(head))[0]):
            return True


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.recv(size - len(data))
        if not more:
            raise ConnectionError("the proxy closed the connection")
        data += more
    return data


def _expect(stream: socket.socket, data: bytes) -> None:
    got = _exactly(stream, len(data))
    if got != data:
        raise ConnectionError(f"the proxy said {got.hex()}")


if __name__ == "__main__":
    main()
