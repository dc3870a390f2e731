"""The process that is the internet of a laboratory: a TUN device in each member.

    python -m topology.emulator CONFIG.json

The kernels we run on have no netem, so packets pass through here; what becomes of them
`topology.emulation` decides. The devices exist and have their addresses already. The
file names the conditions, and each member's namespace and prefixes:

    {"device": "internet", "seed": "1", "conditions": {"latency": 0.02, "hops": 2},
     "members": [{"namespace": "ml1zabc-box", "places": ["198.18.0.1/32"]}]}

It says `ready` once it carries, and at its end what it lost, and why.
"""

import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import NoReturn

from meshnode.host.namespaces import run_inside
from topology.emulation import Conditions, Internet
from topology.leaks import NAMESPACES

READY = "ready"

_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_LONGEST = 65535
_AT_ONCE = 64
"""Packets read from one device before the others have their turn."""


def main(arguments: list[str]) -> int:
    """Carry packets until a signal ends it; returns 2 if *arguments* are wrong."""
    if len(arguments) != 1:
        print("usage: python -m topology.emulator CONFIG.json", file=sys.stderr)
        return 2
    config = json.loads(Path(arguments[0]).read_text())
    members = config["members"]
    internet = Internet(
        Conditions(**config["conditions"]),
        [member["places"] for member in members],
        Random(config["seed"]),
    )
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        devices = [
            stack.enter_context(_device(member["namespace"], config["device"]))
            for member in members
        ]
        print(READY, flush=True)
        try:
            _carry(internet, devices)
        finally:
            print("lost:", json.dumps(internet.lost), flush=True)
    return 0


def _carry(internet: Internet, devices: Sequence[int]) -> NoReturn:
    members = {device: number for number, device in enumerate(devices)}
    while True:
        at = internet.next_at()
        pause = None if at is None else max(0.0, at - time.monotonic())
        readable, _, _ = select.select(devices, [], [], pause)
        for device in readable:
            for packet in _packets(device):
                internet.take(packet, members[device], now=time.monotonic())
        for receiver, packet in internet.due(time.monotonic()):
            try:
                os.write(devices[receiver], packet)
            except OSError:
                internet.lost["the receiver's device is full or down"] += 1


def _packets(device: int) -> Iterator[bytes]:
    for _ in range(_AT_ONCE):
        try:
            yield os.read(device, _LONGEST)
        except OSError:  # nothing waits, or the device was set down
            return


@contextmanager
def _device(namespace: str, name: str) -> Iterator[int]:
    """Open the TUN device of a namespace."""

    def attach() -> int:
        opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(opened, _TUNSETIFF, request)
        return opened

    entrance = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device = run_inside(entrance, attach)
    finally:
        os.close(entrance)
    try:
        yield device
    finally:
        os.close(device)


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
