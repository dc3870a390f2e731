"""The work that every way does, and what is measured of it."""

import json
import statistics
import sys
from collections.abc import Sequence

from topology import measure
from topology.bench.results import Round
from topology.compare.server import ECHO_PORT, FILES_PORT, LARGE, SMALL
from topology.compare.ways import Way
from topology.processes import LabError
from topology.tunnels import Joined

_SLACK = 20.0
_TIMED_OUT = 28
"""What curl ends with when its time is over, as it is meant to."""

REQUESTS = 400
"""Small requests on connections of their own, a round; twice that on kept ones."""


def do_all(way: Way, joined: Joined, seconds: int) -> Round:
    """Let *way* do all work that it can do, for *seconds* each."""
    result = Round()
    for one in (_bulk, _requests, _datagrams, _pings):
        result.add(one(way, joined, seconds))
    return result


def _bulk(way: Way, joined: Joined, seconds: int) -> Round:
    before = measure.busy_seconds()
    words = ["--max-time", str(seconds), "--output", "/dev/null"]
    output = _curl(way, joined, LARGE, words, "%{size_download}", seconds)
    busy = measure.busy_seconds() - before
    bits = 8 * int(output)
    return Round({"ways.bulk": bits / seconds / 1e6, "ways.cpu": busy / (bits / 1e9)})


def _requests(way: Way, joined: Joined, seconds: int) -> Round:
    kept = _times(way, joined, f"{SMALL}?[1-{2 * REQUESTS}]", [], seconds)
    fresh = ["--header", "Connection: close"]
    new = _times(way, joined, f"{SMALL}?[1-{REQUESTS}]", fresh, seconds)
    return Round(
        {
            "ways.requests": 1000 / statistics.mean(kept),
            "ways.connections": 1000 / statistics.mean(new),
        },
        {"ways.kept": kept, "ways.new": new},
    )


def _times(
    way: Way, joined: Joined, file: str, words: Sequence[str], seconds: int
) -> list[float]:
    words = ["--output", "/dev/null", *words]
    output = _curl(way, joined, file, words, "%{http_code} %{time_total}\\n", seconds)
    lines = [line.split() for line in output.splitlines()]
    if any(line[0] != "200" for line in lines):
        raise LabError(f"{way.name}: a request was answered {lines[0][0]}")
    return [float(line[1]) * 1000 for line in lines]


def _datagrams(way: Way, joined: Joined, seconds: int) -> Round:
    if not way.is_tunnel and not way.socks:
        return Round()
    words = [sys.executable, "-m", "topology.compare.datagrams"]
    words += [joined.right_v4, str(ECHO_PORT), str(seconds)]
    words += [str(way.socks)] if way.socks else []
    output = joined.left.run(words, timeout=seconds + _SLACK).stdout
    found = json.loads(output)
    return Round({"ways.udp": found["rate"]}, {"ways.datagram": found["timesMs"]})


def _pings(way: Way, joined: Joined, seconds: int) -> Round:
    if not way.is_tunnel:
        return Round()
    trips = measure.round_trips(joined, seconds=seconds)
    return Round({}, {"ways.ping": list(trips.times_ms)})


def _curl(
    way: Way, joined: Joined, file: str, words: Sequence[str], form: str, seconds: int
) -> str:
    address = f"http://{joined.right_v4}:{FILES_PORT}/{file}"
    command = ["curl", "--silent", "--noproxy", "", *way.curl, *words]
    result = joined.left.run(
        [*command, "--write-out", form, address],
        timeout=seconds + 3 * _SLACK,
        check=False,
    )
    if result.returncode not in (0, _TIMED_OUT):
        raise LabError(f"{way.name}: curl ended with {result.returncode}")
    return result.stdout
