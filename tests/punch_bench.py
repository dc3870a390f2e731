"""Two hosts behind simulated NATs that punch, and a path by which they call each other.

Nothing runs but `Puncher`: the path stands for a relay. The round trip between the
pair takes 40 ms, a call 40 ms. Both know each other's records and what their NATs do,
as three servers see it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from meshnode.codec.messages import CallMe, Message
from meshnode.codec.records import Endpoints, Mapping
from meshnode.errors import BadPacket
from meshnode.mesh.hop_calibration import FALLBACK
from meshnode.mesh.nat_judgement import SAMPLES, judge
from meshnode.mesh.probes import Probes
from meshnode.mesh.punch_sockets import (
    CloseSockets,
    KeepSocket,
    OpenSockets,
    SearchSockets,
)
from meshnode.mesh.punching import Puncher, Where
from meshnode.simulation.links import Link
from meshnode.simulation.nat import Nat
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatBehaviour, NatKind
from meshnode.simulation.trace import TTL, Flight
from meshnode.simulation.world import World
from meshnode.types import Datagram, Endpoint, Path, Source
from tests.unit.mesh.issuing_parts import FakeTunnels

PORT = 40000
ONE_WAY = 0.02
CALL_TAKES = 0.04
LAB_RATE = 1000.0


@dataclass
class Side(FakeTunnels):
    """One host, and what it found: the moment and the path."""

    name: str = ""
    key: bytes = b""
    address: str = ""
    outside: str = ""
    where: Where = field(default_factory=Where)
    found: list[tuple[float, Path]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    probes_sent: int = 0
    most_sockets: int = 0


class PunchBench:
    """The pair `a` and `b`, behind NATs of two kinds, and the servers s1 and s2."""

    def __init__(
        self,
        one: NatKind | NatBehaviour,
        other: NatKind | NatBehaviour,
        *,
        seed: int,
        loss: float = 0.0,
        rate: float = LAB_RATE,
        has_records: bool = True,
    ) -> None:
        internet = Link(latency=ONE_WAY, loss=0.0, hops=2)
        self.world = World(seed, link=internet, keep=0)
        self.random = Random(f"{seed}/bench")
        self.now = 0.0
        self._loss = loss
        self._next_port = 50000
        self._armed: dict[str, float] = {}
        self._seen: dict[tuple[str, int], list[Endpoint]] = {}
        for server in ("s1", "s2"):
            host = self.world.build_host(server)
            for port in (1, 2):
                host.visitors[port] = self._see
        self.sides = {
            name: self._add(name, index, kind)
            for index, (name, kind) in enumerate((("a", one), ("b", other)))
        }
        self.world.random = self.random
        for side in self.sides.values():
            self._learn(side)
        self.world.network.default = Link(latency=ONE_WAY, loss=loss, hops=2)
        self.sockets = {name: SearchSockets() for name in self.sides}
        self.probes = {
            name: Probes(Random(f"{seed}/{name}").randbytes) for name in self.sides
        }
        self.punchers = {
            name: Puncher(
                tunnels=side,
                probes=self.probes[name],
                sockets=self.sockets[name],
                send=lambda datagram, now, side=side: self._send(side, datagram),
                where=lambda side=side: side.where,
                recount=lambda now: False,
                usable=tuple,
                opener_hops=lambda: FALLBACK,
                record_of=lambda key, now: self._record(key) if has_records else None,
                on_found=lambda key, path, now, side=side: side.found.append(
                    (now - self.began, path)
                ),
                on_heard=lambda key, path, now: None,
                entropy=Random(f"{seed}/order/{name}").randbytes,
                rate=rate,
            )
            for name, side in self.sides.items()
        }
        self.began = self.world.now

    # --- building ---

    def _add(self, name: str, index: int, kind: NatKind | NatBehaviour) -> Side:
        network = self.world.network
        host = self.world.build_host(name)
        for address in host.addresses.values():
            network.take_address(address, name)
        behaviour = BEHAVIOURS.get(kind) if isinstance(kind, NatKind) else kind
        outside = f"203.0.113.{index + 1}"
        if behaviour is None:
            host.addresses = {4: outside}
        else:
            nat = Nat(behaviour, outside, Random(f"{self.world.seed}/nat/{name}"))
            network.add_nat(f"nat-{name}", nat)
            network.settle(name, f"nat-{name}")
            network.connect(name, f"nat-{name}", Link(latency=0.0001))
            host.addresses = {4: f"10.{index}.0.2"}
        network.give_address(host.addresses[4], name)
        side = Side(
            name=name,
            key=name.encode() * 32,
            address=host.addresses[4],
            outside=outside,
        )
        self._open(side, PORT)
        return side

    def _open(self, side: Side, port: int) -> None:
        side.ports.append(port)
        host = self.world.hosts[side.name]
        host.visitors[port] = lambda flight: self._receive(side, flight)

    def _see(self, flight: Flight) -> None:
        place = flight.origin or "", int.from_bytes(flight.data[:4], "big")
        self._seen.setdefault(place, []).append(flight.source)

    def _learn(self, side: Side) -> None:
        """Let the servers see our port, and others of ours if that helps."""
        for server, port in (("s1", 1), ("s1", 2), ("s2", 1)):
            self._sample(side, PORT, server, port)
            self.world.run(0.05)
        seen = self._seen.get((side.name, PORT), [])
        samples: list[Endpoint] = []
        if judge(seen, (), port=PORT).mapping is Mapping.ENDPOINT_DEPENDENT:
            for number in range(SAMPLES):
                self._sample(side, 45000 + number, "s1", 1)
            self.world.run(0.05)
            samples = [
                self._seen[side.name, 45000 + number][0] for number in range(SAMPLES)
            ]
        hint = judge(seen, samples, port=PORT)
        if hint.last_port - hint.first_port == 19:  # a sequence went on meanwhile
            ahead = samples[-1].port - seen[-1].port
            hint = type(hint)(
                hint.mapping, hint.first_port + ahead, hint.last_port + ahead
            )
        last = seen[-1] if seen else None
        local = Endpoint(side.address, PORT)
        candidates = (local,) if last in (None, local) else (last, local)
        side.where = Where(candidates, last, hint)

    def _sample(self, side: Side, port: int, server: str, to: int) -> None:
        host = self.world.hosts[side.name]
        host.visitors.setdefault(port, lambda flight: None)
        target = Endpoint(self.world.hosts[server].addresses[4], to)
        source = Endpoint(side.address, port)
        self.world.transmit(host, port.to_bytes(4, "big"), source, target)

    # --- the wire ---

    def _record(self, key: bytes) -> Endpoints | None:
        name = key[:1].decode()
        side, probe_key = self.sides[name], self.probes[name].key
        return Endpoints(key, 1, side.where.candidates, probe_key, side.where.nat)

    def _send(self, side: Side, datagram: Datagram) -> None:
        source = datagram.path.source
        port = (source.port if source is not None else 0) or PORT
        assert port in side.ports
        side.probes_sent += 1
        self.world.transmit(
            self.world.hosts[side.name],
            datagram.data,
            Endpoint(side.address, port),
            datagram.path.remote,
            ttl=datagram.hops or TTL,
        )

    def _receive(self, side: Side, flight: Flight) -> None:
        port = flight.destination.port
        if port not in side.ports:
            return  # that socket is closed
        source = Source(flight.destination.host, 0, 0 if port == PORT else port)
        path = Path(flight.source, source)
        try:
            opened = self.probes[side.name].open(flight.data)
        except BadPacket:
            return
        self.punchers[side.name].receive_probe(opened, path, now=self.world.now)
        self.settle(side)

    def settle(self, side: Side) -> None:
        """Do what the puncher of *side* asked for."""
        puncher, now = self.punchers[side.name], self.world.now
        for key, message in side.sent:
            if self.random.random() >= self._loss:
                self.world.after(CALL_TAKES, self._delivery(side, key, message))
        side.sent.clear()
        for order in self.sockets[side.name].take_orders():
            match order:
                case OpenSockets(count):
                    ports = tuple(range(self._next_port, self._next_port + count))
                    self._next_port += count
                    for port in ports:
                        self._open(side, port)
                    side.most_sockets = max(side.most_sockets, count)
                    puncher.sockets_opened(ports, now=now)
                case KeepSocket(port):
                    side.kept.append(port)
                case CloseSockets():
                    side.ports = [PORT, *side.kept]
        deadline = puncher.next_deadline()
        if deadline is not None and self._armed.get(side.name, -1.0) != deadline.at:
            self._armed[side.name] = deadline.at
            self.world.at(deadline.at, lambda: self._wake(side))

    def _wake(self, side: Side) -> None:
        self.punchers[side.name].handle_deadline(now=self.world.now)
        self._armed.pop(side.name, None)
        self.settle(side)

    def _delivery(self, side: Side, key: bytes, message: Message) -> Callable[[], None]:
        def deliver() -> None:
            other = self.sides[key[:1].decode()]
            assert isinstance(message, CallMe)
            self.punchers[other.name].receive_call(
                side.key, message, now=self.world.now
            )
            self.settle(other)

        return deliver

    # --- a run ---

    def run(self, seconds: float = 7.0) -> float | None:
        """Let `a` look for `b`; return after how long both had a path, or None."""
        a, b = self.sides["a"], self.sides["b"]
        self.punchers["a"].want(b.key, now=self.world.now)
        self.settle(a)
        self.world.run(seconds)
        if not a.found or not b.found:
            return None
        return max(a.found[0][0], b.found[0][0])
