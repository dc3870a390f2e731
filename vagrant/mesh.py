"""The mesh of a description, played in virtual machines as it is in namespaces."""

import subprocess
from dataclasses import dataclass, field, replace

from topology.build import Underlay
from topology.description import Action, Description, Step
from topology.hosts import Host, Lab, Port, wait_until
from topology.mesh import COMMAND_TIMEOUT, Mesh
from vagrant.hypervisor import Hypervisor
from vagrant.kernel import meshnode_processes
from vagrant.machines import SLOWNESS, Machine, Machines
from vagrant.plan import card_address


@dataclass(frozen=True, slots=True)
class Cables(Underlay):
    """An underlay whose hosts are machines: cuts are rules in the machines."""

    parted: set[tuple[str, str, str]] = field(default_factory=set)

    def cut(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Cut *node* off a LAN, or off another node in every LAN they share."""
        self.parted.update(self._directions(node, lan, other))
        self._load()

    def heal(self, node: str, *, lan: str = "", other: str = "") -> None:
        """Undo the same `cut`, or a `blackhole` between the two nodes."""
        self.parted.difference_update(self._directions(node, lan, other))
        self._load()
        if other:
            self._end_blackholes(node, other)

    def _directions(
        self, node: str, lan: str, other: str
    ) -> list[tuple[str, str, str]]:
        """Return what is lost, as (LAN, sender, receiver)."""
        found = []
        for shared in self.description.lans_of(node):
            for member in shared.members:
                if member.node != node and (shared.name == lan or member.node == other):
                    found.append((shared.name, node, member.node))
                    found.append((shared.name, member.node, node))
        return found

    def _load(self) -> None:
        for name, host in self.hosts.items():
            rules = ["table netdev cuts", "delete table netdev cuts"]
            rules.append("table netdev cuts {")
            # Numbered: a LAN may be called as a word of nft's language.
            for number, lan in enumerate(self.description.lans_of(name)):
                rules.append(f"chain lan{number} {{")
                rules.append(
                    f'type filter hook ingress device "{lan.name}" priority 0;'
                )
                rules += [
                    f"ether saddr {card_address(sender, where)} drop"
                    for where, sender, receiver in sorted(self.parted)
                    if where == lan.name and receiver == name
                ]
                rules.append("}")
            host.nft("\n".join([*rules, "}"]))


def cables(
    machines: Machines, hypervisor: Hypervisor, description: Description
) -> Cables:
    """Return the underlay that the machines of a description make."""
    # It makes nothing of its own: the machines are the hosts.
    lab = Lab(tag="machines", directory=hypervisor.directory)
    hosts: dict[str, Host] = {
        node.name: machines.machine(node.name) for node in description.nodes
    }
    ports = {
        (member.node, lan.name): Port(
            hosts[member.node], lan.name, str(member.v4), str(member.v6 or "")
        )
        for lan in description.lans
        for member in lan.members
    }
    return Cables(slowed(description), lab, hosts, {}, ports)


def slowed(description: Description) -> Description:
    """Return a description that gives everything the time that emulation takes."""
    return replace(
        description,
        steps=tuple(_slower(step) for step in description.steps),
        musts=tuple(
            replace(must, seconds=must.seconds * SLOWNESS) for must in description.musts
        ),
    )


def _slower(step: Step) -> Step:
    # A wait is as long as the file says: the time is what it is for.
    if step.action is Action.WAIT:
        return step
    return replace(step, seconds=step.seconds * SLOWNESS)


class MachineMesh(Mesh):
    """Nodes that each have a machine, and a file system, of their own."""

    def __init__(self, underlay: Cables) -> None:
        super().__init__(underlay, ["meshnode"])

    def machine(self, node: str) -> Machine:
        """Return the machine of a node."""
        host = self.host(node)
        assert isinstance(host, Machine)
        return host

    def run(
        self, node: str, *words: str, timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run `meshnode WORDS…` as the user of *node* would.

        Raises:
            CommandFailed: if it fails or takes longer.
        """
        return self.machine(node).run(["meshnode", *words], timeout=timeout)

    def kill(self, node: str) -> None:
        """Kill all processes of a node at once, as a power cut would.

        Raises:
            LabError: if it does not run.
        """
        self._note_end(node)
        machine = self.machine(node)

        def all_killed() -> bool:
            machine.run("pkill -9 -f [m]eshnode", check=False)
            return not self.processes(node)

        wait_until(all_killed, f"all processes of {node} end")

    def processes(self, node: str) -> list[int]:
        """Return the ids of a node's processes."""
        return meshnode_processes(self.machine(node))
