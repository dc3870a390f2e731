"""Hosts that run meshnode by its command line, on one segment: for the mesh's tests.

    site = Site(lab)
    anna, bert = site.host("anna"), site.host("bert")
    anna.found()
    anna.up()
    bert.join(anna.invite())
    anna.pings(bert)

A node runs in the foreground, so that its log is part of a failed test's report; only
`join` and `up` of the command line itself make daemons, and `down` must end these.
"""

import ipaddress
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshnode.errors import MeshnodeError
from meshnode.manage.api_client import call
from meshnode.manage.paths import Directories
from topology.checks import await_answer
from topology.hosts import Host, HostState, Lab, Port, wait_until
from topology.lans import HostLan, Switches
from topology.mesh import environment, installed_command
from topology.processes import Process

NETWORK = "home"
CIDR = "10.77.0.0/16"
LISTEN_PORT = 51820

PATIENCE = 60.0
"""Seconds for what takes one on a machine that has nothing else to do."""


class Site:
    """One segment, 198.18.0.0/24 and 2001:db8::/64, and the hosts in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.switches = Switches(lab)
        self.lan = self.switches.lan("lan")
        self._count = 0

    def host(self, name: str, *, v6: bool = False) -> "MeshHost":
        """Add a host that runs meshnode."""
        return MeshHost(self.port(self.lab.host(name), v6=v6))

    def port(self, host: Host, *, v6: bool = False) -> Port:
        """Plug a host in, at the next address."""
        self._count += 1
        return self.lan.attach(
            self.lab,
            host,
            v4=f"198.18.0.{self._count}/24",
            v6=f"2001:db8::{self._count}/64" if v6 else "",
        )

    def segment(self, name: str) -> HostLan:
        """Add another segment, whose members' interface is called *name*."""
        return self.switches.lan(name)


class MeshHost:
    """One host with its own meshnode directories; *network* is the one it is in."""

    def __init__(self, port: Port, *, network: str = NETWORK) -> None:
        self.port = port
        self.host = port.host
        self.network = network
        self.variables = environment(port.host.lab.directory, port.host.name)
        self.process: Process | None = None
        for path in self.variables.values():
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The host's name, and the member's."""
        return self.host.name

    @property
    def directories(self) -> Directories:
        """Where its files are."""
        return Directories.from_environment(self.variables)

    @property
    def config_file(self) -> Path:
        """The network's configuration."""
        return self.directories.config_file(self.network)

    @property
    def state_dir(self) -> Path:
        """The network's state."""
        return self.directories.state_dir(self.network)

    # --- commands ---

    def run(
        self,
        *words: str,
        check: bool = True,
        stdin: str | None = None,
        timeout: float = PATIENCE,
    ) -> subprocess.CompletedProcess[str]:
        """Run `meshnode WORDS…`, at most *timeout* seconds."""
        return self.host.run(
            [*installed_command(), *words],
            check=check,
            stdin=stdin,
            timeout=timeout,
            environment=self.variables,
        )

    def start(self, *words: str) -> Process:
        """Start `meshnode WORDS…`; its output is in the laboratory's log."""
        return self.host.start(
            [*installed_command(), *words], environment=self.variables
        )

    def refusal(
        self, *words: str, stdin: str | None = None, timeout: float = PATIENCE
    ) -> tuple[int, str]:
        """Run what must fail; return its exit code and the one line it wrote."""
        result = self.run(*words, check=False, stdin=stdin, timeout=timeout)
        lines = result.stderr.splitlines()
        assert result.returncode != 0, f"{words} went well: {result.stdout}"
        assert len(lines) == 1, result.stderr
        assert result.stdout == ""
        return result.returncode, lines[0]

    def json(self, *words: str) -> Any:
        """Return what a command prints with `--json`."""
        return json.loads(self.run(*words, "--json").stdout)

    def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        """Ask the node by its socket, without the time a command takes to start."""
        return call(self.directories, self.network, verb, **args)

    # --- the life of a node ---

    def found(self, *options: str) -> None:
        """Make the network; the node is not started."""
        self.run(
            *("network", "create", self.network, "--cidr", CIDR),
            *("--name", self.name, "--no-passphrase", *options),
        )

    def invite(self, *options: str) -> str:
        """Return the token of a new invite of this node."""
        return self.run("invite", "-n", self.network, *options).stdout.strip()

    def join(self, token: str, *options: str) -> None:
        """Join, and start the node in the foreground."""
        self.run("join", "-", "--name", self.name, "--no-up", *options, stdin=token)
        self.up()

    def begin_up(self, *options: str) -> None:
        """Start the node in the foreground and do not wait until it is ready."""
        self.process = self.start("up", self.network, "--foreground", *options)

    def up(self) -> None:
        """Start the node in the foreground; return when its address can be used."""
        self.begin_up()
        self.await_ready()

    def await_ready(self) -> None:
        """Wait until the node says that it is ready.

        Raises:
            AssertionError: with its log, if it ends before.
        """

        def is_ready() -> bool:
            if self.process is not None and not self.process.is_running:
                raise AssertionError(f"{self} ended: {self.process.output}")
            return self.is_ready()

        wait_until(is_ready, f"{self} is up", timeout=PATIENCE)

    def is_ready(self) -> bool:
        """Whether the node answers and its first plan is carried out."""
        try:
            return bool(self.ask("hello")["isReady"])
        except MeshnodeError:
            return False

    def down(self) -> None:
        """Stop the node by the command, and see all its processes go."""
        self.run("down", self.network)
        self.await_end()

    def await_end(self) -> None:
        """Wait until no process of any node of this host is left."""
        if self.process is not None:
            self.process.wait(PATIENCE)
        wait_until(lambda: not self.pids(), f"processes of {self} end")

    def kill(self) -> None:
        """Kill all processes at once, as a power cut would."""

        def all_gone() -> bool:
            pids = self.pids()
            for pid in pids:
                kill_process(pid)
            return not pids

        wait_until(all_gone, f"all processes of {self} are gone")

    def pids(self) -> list[int]:
        """Return the ids of all meshnode processes of this host."""
        return [pid for pid in self.host.processes() if _words_of(pid)]

    def roles(self) -> dict[str, int]:
        """Return the ids of this network's processes by role, of those that live.

        The supervisor is known by its children. Not for hosts with several networks.
        """
        children: dict[int, tuple[str, int]] = {}
        for pid in self.host.processes():
            words = _words_of(pid)
            if "meshnode.node.child" in words:
                role = words[words.index("meshnode.node.child") + 1]
                children[pid] = role, _parent_of(pid)
        found: dict[str, int] = {}
        for pid, (role, parent) in children.items():
            # A child of a child is about to become another program.
            if parent > 1 and parent not in children:
                found |= {role: pid, "supervisor": parent}
        return found

    # --- what it knows and does ---

    @property
    def address(self) -> str:
        """The overlay's IPv4 address; the node must be up."""
        return str(self.ask("status")["ipv4"])

    @property
    def address6(self) -> str:
        """The overlay's IPv6 address; the node must be up."""
        return str(self.ask("status")["ipv6"])

    def status(self) -> dict[str, Any]:
        """Return what `status --json` tells."""
        return self.ask("status")

    def peers(self) -> dict[str, dict[str, Any]]:
        """Return the members this node knows, by name, without itself."""
        return {one["name"]: one for one in self.ask("peers")["peers"]}

    def routes(self) -> dict[str, dict[str, Any]]:
        """Return what this node knows of prefixes, by prefix."""
        return {one["prefix"]: one for one in self.ask("routes")["routes"]}

    def await_peers(self, *names: str) -> None:
        """Wait until this node knows exactly these other members."""
        wait_until(
            lambda: set(self.peers()) == set(names),
            f"{self} knows {', '.join(names) or 'nobody'}",
            timeout=PATIENCE,
        )

    def pings(self, other: "MeshHost", seconds: float = PATIENCE) -> None:
        """Ping another member's overlay address until an answer comes."""
        await_answer(self.host, other.address, seconds)

    def answers(self, address: str, *, within: int = 1) -> bool:
        """Whether one ping to *address* is answered within that many seconds."""
        command = f"ping -n -c 1 -W {within} {address}"
        return self.host.run(command, check=False).returncode == 0

    def configure(self, **values: object) -> None:
        """Set values of the table `node` in the configuration."""
        lines = [
            line
            for line in self.config_file.read_text().splitlines()
            if line.partition("=")[0].strip() not in values
        ]
        at = lines.index("[node]") + 1
        lines[at:at] = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self.config_file.write_text("\n".join(lines) + "\n")

    def files(self) -> dict[str, bytes]:
        """Return the contents of all files of configuration and state."""
        found = {}
        for kind in ("CONFIG", "STATE", "RUN"):
            root = Path(self.variables[f"MESHNODE_{kind}_DIR"])
            for path in sorted(root.rglob("*")):
                if stat.S_ISREG(path.lstat().st_mode):
                    found[f"{kind}/{path.relative_to(root)}"] = path.read_bytes()
        return found


def found_mesh(site: Site, *names: str) -> list[MeshHost]:
    """Make a network: the first founds it, the others join; all know each other."""
    hosts = [site.host(name) for name in names]
    founder, *others = hosts
    founder.found()
    founder.up()
    for host in others:
        host.join(founder.invite())
    await_acquainted(hosts)
    return hosts


def await_acquainted(hosts: Sequence[MeshHost]) -> None:
    """Wait until every node knows every other one, and nobody else."""
    names = {host.name for host in hosts}
    for host in hosts:
        host.await_peers(*(names - {host.name}))


def kill_process(pid: int) -> None:
    """Kill a process of a laboratory's namespace, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def traces(host: Host) -> tuple[HostState, dict[str, str]]:
    """Return all a node may have changed in a host: state, and kernel variables."""
    keys = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    values = {key: host.run(f"sysctl -n {key}").stdout.strip() for key in keys}
    return host.state(), values


def leftovers(host: Host, before: tuple[HostState, dict[str, str]]) -> list[str]:
    """Name what differs in a host from what `traces` told, but processes."""
    state, values = traces(host)
    changes = [
        change
        for change in state.changes_since(before[0])
        if not change[2:].startswith("processes")
    ]
    changes += [
        f"{key} is {values[key]}" for key in values if values[key] != before[1][key]
    ]
    return changes


def until(
    condition: Callable[[], bool], what: str, *, timeout: float = PATIENCE
) -> float:
    """Wait until *condition* holds; return the seconds it took."""
    began = time.monotonic()
    wait_until(condition, what, timeout=timeout)
    return time.monotonic() - began


def is_overlay(address: str) -> bool:
    """Whether *address* is of the network's IPv4 prefix."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(CIDR)


def _words_of(pid: int) -> list[str]:
    """Return the command line of a meshnode process, empty for any other."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
    texts = [word.decode(errors="replace") for word in words]
    is_ours = any("meshnode" in Path(text).name for text in texts[:6])
    return texts if is_ours else []


def _parent_of(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[1])
