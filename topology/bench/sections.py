"""The sections of a benchmark: what each measures of a row in one round.

A section is measured either in a tunnel that joins two hosts for the whole benchmark,
or in laboratories that it makes itself, when no other tunnel is up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from topology import handshakes, measure
from topology.bench import overload
from topology.bench.columns import LOADS
from topology.bench.hub import measure_hub
from topology.bench.relay import measure_relay
from topology.bench.results import Round
from topology.hosts import Lab
from topology.iperf import Datagrams
from topology.tunnels import Joined, UserspaceWireGuard

PACKET_SIZES = (64, 256, 512, 1024, 1400)
"""Bytes of the inner packets, with their IPv4 and UDP headers."""

_HEADERS = 28
_PROGRAM = 0.5
"""Seconds that starting and stopping iperf3 or ping takes, for the estimate."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long each measurement takes in seconds, and how many peers a hub has."""

    seconds: int
    peers: tuple[int, ...]


@dataclass(slots=True)
class Contender:
    """A tunnel that is up; `peak` is its rate of datagrams once it was looked for."""

    joined: Joined
    peak: float = 0.0


@dataclass(frozen=True, slots=True)
class JoinedSection:
    """A section that is measured in a tunnel that is up.

    `rows` are those it has unless others are asked for, empty for all; `estimate`
    tells the seconds that one row takes in one round.
    """

    measure: Callable[[Contender, Settings], Round]
    estimate: Callable[[Settings], float]
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoneSection:
    """A section that makes laboratories of its own; it is for WireGuard programs."""

    measure: Callable[[UserspaceWireGuard, Settings], Round]
    estimate: Callable[[Settings], float]
    rows: tuple[str, ...]


def _tcp(contender: Contender, settings: Settings) -> Round:
    joined, seconds = contender.joined, settings.seconds
    one = measure.tcp(joined, seconds=seconds)
    four = measure.tcp(joined, seconds=seconds, streams=4)
    reverse = measure.tcp(joined, seconds=seconds, reverse=True)
    return Round(
        {
            "tcp.one": one.bits_per_second / 1e6,
            "tcp.four": four.bits_per_second / 1e6,
            "tcp.reverse": reverse.bits_per_second / 1e6,
            "tcp.cpu": one.processor_seconds_per_gigabit,
        }
    )


def _udp(contender: Contender, settings: Settings) -> Round:
    result = measure.udp(contender.joined, seconds=settings.seconds)
    goodput = result.bits_per_second / 1e6
    return Round({"udp.goodput": goodput, "udp.loss": result.loss * 100})


def _latency(contender: Contender, settings: Settings) -> Round:
    joined, seconds = contender.joined, settings.seconds
    result = Round()
    for load in LOADS:
        if load == "idle":
            trips = measure.round_trips(joined, seconds=seconds)
        else:
            trips = measure.round_trips_under_load(joined, load, seconds=seconds)
        result.samples[f"latency.{load}"] = list(trips.times_ms)
        if load == "udp":
            result.figures["latency.lost"] = trips.loss * 100
    return result


def _sizes(contender: Contender, settings: Settings) -> Round:
    result = Round()
    for size in PACKET_SIZES:
        sent = measure.udp(
            contender.joined, seconds=settings.seconds, payload=size - _HEADERS
        )
        result.figures[f"sizes.rate.{size}"] = sent.received
        result.figures[f"sizes.goodput.{size}"] = sent.bits_per_second / 1e6
    return result


def _overload(contender: Contender, settings: Settings) -> Round:
    def send(rate: float) -> Datagrams:
        return measure.udp(contender.joined, seconds=settings.seconds, rate=rate)

    # Once: all rounds must offer the same.
    contender.peak = contender.peak or overload.find_peak(send)
    return overload.curve(send, contender.peak)


def _handshakes(implementation: UserspaceWireGuard, settings: Settings) -> Round:
    with Lab() as lab:
        ports = lab.connect(lab.host("a"), lab.host("b"))
        seconds = min(settings.seconds, 3)
        rate = handshakes.measure(implementation, *ports, seconds=seconds)
    return Round({"handshakes.rate": rate.per_second})


def _hub(implementation: UserspaceWireGuard, settings: Settings) -> Round:
    result = Round()
    for peers in settings.peers:
        result.add(measure_hub(implementation, peers, settings.seconds))
    return result


def _relay(implementation: UserspaceWireGuard, settings: Settings) -> Round:
    return measure_relay(implementation.engine, settings.seconds)


def _runs(count: int) -> Callable[[Settings], float]:
    return lambda settings: count * (settings.seconds + _PROGRAM)


_WIREGUARD = ("fast", "reference", "wireguard-go")

JOINED: Mapping[str, JoinedSection] = {
    "tcp": JoinedSection(_tcp, _runs(3)),
    "udp": JoinedSection(_udp, _runs(1)),
    "latency": JoinedSection(
        # Filling the queues, and waiting for the last answers.
        _latency,
        lambda settings: len(LOADS) * (settings.seconds + 1.8),
    ),
    "sizes": JoinedSection(
        _sizes,
        _runs(len(PACKET_SIZES)),
        ("fast", "wireguard-go", "tinc", "nebula", "veth"),
    ),
    "overload": JoinedSection(
        _overload, _runs(len(overload.FACTORS) + 1), ("fast", "wireguard-go")
    ),
}
LONE: Mapping[str, LoneSection] = {
    "handshakes": LoneSection(
        # Six thousand initiations a second are made before.
        _handshakes,
        lambda settings: 4 + 3.5 * min(settings.seconds, 3),
        _WIREGUARD,
    ),
    "hub": LoneSection(
        _hub,
        lambda settings: len(settings.peers) * (2 * settings.seconds + 8),
        _WIREGUARD,
    ),
    "relay": LoneSection(
        # Five data planes are started, and both ways are warmed up.
        _relay,
        lambda settings: 2 * settings.seconds + 8,
        ("fast", "reference"),
    ),
}
SECTIONS = (*JOINED, *LONE)
SLOW = ("sizes", "overload", "hub", "relay")
"""Sections that are measured only when asked for."""
