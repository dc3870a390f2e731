"""A relay between two hosts: what comes through it, and what the extra hop costs.

Three hosts in a row; the outer two reach each other by a channel of the middle one. Of
each host the data plane alone runs (`topology.bare`), told once about sessions and
channels, so no handshake and no timer is in the figures. The direct way is measured in
the same round, between two hosts that a link joins.

What the processor time allows: a relayed gigabit costs what a direct one costs at both
ends, and what the relay's processes take. With the processors as busy as they were
without a relay that gives a rate, of which `relay.share` is the part that was reached.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from meshnode.channels import endpoint_of
from meshnode.codec.forwarding import encode_command
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    InstallSession,
    OpenChannel,
    ProgramComplete,
    Reset,
    Session,
    SetEndpoint,
    SetLink,
    UseSession,
)
from meshnode.types import Endpoint, Path, Prefix
from topology import bare, measure
from topology.bench.results import Round
from topology.checks import await_answer
from topology.hosts import Host, Lab, Port, wait_until
from topology.processes import LabError
from topology.tunnels import LISTEN_PORT, TUNNEL_MTU, Joined
from topology.usage import usage_of

ROLES = ("egress", "ingress", "control")

_ADDRESSES = ("10.99.0.1", "10.99.0.2")
_DEADLINE = 10.0
_KEYS = (os.urandom(32), os.urandom(32))
_FAR, _RELAY = 0, 1
"""Slots of an end: who is at the other one, and who is between."""

_CHANNELS, _LABELS = (1, 2), (11, 12)
"""The numbers that both ends gave, and those that the relay gave them."""


@dataclass(frozen=True, slots=True)
class Running:
    """The data plane of a host: its processes by name."""

    host: Host
    processes: Mapping[str, int]

    def processor_seconds(self, name: str) -> float:
        """Return what one of the processes has used since its start."""
        return usage_of([self.processes[name]]).processor_seconds


@dataclass(frozen=True, slots=True)
class Chain:
    """Two ends that a tunnel joins, and who is between them, if anybody."""

    joined: Joined
    ends: tuple[Running, Running]
    relay: Running | None

    def measure(self, seconds: int) -> "Cost":
        """Measure TCP from the left end to the right one."""
        # So that nothing is done for the first time.
        measure.tcp(self.joined, seconds=1)
        before = self._used()
        result = measure.tcp(self.joined, seconds=seconds)
        used = {name: now - before[name] for name, now in self._used().items()}
        gigabits = result.bits_per_second * result.seconds / 1e9
        used["ends"] += result.program_seconds
        each = {name: spent / gigabits for name, spent in used.items()}
        return Cost(result.bits_per_second, each)

    def _used(self) -> dict[str, float]:
        ends = sum(one.processor_seconds(name) for one in self.ends for name in ROLES)
        relay = self.relay
        between = (
            {name: relay.processor_seconds(name) for name in ROLES} if relay else {}
        )
        return {"ends": ends, **between}


@dataclass(frozen=True, slots=True)
class Cost:
    """A rate in bits a second, and the processor seconds that a gigabit takes.

    Of both ends together, iperf3 included, and of each process of a relay.
    """

    rate: float
    each: Mapping[str, float]


def measure_relay(engine: str, seconds: int) -> Round:
    """Measure the direct way, and the way by a relay."""
    with chain(engine, relayed=False) as made:
        direct = made.measure(seconds)
    with chain(engine, relayed=True) as made:
        relayed = made.measure(seconds)
    hop = sum(relayed.each[name] for name in ROLES)
    allowed = direct.rate * direct.each["ends"] / (direct.each["ends"] + hop)
    return Round(
        {
            "relay.tcp": relayed.rate / 1e6,
            "relay.direct": direct.rate / 1e6,
            "relay.share": 100 * relayed.rate / allowed,
            "relay.ends": relayed.each["ends"],
            "relay.ends.direct": direct.each["ends"],
            **{f"relay.{name}": relayed.each[name] for name in ROLES},
        }
    )


@contextmanager
def chain(engine: str, *, relayed: bool) -> Iterator[Chain]:
    """Join two hosts directly or by a third, for as long as the block lasts."""
    with Lab() as lab:
        left, right = lab.host("left"), lab.host("right")
        relay = None
        if relayed:
            middle = lab.host("middle")
            near, seen_by_left = lab.connect(left, middle)
            seen_by_right, far = lab.connect(middle, right)
            relay = _start(engine, middle, _between(near, far))
            seen = seen_by_left, seen_by_right
        else:
            near, far = lab.connect(left, right)
            seen = far, near
        born_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        ends = [
            _start(
                engine,
                host,
                _end(number, seen[number], relayed=relayed),
                _session(number, born_at),
                _ADDRESSES[number],
            )
            for number, host in enumerate((left, right))
        ]
        await_answer(left, _ADDRESSES[1], _DEADLINE)
        joined = Joined(left, right, *_ADDRESSES, "", "")
        yield Chain(joined, (ends[0], ends[1]), relay)


def _end(number: int, seen: Port, *, relayed: bool) -> list[Command]:
    """Return what one end is told; *seen* is who it sends to."""
    where = Path(Endpoint(seen.v4, LISTEN_PORT))
    prefix = Prefix.parse(f"{_ADDRESSES[1 - number]}/32")
    far: list[Command] = [AddPeer(_FAR), AddAllowedIps(_FAR, (prefix,))]
    if not relayed:
        return [*far, SetEndpoint(_FAR, where)]
    channel = _CHANNELS[number]
    return [
        *far,
        AddPeer(_RELAY),
        SetEndpoint(_RELAY, where),
        OpenChannel(channel, _RELAY, _LABELS[number]),
        SetEndpoint(_FAR, Path(endpoint_of(channel))),
    ]


def _between(*ends: Port) -> list[Command]:
    """Return what the relay is told."""
    told: list[Command] = []
    for slot, port in enumerate(ends):
        where = Path(Endpoint(port.v4, LISTEN_PORT))
        told += [AddPeer(slot), SetEndpoint(slot, where)]
    for slot, label in enumerate(_LABELS):
        told.append(OpenChannel(label, slot, _CHANNELS[1 - slot], 1 - slot))
    return told


def _session(number: int, born_at: float) -> list[Command]:
    keys = _KEYS[number], _KEYS[1 - number]
    made = Session(number + 1, 2 - number, *keys, born_at, is_initiator=False)
    return [InstallSession(_FAR, made), UseSession(_FAR, made.local_index)]


def _start(
    engine: str,
    host: Host,
    program: Sequence[Command],
    sessions: Sequence[Command] = (),
    address: str = "",
) -> Running:
    """Start the data plane of a host, and wait until all its processes are there."""
    interface = host.lab.interface_name()
    file = host.lab.directory / f"commands-{host.name}"
    file.touch(mode=0o600)
    first = Reset(bare.GENERATION), SetLink(TUNNEL_MTU, up=True)
    told = (*first, *program, ProgramComplete(), *sessions)
    file.write_text("".join(f"{encode_command(one).hex()}\n" for one in told))
    process = bare.start(host, engine, interface, LISTEN_PORT, file)
    wait_until(lambda: "control" in process.output, f"{host.name} is running")
    if address:
        host.add_address(interface, f"{address}/24")
    host.ip(f"link set {interface} mtu {TUNNEL_MTU} up")
    try:
        words = (line.split() for line in process.output.splitlines())
        return Running(host, {name: int(pid) for name, pid in words})
    except ValueError:
        raise LabError(f"{host.name} says: {process.output}") from None
