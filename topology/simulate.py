"""Play a description in the simulation: virtual time, one process, no privileges.

The third runner beside namespaces and virtual machines. What is real are the nodes
(`MeshNode` over the engine and the data plane); the kernel's part is played here: who
is reached by a ping is who the description puts at its address, and routes into the
tunnel are those of the node's host plan. Rates are not simulated.
"""

import ipaddress
from dataclasses import dataclass

from meshnode.codec.records import Route as AnnouncedRoute
from meshnode.mesh.routes import ACCEPT_ALL, ACCEPT_NONE
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.simulation.world import Unreached
from meshnode.types import Prefix
from topology.description import Action, Description, Must, Node, Runs, Step, Target
from topology.narrator import Narrator
from topology.processes import LabError
from topology.simulated_underlay import SimulatedUnderlay

_PING_EVERY = 0.5
_PINGS = 3
_ANSWER_WITHIN = 1.0


@dataclass(frozen=True)
class _Way:
    """How a ping leaves: from which mesh node (or none), from and to which address."""

    node: str
    source: bytes
    destination: bytes


class SimulatedLab:
    """The network of *description*, and its mesh; *seed* decides all chance."""

    def __init__(self, description: Description, seed: int | str = 0) -> None:
        self.description = description
        self.world = MeshWorld(seed, link=Link(blackhole=True), keep=400)
        self.underlay = SimulatedUnderlay(self.world, description)

    # --- beginning ---

    def start(self) -> None:
        """Let the founder make the network and everybody join who joins at the start.

        Raises:
            LabError: if one of them does not get there.
        """
        founder = self.description.founder
        if founder is None:
            return
        self.world.found(
            founder.name,
            subnets=tuple(Prefix.parse(str(r.prefix)) for r in founder.routes),
            routes=_routes(founder),
            accept=_accept(founder),
            cidr=Prefix.parse(str(self.description.network.cidr)),
        )
        self._settle_in(founder.name)
        for node in self.description.nodes:
            if node.joins_at_start:
                self.join(node.name)

    def join(self, name: str) -> None:
        """Let a node join by an invite of the founder's; raises `LabError`."""
        node, founder = self.description.node(name), self.description.founder
        assert founder is not None
        self.world.prepare(name, routes=_routes(node), accept=_accept(node))
        self._settle_in(name)
        subnets = tuple(Prefix.parse(str(route.prefix)) for route in node.routes)
        try:
            self.world.enlist(name, subnets=subnets, groups=node.groups)
        except Unreached as reason:
            raise LabError(f"{name} did not become a member: {reason}") from None

    def _settle_in(self, name: str) -> None:
        """Give the host its addresses, and links to all who have theirs."""
        host = self.world.hosts[name]
        self.underlay.settle_in(host)
        home = self.world.homes.get(name)
        if home is not None and home.life is not None:
            home.life.follow_addresses()
            host.settle()

    # --- steps ---

    def carry_out(self, step: Step) -> None:
        """Do what a step says; raises `LabError`."""
        supervisor = None
        if step.node in self.world.hosts:
            supervisor = self.world.hosts[step.node].supervisor
        match step.action:
            case Action.JOIN:
                self.join(step.node)
            case Action.PING:
                assert step.target is not None
                self.await_answer(step.node, step.target, step.seconds)
            case Action.KILL | Action.STOP:
                assert supervisor is not None
                supervisor.crash()
            case Action.START:
                assert supervisor is not None
                supervisor.switch_on()
                self.world.run(1.0)
            case Action.CUT:
                self.underlay.cut(step.node, lan=step.lan, other=step.other)
            case Action.HEAL:
                self.underlay.heal(step.node, lan=step.lan, other=step.other)
            case Action.BLACKHOLE:
                self.underlay.blackhole(step.node, step.other)
            case Action.REBIND:
                self.underlay.router(step.node).rebind()
            case Action.WAIT:
                self.world.run(step.seconds)

    # --- pings ---

    def await_answer(self, source: str, target: Target, seconds: float) -> None:
        """Ping until an answer comes; raises `LabError` if none does."""
        end = self.world.now + seconds
        while self.world.now <= end:
            if self._is_answered(source, target):
                return
            self.world.run(_PING_EVERY)
        raise LabError(f"{target.text} did not answer {source} in {seconds:g} s")

    def await_silence(self, source: str, target: Target, seconds: float) -> None:
        """Ping until three in a row stay without answer; raises `LabError`."""
        end, silent = self.world.now + seconds, 0
        while silent < _PINGS:
            silent = 0 if self._is_answered(source, target) else silent + 1
            self.world.run(_PING_EVERY)
            if not silent and self.world.now > end:
                raise LabError(f"{target.text} answers {source} after {seconds:g} s")

    def _is_answered(self, source: str, target: Target) -> bool:
        if target.lan and self.description.node(target.node).runs is Runs.MESHNODE:
            return self._reaches_underlay(source, target.node)
        way = self._way(source, target)
        if way is None:
            self.world.run(_ANSWER_WITHIN)
            return False
        number = self.world.send(way.node, way.destination, source=way.source)
        if number is None:
            self.world.run(_ANSWER_WITHIN)
            return False
        answered = self.world.hosts[way.node].application.answered
        try:
            self.world.run_until(lambda: number in answered, within=_ANSWER_WITHIN)
        except Unreached:
            return False
        return True

    def _reaches_underlay(self, source: str, other: str) -> bool:
        """Whether plain datagrams pass there and their answers back."""
        self.world.run(_ANSWER_WITHIN)
        return self.underlay.is_reachable(source, other)

    def _way(self, source: str, target: Target) -> _Way | None:
        """Return how a ping of a host, or of one behind a node, leaves."""
        node = self.description.node(source)
        gateway = source if node.runs is Runs.MESHNODE else node.gateway
        home = self.world.homes.get(gateway)
        if home is None or home.node is None:
            return None
        return _Way(gateway, self._source(node, gateway), self._destination(target))

    def _source(self, node: Node, gateway: str) -> bytes:
        """Return the address a packet bears in the mesh."""
        if node.name == gateway:
            return self.world.address(gateway)
        lan = self.description.lans_of(node.name)[0]
        member = lan.member(node.name)
        assert member is not None
        for route in self.description.node(gateway).routes:
            if route.mapped == lan.prefix:
                # One to one: the host part stays.
                host = int(member.v4) - int(lan.prefix.network_address)
                return (int(route.prefix.network_address) + host).to_bytes(4, "big")
        return member.v4.packed

    def _destination(self, target: Target) -> bytes:
        if not target.node:
            return ipaddress.ip_address(target.text).packed
        node = self.description.node(target.node)
        if node.runs is Runs.MESHNODE:
            return self.world.address(target.node)
        member = self.description.lan(target.lan).member(target.node)
        assert member is not None
        return member.v4.packed


def play(description: Description, narrator: Narrator) -> list[str]:
    """Play *description* whole; return what did not hold, a line each."""
    lab = SimulatedLab(description)
    failed: list[str] = []

    def check(after: str) -> None:
        for must in description.musts:
            if must.after == after:
                try:
                    with narrator.step(_claim(must)):
                        _check(lab, must)
                except LabError as error:
                    failed.append(f"{must.source} → {must.target.text}: {error}")

    with narrator.step("all join, in virtual time"):
        lab.start()
    check("")
    for step in description.steps:
        title = step.name or f"{step.action.value} {step.node}".strip()
        try:
            with narrator.step(title):
                lab.carry_out(step)
        except LabError as error:
            return [*failed, f"{title}: {error}"]
        if step.name:
            check(step.name)
    return failed


def _claim(must: Must) -> str:
    verb = "reaches" if must.reached else "does not reach"
    return f"{must.source} {verb} {must.target.text}"


def _check(lab: SimulatedLab, must: Must) -> None:
    await_it = lab.await_answer if must.reached else lab.await_silence
    await_it(must.source, must.target, must.seconds)


def _routes(node: Node) -> tuple[AnnouncedRoute, ...]:
    return tuple(
        AnnouncedRoute(Prefix.parse(str(route.prefix)), route.metric, route.weight)
        for route in node.routes
    )


def _accept(node: Node) -> tuple[Prefix, ...]:
    return ACCEPT_ALL if node.accept_routes else ACCEPT_NONE
