"""Measurements between two joined hosts: throughput, round trips, processor time.

Throughput is what iperf3's receiver got (goodput, bits of payload a second). Processor
time is that of the whole machine, from `/proc/stat`: whatever else runs is in it.
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

from topology.hosts import Host, wait_until
from topology.processes import LabError
from topology.tunnels import Joined

IPERF_PORT = 5201
DATAGRAM_BYTES = 1200
PING_INTERVAL = 0.01

_SLACK = 20.0
"""Seconds beyond the measured time after which a program is taken for stuck."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """One iperf3 run: receiver's bits a second, lost share, processor use.

    `loss` is a share from 0 to 1 (0 for TCP); `processor_seconds` counts the busy
    time of all processors during the run.
    """

    bits_per_second: float
    loss: float
    processor_seconds: float
    seconds: float

    @property
    def processor_seconds_per_gigabit(self) -> float:
        """Busy processor seconds of the whole machine for each 10⁹ bits received."""
        gigabits = self.bits_per_second * self.seconds / 1e9
        return self.processor_seconds / gigabits if gigabits else float("inf")


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times in milliseconds, and the share of pings that came back."""

    p50_ms: float
    p99_ms: float
    answered: float


def busy_share(seconds: float) -> float:
    """Return how busy the machine is by itself: 1.0 is all processors, all the time."""
    before = _busy_seconds()
    time.sleep(seconds)
    return (_busy_seconds() - before) / seconds / (os.cpu_count() or 1)


def tcp(
    joined: Joined, *, seconds: int, streams: int = 1, reverse: bool = False
) -> Throughput:
    """Measure TCP from left to right, or with *reverse* from right to left."""
    options = ["-P", str(streams), *(["-R"] if reverse else [])]
    result, busy = _iperf(joined, options, seconds)
    received = result["end"]["sum_received"]
    return Throughput(received["bits_per_second"], 0.0, busy, received["seconds"])


def udp(joined: Joined, *, seconds: int) -> Throughput:
    """Measure UDP from left to right, offered as fast as the sender can."""
    options = ["-u", "-b", "0", "-l", str(DATAGRAM_BYTES)]
    result, busy = _iperf(joined, options, seconds)
    # The receiver's own figures: the sender's sum counts what it offered.
    received = result["server_output_json"]["end"]["sum"]
    good = received["packets"] - received["lost_packets"]
    elapsed = received["seconds"] or float(seconds)
    return Throughput(
        good * DATAGRAM_BYTES * 8 / elapsed,
        received["lost_packets"] / max(1, received["packets"]),
        busy,
        elapsed,
    )


def round_trips(joined: Joined, *, seconds: float) -> RoundTrips:
    """Ping from left to right a hundred times a second."""
    count = max(1, round(seconds / PING_INTERVAL))
    result = joined.left.run(
        f"ping -c {count} -i {PING_INTERVAL} -W 2 {joined.right_v4}",
        timeout=seconds + _SLACK,
        check=False,
    )
    times = sorted(float(text) for text in re.findall(r"time=([\d.]+)", result.stdout))
    if not times:
        raise LabError("no ping was answered")
    return RoundTrips(_quantile(times, 0.5), _quantile(times, 0.99), len(times) / count)


def round_trips_under_load(joined: Joined, *, seconds: int) -> RoundTrips:
    """Ping while four TCP streams fill the tunnel in the same direction."""
    with _iperf_server(joined.right):
        load = joined.left.start(_client(joined, ["-P", "4"], seconds + 2))
        # Let the streams fill the queues first.
        joined.left.run("sleep 1")
        result = round_trips(joined, seconds=seconds)
        load.wait(seconds + _SLACK)
    return result


def _iperf(
    joined: Joined, options: Sequence[str], seconds: int
) -> tuple[dict[str, Any], float]:
    with _iperf_server(joined.right):
        before = _busy_seconds()
        command = _client(joined, [*options, "--get-server-output"], seconds)
        result = joined.left.run(command, timeout=seconds + _SLACK, check=False)
        busy = _busy_seconds() - before
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


def _busy_seconds() -> float:
    """Return the seconds all processors together were busy since the start."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, words)
    busy = user + nice + system + irq + softirq
    return busy / os.sysconf("SC_CLK_TCK")


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
