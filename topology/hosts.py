"""Hosts, links and routers made of network namespaces on one machine.

    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        port_a, port_b = lab.connect(a, b)
        a.run(f"ping -c 1 {port_b.v4}")

Nothing is ever made in the machine's own namespace. Leaving the `with` block ends all
processes and removes all namespaces, also after Ctrl-C, SIGTERM and SIGHUP. If the
block itself went well it then raises `LeakFound` for what the programs under test
left behind: a process that would not end, an interface, a userspace-API socket.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topology import leaks
from topology.interrupts import signals_end_the_block, signals_held_back
from topology.leaks import LeakFound
from topology.processes import (
    POLL,
    LabError,
    Process,
    end_processes_in,
    processes_in,
    run,
)

COMMAND_TIMEOUT = 15.0
"""Seconds a command may take unless told otherwise."""


@dataclass(frozen=True, slots=True)
class HostState:
    """What a program may have changed in a host, as sorted texts to compare."""

    interfaces: tuple[str, ...]
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]
    tables: tuple[str, ...]
    processes: tuple[str, ...]

    def changes_since(self, earlier: "HostState") -> list[str]:
        """Name what was added (+) and removed (-) since *earlier*."""
        changes = []
        for kind in fields(self):
            old = set(getattr(earlier, kind.name))
            new = set(getattr(self, kind.name))
            changes += [f"+ {kind.name}: {thing}" for thing in sorted(new - old)]
            changes += [f"- {kind.name}: {thing}" for thing in sorted(old - new)]
        return changes


class Host:
    """One network namespace, with loopback up.

    Commands are given as one string (split as a shell would) or as words.
    """

    def __init__(self, lab: "Lab", name: str) -> None:
        self.lab = lab
        self.name = name
        self.namespace = f"{lab.tag}-{name}"

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = COMMAND_TIMEOUT,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host to its end, at most *timeout* seconds.

        Raises:
            CommandFailed: if it takes longer, or fails and *check* is true.
        """
        return run(
            self._inside(command),
            timeout=timeout,
            check=check,
            stdin=stdin,
            environment=environment,
        )

    def start(
        self,
        command: str | Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a process in the host; the laboratory ends it at the latest."""
        return self.lab.start(self._inside(command), environment=environment)

    def ip(self, command: str) -> Any:
        """Run `ip` in the host; for `-j` commands return the parsed JSON."""
        words = ["ip", "-n", self.namespace, *shlex.split(command)]
        output = run(words, timeout=COMMAND_TIMEOUT).stdout
        return json.loads(output or "[]") if "-j" in words else output

    def nft(self, rules: str) -> None:
        """Load nftables *rules*, all or nothing."""
        self.run(["nft", "-f", "-"], stdin=rules)

    def sysctl(self, key: str, value: int) -> None:
        """Set one of the namespace's kernel variables."""
        self.run(["sysctl", "-qw", f"{key}={value}"])

    def add_address(self, interface: str, address: str) -> None:
        """Give *interface* an address with its prefix length, usable at once."""
        # Duplicate address detection would hold an IPv6 address back for a second.
        nodad = " nodad" if ":" in address else ""
        self.ip(f"address add {address} dev {interface}{nodad}")

    def interfaces(self) -> set[str]:
        """Return the names of all interfaces but loopback."""
        return {link["ifname"] for link in self.ip("-j link")} - {"lo"}

    def processes(self) -> list[int]:
        """Return the ids of all processes in the host."""
        return sorted(processes_in([self.inode]))

    @property
    def inode(self) -> int:
        """The inode of the network namespace."""
        return os.stat(leaks.NAMESPACES / self.namespace).st_ino

    def state(self) -> HostState:
        """Return what a program could have changed, to compare with later."""

        def lines(command: str) -> tuple[str, ...]:
            output = self.run(command).stdout.splitlines()
            return tuple(sorted(line.strip() for line in output if line.strip()))

        return HostState(
            interfaces=tuple(sorted(self.interfaces())),
            addresses=lines("ip -br address"),
            routes=lines("ip -4 route show table all")
            + lines("ip -6 route show table all"),
            rules=lines("ip -4 rule") + lines("ip -6 rule"),
            tables=lines("nft list tables"),
            processes=tuple(str(pid) for pid in self.processes()),
        )

    def _inside(self, command: str | Sequence[str]) -> list[str]:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        return ["ip", "netns", "exec", self.namespace, *words]


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a link: the interface in its host and its addresses.

    An address the link does not have is an empty text.
    """

    host: Host
    interface: str
    v4: str
    v6: str


class Lab:
    """A set of hosts that lives as long as a `with` block.

    `last_logs` keeps what the background processes wrote, once the block is left.
    A laboratory told to `keep` outlives its block unless the block fails; it takes a
    *tag* and a *directory* of its own then, so that it can be found again.
    """

    def __init__(
        self, *, tag: str | None = None, directory: Path | None = None
    ) -> None:
        self.tag = tag or leaks.new_tag()
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"{self.tag}-"))
        self.processes: list[Process] = []
        self.last_logs = ""
        self._kept = False
        self._hosts: list[Host] = []
        self._made: list[tuple[Host, str]] = []
        self._networks = 0
        self._names = 0
        self._handlers = ExitStack()

    def __enter__(self) -> Self:
        self._handlers.enter_context(signals_end_the_block())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._kept and error is None:
                return
            with signals_held_back():
                left = self._close()
        finally:
            self._handlers.close()
        if left and error is None:
            raise LeakFound("left behind: " + ", ".join(left))

    def keep(self) -> None:
        """Let hosts and processes be when the block is left without an error."""
        self._kept = True

    def host(self, name: str) -> Host:
        """Add a host; *name* is of a few letters, digits and hyphens."""
        host = Host(self, name)
        self._hosts.append(host)
        run(["ip", "netns", "add", host.namespace], timeout=COMMAND_TIMEOUT)
        host.ip("link set lo up")
        # Duplicate address detection would make link-local addresses appear late.
        host.sysctl("net.ipv6.conf.default.accept_dad", 0)
        return host

    def router(self, name: str) -> Host:
        """Add a host that forwards IPv4 and IPv6."""
        router = self.host(name)
        router.sysctl("net.ipv4.ip_forward", 1)
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        return router

    def connect(self, left: Host, right: Host, *, mtu: int = 1500) -> tuple[Port, Port]:
        """Join two hosts by a veth pair with addresses of both versions.

        The n-th link is 198.18.n.0/24 and 2001:db8:n::/64 (ranges kept for
        benchmarks and documentation); *left* gets 1 and *right* 2.
        """
        self._networks += 1
        network = self._networks
        ports = tuple(
            Port(
                host,
                interface=f"eth{sum(host is made for made, _ in self._made)}",
                v4=f"198.18.{network}.{number}",
                v6=f"2001:db8:{network:x}::{number}",
            )
            for number, host in enumerate((left, right), start=1)
        )
        self.cable((left, ports[0].interface), (right, ports[1].interface), mtu=mtu)
        for port in ports:
            port.host.add_address(port.interface, f"{port.v4}/24")
            port.host.add_address(port.interface, f"{port.v6}/64")
        return ports[0], ports[1]

    def cable(
        self, left: tuple[Host, str], right: tuple[Host, str], *, mtu: int
    ) -> None:
        """Join two hosts by a veth pair with these interface names, both set up."""
        run(
            [
                *("ip", "link", "add", "name", left[1], "mtu", str(mtu)),
                *("netns", left[0].namespace, "type", "veth"),
                *("peer", "name", right[1], "mtu", str(mtu)),
                *("netns", right[0].namespace),
            ],
            timeout=COMMAND_TIMEOUT,
        )
        for host, interface in (left, right):
            self.note_interface(host, interface)
            host.ip(f"link set dev {interface} up")

    def note_interface(self, host: Host, interface: str) -> None:
        """Take an interface for our own, not for something left behind."""
        self._made.append((host, interface))

    def source_nat(self, outside: Port) -> None:
        """Let a router rewrite the source of what leaves by *outside*."""
        outside.host.nft(
            f"""
            table inet {self.tag} {{
              chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname "{outside.interface}" masquerade
              }}
            }}
            """
        )

    def interface_name(self) -> str:
        """Return an interface name that no other laboratory on the machine uses.

        Names must be unique beyond a namespace as the userspace-API sockets of all
        namespaces lie in one directory.
        """
        self._names += 1
        return f"{self.tag}{self._names}"

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a tracked process; most callers want `Host.start`."""
        log = self.directory / f"process-{len(self.processes)}.log"
        process = Process(command, log, environment or {})
        self.processes.append(process)
        return process

    def logs(self) -> str:
        """Return the output of all background processes, for a failed test."""
        return "\n".join(
            f"--- {' '.join(process.command)}\n{process.output}"
            for process in self.processes
        )

    def assert_clean(self) -> None:
        """Check, once the block is left, that nothing of the laboratory remains.

        Raises:
            LeakFound: naming each namespace, interface, process, nft table and
                userspace-API socket left.
        """
        if left := leaks.find_leaks(self.tag):
            raise LeakFound("left behind: " + ", ".join(left))

    def _close(self) -> list[str]:
        left = self._stop_processes()
        namespaces = leaks.namespaces_of(self.tag)
        left += end_processes_in(namespaces.values())
        try:
            left += self._foreign_interfaces(namespaces)
        finally:
            left += leaks.sweep(self.tag)
            self.last_logs = self.logs()
            shutil.rmtree(self.directory)
        self.assert_clean()
        return [thing for thing in left if not thing.startswith("namespace ")]

    def _foreign_interfaces(self, namespaces: Collection[str]) -> list[str]:
        return [
            f"interface {interface} in {host.name}"
            for host in self._hosts
            if host.namespace in namespaces
            for interface in sorted(host.interfaces())
            if (host, interface) not in self._made
        ]

    def _stop_processes(self) -> list[str]:
        # All at once: each may take its grace to undo what it did.
        for process in self.processes:
            process.signal(signal.SIGTERM)
        return [
            f"process {process.pid} ({' '.join(process.command)}) ignored SIGTERM"
            for process in self.processes
            if not process.stop()
        ]


def wait_until(
    condition: Callable[[], bool], what: str, *, timeout: float = COMMAND_TIMEOUT
) -> None:
    """Look again and again until *condition* holds, at most *timeout* seconds.

    Raises:
        LabError: naming *what* did not come true.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout:g} s: {what}")
        time.sleep(POLL)
