"""How fast the control side of a WireGuard program is: everything but the packets.

Each function measures one thing once, in hosts of the caller's laboratory, of whatever
`UserspaceWireGuard` it is given. Times are seconds of the wall clock unless they are
called processor seconds; those are of all processes of the program together, which
says more than the clock on a machine that others use too.
"""

import re
import secrets
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from topology.hosts import Host, Port, wait_until
from topology.leaks import UAPI_SOCKETS
from topology.processes import LabError, run
from topology.tunnels import LISTEN_PORT, UserspaceWireGuard, WireGuardDevice
from topology.usage import Usage, memory_of, usage_of

FOREGROUND = frozenset(("-f", "--foreground"))
"""The options that keep a program from becoming a daemon."""

_SETTLE = 2.0
"""Seconds after which a program that was configured is at rest."""

_QUIET = 12.0
"""Seconds after its last packet in which a session may owe a keepalive."""

_COMMAND_TIMEOUT = 30.0
_CONFIGURE_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A program with many peers: `wg setconf` took seconds, and then it has bytes."""

    seconds: float
    processor_seconds: float
    memory: int


def daemon_command(command: Sequence[str]) -> list[str]:
    """Return *command* without what keeps it in the foreground."""
    return [word for word in command if word not in FOREGROUND]


def configuration(private_key: str, peers: int) -> str:
    """Return a `wg setconf` file with so many peers (at most 65,536) of random keys."""
    lines = [f"[Interface]\nPrivateKey = {private_key}\nListenPort = {LISTEN_PORT}"]
    for number in range(peers):
        key = b64encode(secrets.token_bytes(32)).decode()
        high, low = divmod(number, 256)
        lines.append(
            f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{100 + high // 256}."
            f"{high % 256}.{low}/32\nEndpoint = 192.0.2.{1 + number % 250}:51820"
        )
    return "\n".join(lines) + "\n"


def start(implementation: UserspaceWireGuard, host: Host) -> tuple[float, float]:
    """Start the program as a daemon in *host*, and end it.

    Returns the seconds until the command came back, and the processor seconds that
    the daemon's processes had used by then.
    """
    interface = host.lab.interface_name()
    command = [*daemon_command(implementation.command), interface]
    environment = implementation.environment(host)
    before = time.monotonic()
    host.run(command, environment=environment)
    seconds = time.monotonic() - before
    used = usage_of(host.processes()).processor_seconds
    host.ip(f"link delete {interface}")
    socket = UAPI_SOCKETS / f"{interface}.sock"
    wait_until(lambda: not host.processes(), f"the daemon of {interface} has ended")
    if socket.exists():
        raise LabError(f"{implementation.name} left its socket behind")
    return seconds, used


def first_replies(
    implementation: UserspaceWireGuard, left: Port, right: Port, *, count: int
) -> list[float]:
    """Return the round trips of *count* pings for which there was no session yet."""
    devices = implementation.start(left.host), implementation.start(right.host)
    for number, device in enumerate(devices, 1):
        device.bring_up(f"10.99.0.{number}/24")
    try:
        return [_first_reply(devices, (left, right)) for _ in range(count)]
    finally:
        for device in devices:
            device.stop()


def load_peers(implementation: UserspaceWireGuard, host: Host, peers: int) -> Loaded:
    """Configure the program with *peers* peers, and see what that takes."""
    with _running(implementation, host) as device:
        text = configuration(device.keys.private, peers)
        before, started = usage_of(host.processes()), time.monotonic()
        device.set_config(text, timeout=_CONFIGURE_TIMEOUT)
        seconds = time.monotonic() - started
        time.sleep(_SETTLE)
        used = usage_of(host.processes()) - before
        return Loaded(seconds, used.processor_seconds, memory_of(host.processes()))


def idle(
    implementation: UserspaceWireGuard, left: Port, right: Port, *, seconds: float
) -> Usage:
    """Return what the right end of a tunnel at rest uses in so many seconds."""
    implementation.join(left, right)
    time.sleep(_QUIET)
    processes = right.host.processes()
    before = usage_of(processes)
    time.sleep(seconds)
    return usage_of(processes) - before


def command(words: Sequence[str], *, environment: Mapping[str, str]) -> float:
    """Return the seconds that a command takes from its start to its end."""
    before = time.monotonic()
    run(words, timeout=_COMMAND_TIMEOUT, environment=environment)
    return time.monotonic() - before


@contextmanager
def _running(
    implementation: UserspaceWireGuard, host: Host
) -> Iterator[WireGuardDevice]:
    device = implementation.start(host)
    try:
        yield device
    finally:
        device.stop()


def _first_reply(
    devices: tuple[WireGuardDevice, WireGuardDevice], ports: tuple[Port, Port]
) -> float:
    # A peer that was removed takes its session along.
    for number, device in enumerate(devices):
        other = devices[1 - number].public_key
        device.set(f"peer {other} remove")
        device.set(
            f"peer {other} endpoint {ports[1 - number].v4}:{LISTEN_PORT} "
            f"allowed-ips 10.99.0.{2 - number}/32"
        )
    # Two initiations within 20 ms would be one too many for the responder.
    time.sleep(0.1)
    result = devices[0].host.run("ping -c 1 -W 5 10.99.0.2")
    match = re.search(r"time=([\d.]+) ms", result.stdout)
    if match is None:
        raise LabError("the first ping was not answered")
    return float(match[1]) / 1000
