"""Measurements between two joined hosts: throughput, round trips, processor time.

Processor time is that of the whole machine, from `/proc/stat`: whatever else runs is
in it. Every load and every measurement ends by itself after a known time.
"""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topology import iperf
from topology.hosts import Host, wait_until
from topology.processes import LabError
from topology.tunnels import Joined

IPERF_PORT = 5201
DATAGRAM_BYTES = 1200
PING_INTERVAL = 0.01

LOADS = {
    "tcp_1": ("-P", "1"),
    "tcp_4": ("-P", "4"),
    "udp": ("-u", "-b", "0", "-l", str(DATAGRAM_BYTES)),
}
"""What may run beside a ping: iperf3's options of one or four streams that fill the
tunnel, or of more datagrams than it can carry."""

_SLACK = 20.0
"""Seconds beyond the measured time after which a program is taken for stuck."""

_SPARE = 15
"""Seconds that a load runs on if nobody stops it: pings under load take longer."""


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times of the pings that were answered, in ms, and how many were sent.

    `times_ms` is in rising order.
    """

    times_ms: tuple[float, ...]
    sent: int

    @property
    def loss(self) -> float:
        """The share of the pings without an answer, from 0 to 1."""
        return 1 - len(self.times_ms) / self.sent


def busy_share(seconds: float) -> float:
    """Return how busy the machine is by itself: 1.0 is all processors, all the time."""
    before = busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - before) / seconds / (os.cpu_count() or 1)


def tcp(
    joined: Joined, *, seconds: int, streams: int = 1, reverse: bool = False
) -> iperf.Throughput:
    """Measure TCP from left to right, or with *reverse* from right to left."""
    options = ["-P", str(streams), *(["-R"] if reverse else [])]
    report, busy = _iperf(joined, options, seconds)
    return iperf.throughput(report, busy)


def udp(
    joined: Joined, *, seconds: int, payload: int = DATAGRAM_BYTES, rate: float = 0.0
) -> iperf.Datagrams:
    """Measure UDP from left to right.

    *payload* is in bytes; *rate* is datagrams a second, 0 for as many as can be sent.
    """
    bits = round(rate * payload * 8)
    report, _ = _iperf(joined, ["-u", "-b", str(bits), "-l", str(payload)], seconds)
    return iperf.datagrams(report, payload)


def round_trips(joined: Joined, *, seconds: float) -> RoundTrips:
    """Ping from left to right a hundred times a second.

    Raises:
        LabError: if nothing is answered.
    """
    result = _ping(joined, seconds)
    if not result.times_ms:
        raise LabError("no ping was answered")
    return result


def ping_times(output: str) -> tuple[float, ...]:
    """Return the round-trip times in *output* of ping, in ms and in rising order.

    An answer that came twice counts once.
    """
    lines = (line for line in output.splitlines() if "DUP!" not in line)
    matches = (re.search(r"time=([\d.]+)", line) for line in lines)
    return tuple(sorted(float(match[1]) for match in matches if match))


def round_trips_under_load(joined: Joined, load: str, *, seconds: int) -> RoundTrips:
    """Ping while a load of `LOADS` fills the tunnel in the same direction.

    It may be that no ping is answered.

    Raises:
        LabError: if the load ends too early.
    """
    with _iperf_server(joined.right):
        client = _client(joined, LOADS[load], seconds + _SPARE)
        process = joined.left.start(client)
        try:
            # Let the load fill the queues first.
            time.sleep(1)
            result = _ping(joined, seconds)
            if not process.is_running:
                raise LabError(f"the load ended early: {process.output.strip()}")
            return result
        finally:
            process.stop()


def _ping(joined: Joined, seconds: float) -> RoundTrips:
    count = max(1, round(seconds / PING_INTERVAL))
    result = joined.left.run(
        f"ping -n -c {count} -i {PING_INTERVAL} -W 2 {joined.right_v4}",
        timeout=seconds + _SLACK,
        check=False,
    )
    return RoundTrips(ping_times(result.stdout), count)


def _iperf(
    joined: Joined, options: Sequence[str], seconds: int
) -> tuple[dict[str, Any], float]:
    with _iperf_server(joined.right):
        before = busy_seconds()
        command = _client(joined, options, seconds)
        result = joined.left.run(command, timeout=seconds + _SLACK, check=False)
        busy = busy_seconds() - before
    report: dict[str, Any] = json.loads(result.stdout or "{}")
    if result.returncode != 0 or "error" in report:
        raise LabError(f"iperf3: {report.get('error', result.stderr.strip())}")
    return report, busy


def _client(joined: Joined, options: Sequence[str], seconds: int) -> list[str]:
    address, port = joined.right_v4, str(IPERF_PORT)
    return ["iperf3", "-J", "-c", address, "-p", port, "-t", str(seconds), *options]


@contextmanager
def _iperf_server(host: Host) -> Iterator[None]:
    server = host.start(["iperf3", "-s", "-J", "-1", "-p", str(IPERF_PORT)])
    wait_until(
        lambda: bool(host.run(f"ss -Hltn sport = {IPERF_PORT}").stdout),
        "iperf3 listens",
    )
    try:
        yield
    finally:
        server.stop()


def busy_seconds() -> float:
    """Return the seconds all processors together were busy since the start."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, words)
    busy = user + nice + system + irq + softirq
    return busy / os.sysconf("SC_CLK_TCK")
