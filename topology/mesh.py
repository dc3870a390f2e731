"""Run the meshnode nodes of a description, by the command line and nothing else.

Namespaces share the file system, so each node has directories of its own, told by
environment variables. What the tools know of a node is what its user would see.
"""

import ipaddress
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from topology.build import Underlay
from topology.description import Node, Route, Target
from topology.hosts import Host, wait_until
from topology.leaks import LeakFound
from topology.processes import LabError, signal_in_namespace

LISTEN_PORT = 51820
START_TIMEOUT = 60.0
"""Seconds for a command that starts a node; two processors may start ten of them."""

COMMAND_TIMEOUT = 30.0

_DIRECTORIES = ("config", "state", "run", "uapi", "key")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def environment(directory: Path, node: str) -> dict[str, str]:
    """Return the variables under which *node* keeps its files below *directory*."""
    home = directory / node
    return {f"MESHNODE_{kind.upper()}_DIR": str(home / kind) for kind in _DIRECTORIES}


def installed_command() -> tuple[str, ...]:
    """Return the meshnode of this virtual environment."""
    return (str(Path(sys.executable).with_name("meshnode")),)


class Mesh:
    """The network of a description, over its underlay.

    *command* is what runs as `meshnode`; by default the installed one.
    """

    def __init__(self, underlay: Underlay, command: Sequence[str] = ()) -> None:
        self.underlay = underlay
        self.description = underlay.description
        self._command = tuple(command) or installed_command()
        self._running: list[str] = []
        self._seen: dict[str, str] = {}

    @property
    def network(self) -> str:
        """The network's name."""
        return self.description.network.name

    def host(self, node: str) -> Host:
        """Return the namespace of a node."""
        return self.underlay.hosts[node]

    def run(
        self, node: str, *words: str, timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run `meshnode WORDS…` as the user of *node* would.

        Raises:
            CommandFailed: if it fails or takes longer than *timeout* seconds.
        """
        host = self.host(node)
        variables = environment(host.lab.directory, node)
        for path in variables.values():
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        return host.run(
            [*self._command, *words], timeout=timeout, environment=variables
        )

    def found(self) -> None:
        """Let the founder make the network and start."""
        founder = self._founder()
        address = self._first_address(founder.name)
        options = ["--accept-routes"] if founder.accept_routes else []
        for route in founder.routes:
            options += ["--route", str(route.prefix)]
        self.run(
            founder.name,
            *("network", "create", self.network),
            *("--cidr", str(self.description.network.cidr), "--name", founder.name),
            *("--listen-port", str(LISTEN_PORT)),
            *("--advertise", f"{address}:{LISTEN_PORT}", "--no-passphrase", *options),
        )
        self.start(founder.name)
        self._announce(founder)

    def join(self, name: str) -> None:
        """Let the founder invite a node, and the node join and start."""
        node = self.description.node(name)
        token = self.invite(node)
        options = ["--accept-routes"] if node.accept_routes else []
        self.run(
            name,
            *("join", token, "--name", name, "--listen-port", str(LISTEN_PORT)),
            *options,
            timeout=START_TIMEOUT,
        )
        self._running.append(name)
        self._announce(node)
        self.await_address(name)

    def invite(self, node: Node) -> str:
        """Return a token with which *node* may join as described."""
        options = ["--name", node.name]
        for group in node.groups:
            options += ["--group", group]
        for route in node.routes:
            options += ["--route", str(route.prefix)]
        output = self.run(
            self._founder().name, "invite", "-n", self.network, *options
        ).stdout
        return output.strip()

    def start(self, node: str) -> None:
        """Start a node that is a member.

        Raises:
            LabError: if it runs already.
        """
        if node in self._running:
            raise LabError(f"{node} runs already")
        self.run(node, "up", self.network, timeout=START_TIMEOUT)
        self._running.append(node)
        self.await_address(node)

    def stop(self, node: str) -> None:
        """Stop a node as its user would.

        Raises:
            LeakFound: if an interface stays behind.
            LabError: if a process does, or if it does not run.
        """
        self._note_end(node)
        self.run(node, "down", self.network)
        wait_until(lambda: not self.processes(node), f"all processes of {node} end")
        made = {lan.name for lan in self.description.lans_of(node)}
        if left := sorted(self.host(node).interfaces() - made):
            raise LeakFound(f"{node} left behind: {', '.join(left)}")

    def kill(self, node: str) -> None:
        """Kill all processes of a node at once, as a power cut would.

        Raises:
            LabError: if it does not run.
        """
        self._note_end(node)

        # Again and again: a supervisor may start a child between two kills.
        def all_killed() -> bool:
            pids = self.processes(node)
            for pid in pids:
                signal_in_namespace(pid, [self.host(node).inode], signal.SIGKILL)
            return not pids

        wait_until(all_killed, f"all processes of {node} end")

    def stop_all(self) -> None:
        """Stop every node that runs."""
        for node in list(self._running):
            self.stop(node)

    def processes(self, node: str) -> list[int]:
        """Return the ids of a node's processes: all there but those we started."""
        host = self.host(node)
        ours = {process.pid for process in host.lab.processes}
        return [pid for pid in host.processes() if pid not in ours]

    def addresses(self, node: str) -> list[IPAddress]:
        """Return a node's overlay addresses, IPv4 first; empty if it is not up.

        They are those of the interface that has an address of the network's prefix.
        """
        for link in self.host(node).ip("-j address"):
            found = [
                ipaddress.ip_address(entry["local"])
                for entry in link["addr_info"]
                if entry["scope"] == "global"
            ]
            if any(address in self.description.network.cidr for address in found):
                return sorted(found, key=lambda address: address.version)
        return []

    def await_address(self, node: str) -> None:
        """Wait until a node has its overlay address."""
        wait_until(
            lambda: bool(self.addresses(node)),
            f"{node} has an address of {self.description.network.cidr}",
        )
        # Kept: to show that nobody reaches a node that is down, its address is needed.
        self._seen[node] = str(self.addresses(node)[0])

    def address(self, target: Target) -> str:
        """Return what a target's name stands for now.

        Raises:
            LabError: if it means the overlay address of a node that never had one.
        """
        if not target.node or target.lan:
            return self.underlay.address(target)
        if target.node not in self._seen:
            raise LabError(f"{target.node} has no overlay address")
        return self._seen[target.node]

    def _note_end(self, node: str) -> None:
        if node not in self._running:
            raise LabError(f"{node} does not run")
        self._running.remove(node)

    def _announce(self, node: Node) -> None:
        for route in node.routes:
            self.run(
                node.name, "route", "add", *_route_words(route), "-n", self.network
            )

    def _founder(self) -> Node:
        founder = self.description.founder
        if founder is None:
            raise LabError("no node runs meshnode")
        return founder

    def _first_address(self, node: str) -> str:
        lan = self.description.lans_of(node)[0]
        return self.underlay.ports[node, lan.name].v4


def _route_words(route: Route) -> list[str]:
    words = [str(route.prefix), "--metric", str(route.metric)]
    words += ["--weight", str(route.weight)]
    if not route.masquerade:
        words.append("--no-masquerade")
    if route.mapped:
        words += ["--map", str(route.mapped)]
    return words
