"""The tunnels we test and measure, behind one interface.

`Tunnel` joins two hosts whatever it is made of. `UserspaceWireGuard` is every program
that makes a WireGuard interface and is configured by `wg`; `WireGuardDevice` is one
such interface.
"""

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Protocol

from topology.hosts import COMMAND_TIMEOUT, Host, Port, wait_until
from topology.leaks import UAPI_SOCKETS
from topology.processes import LabError, Process, run

LISTEN_PORT = 51820
TUNNEL_MTU = 1420
"""WireGuard's default: 1500 less IPv6, UDP and WireGuard headers."""

_TINC_DEADLINE = 20.0


@dataclass(frozen=True, slots=True)
class Joined:
    """Two hosts joined by a tunnel: the inner addresses of each."""

    left: Host
    right: Host
    left_v4: str
    right_v4: str
    left_v6: str
    right_v6: str


class Tunnel(Protocol):
    """A way to join two hosts that a link joins already."""

    @property
    def name(self) -> str:
        """How reports call it."""

    def version(self) -> str:
        """The version of the program, for reports."""

    def join(self, left: Port, right: Port) -> Joined:
        """Set the tunnel up and return when it carries packets."""


@dataclass(frozen=True, slots=True)
class Veth:
    """No tunnel at all: the bare link, the machine's own limit."""

    name: str = "veth"

    def version(self) -> str:
        """The kernel's release."""
        return f"Linux {os.uname().release}"

    def join(self, left: Port, right: Port) -> Joined:
        """Use the link's own addresses."""
        return Joined(left.host, right.host, left.v4, right.v4, left.v6, right.v6)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes a WireGuard device counted for a peer: whole UDP payloads."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Keys:
    """A WireGuard key pair in base64."""

    private: str = field(repr=False)
    public: str

    @classmethod
    def generate(cls) -> "Keys":
        """Let `wg` make a key pair."""
        private = run(["wg", "genkey"], timeout=5).stdout.strip()
        public = run(["wg", "pubkey"], timeout=5, stdin=private).stdout.strip()
        return cls(private, public)


class WireGuardDevice:
    """One WireGuard interface, its process, and `wg` to talk to it.

    `host` is where the process runs; `inside` is where the interface is: they differ
    once `move` took the interface to another namespace.
    """

    def __init__(self, host: Host, interface: str, process: Process) -> None:
        self.host = host
        self.inside = host
        self.interface = interface
        self.process = process
        self.keys = Keys.generate()
        self._secrets = 0

    @property
    def public_key(self) -> str:
        """Our public key in base64."""
        return self.keys.public

    def set(self, command: str, *, secret: str | None = None) -> None:
        """Run `wg set` on the interface; `@` stands for a file that holds *secret*."""
        words = command.split()
        if secret is not None:
            words[words.index("@")] = str(self._secret_file(secret))
        self.host.run(["wg", "set", self.interface, *words])

    def set_keys(self, keys: Keys) -> None:
        """Take another key pair, live."""
        self.set("private-key @", secret=keys.private)
        self.keys = keys

    def set_config(self, text: str, *, timeout: float = COMMAND_TIMEOUT) -> None:
        """Replace the whole configuration by *text*, in `wg setconf`'s format."""
        path = self._secret_file(text)
        words = ["wg", "setconf", self.interface, str(path)]
        self.host.run(words, timeout=timeout)

    def show(self, what: str) -> dict[str, str]:
        """Run `wg show IFACE what` and return its lines, by their first column."""
        output = self.host.run(["wg", "show", self.interface, what]).stdout
        rows = (line.partition("\t") for line in output.splitlines())
        return {key: value for key, _, value in rows}

    def transfer(self, peer: str) -> Transfer:
        """Return the byte counts of a peer."""
        received, sent = self.show("transfer")[peer].split()
        return Transfer(int(received), int(sent))

    def handshake_at(self, peer: str) -> int:
        """Return when the last handshake was (seconds of the epoch), 0 if never."""
        return int(self.show("latest-handshakes")[peer])

    def endpoint(self, peer: str) -> str:
        """Return the address a peer was last heard from."""
        return self.show("endpoints")[peer]

    def bring_up(self, *addresses: str) -> None:
        """Give the interface its addresses and set it up."""
        for address in addresses:
            self.inside.add_address(self.interface, address)
        self.inside.ip(f"link set {self.interface} mtu {TUNNEL_MTU} up")

    def move(self, host: Host) -> None:
        """Move the interface to another host; its UDP sockets stay behind."""
        self.inside.ip(f"link set {self.interface} netns {host.namespace}")
        self.inside = host

    def stop(self) -> None:
        """End the process.

        Raises:
            LabError: if it ignores SIGTERM, or leaves its interface or socket.
        """
        if not self.process.stop():
            raise LabError(f"ignored SIGTERM: {self.process.command}")
        if self.interface in self.inside.interfaces() or self._socket.exists():
            raise LabError(f"{self.interface} outlived its process")

    def await_ready(self) -> None:
        """Wait until the interface and its userspace-API socket exist.

        Raises:
            LabError: if the process ends or takes too long.
        """

        def ready() -> bool:
            if not self.process.is_running:
                raise LabError(f"ended at once:\n{self.process.output}")
            return self._socket.exists() and self.interface in self.host.interfaces()

        wait_until(ready, f"{self.interface} exists")

    @property
    def _socket(self) -> Path:
        return UAPI_SOCKETS / f"{self.interface}.sock"

    def _secret_file(self, text: str) -> Path:
        self._secrets += 1
        path = self.host.lab.directory / f"{self.interface}-{self._secrets}"
        path.touch(mode=0o600)
        path.write_text(text)
        return path


@dataclass(frozen=True, slots=True)
class UserspaceWireGuard:
    """A program that makes a WireGuard interface: `command... IFACE`, foreground.

    `release` is its version, for reports, and `engine` that of its data plane, if it
    has several. `directories` names environment variables that tell it where to keep
    files: the laboratory gives it directories of its own.
    """

    name: str
    command: tuple[str, ...]
    release: str
    directories: tuple[str, ...] = ()
    engine: str = ""

    def version(self) -> str:
        """The version of the program."""
        return self.release

    def environment(self, host: Host) -> dict[str, str]:
        """Return the environment variables to run the program with in *host*."""
        return {
            name: str(host.lab.directory / name.lower()) for name in self.directories
        }

    def start(self, host: Host) -> WireGuardDevice:
        """Start a device in *host*, with keys and listen port set, and wait for it."""
        interface = host.lab.interface_name()
        process = host.start(
            [*self.command, interface], environment=self.environment(host)
        )
        device = WireGuardDevice(host, interface, process)
        device.await_ready()
        device.set(
            f"listen-port {LISTEN_PORT} private-key @", secret=device.keys.private
        )
        return device

    def join(self, left: Port, right: Port) -> Joined:
        """Join two hosts with a session already made."""
        devices = self.start(left.host), self.start(right.host)
        for number, (device, peer, far) in enumerate(
            [(devices[0], devices[1], right), (devices[1], devices[0], left)], start=1
        ):
            device.set(
                f"peer {peer.public_key} endpoint {far.v4}:{LISTEN_PORT} "
                f"allowed-ips 10.99.0.{3 - number}/32,fd99::{3 - number}/128"
            )
            device.bring_up(f"10.99.0.{number}/24", f"fd99::{number}/64")
        joined = Joined(
            left.host, right.host, "10.99.0.1", "10.99.0.2", "fd99::1", "fd99::2"
        )
        left.host.run(f"ping -c 1 -W 5 {joined.right_v4}")
        return joined


def wireguard_go(
    path: str | None = None, *, name: str = "wireguard-go"
) -> UserspaceWireGuard:
    """Return wireguard-go: the one at *path*, else the installed one.

    Raises:
        LabError: if there is none.
    """
    path = path or shutil.which("wireguard-go")
    if path is None:
        raise LabError("wireguard-go is not installed")
    output = run([path, "--version"], timeout=5).stdout
    match = re.search(r"v(\S+)", output)
    return UserspaceWireGuard(name, (path, "-f"), match[1] if match else "unknown")


def meshnode(engine: str | None = None, *more: str) -> UserspaceWireGuard:
    """Return meshnode of this virtual environment, with a data-plane engine.

    *more* are further options of its command.
    """
    command = Path(sys.executable).with_name("meshnode-wg")
    options = (*(("--engine", engine) if engine else ()), *more)
    return UserspaceWireGuard(
        f"meshnode {engine}" if engine else "meshnode",
        (str(command), "--foreground", *options),
        package_version("meshnode"),
        directories=("MESHNODE_STATE_DIR", "MESHNODE_RUN_DIR"),
        engine=engine or "",
    )


@dataclass(frozen=True, slots=True)
class Tinc:
    """tinc 1.0 as Debian ships it: default cipher and digest, no compression."""

    name: str = "tinc"

    def version(self) -> str:
        """The version of the installed tincd."""
        output = run(["tincd", "--version"], timeout=5).stdout
        return output.partition("\n")[0].split()[2]

    def join(self, left: Port, right: Port) -> Joined:
        """Join two hosts by router mode; the left one connects to the right one."""
        joined = Joined(
            left.host, right.host, "10.98.0.1", "10.98.0.2", "fd98::1", "fd98::2"
        )
        directories = self._configure(left, 1), self._configure(right, 2)
        with (directories[0] / "tinc.conf").open("a") as config:
            config.write("ConnectTo = node2\n")
        for directory, other in (directories, directories[::-1]):
            for file in (other / "hosts").iterdir():
                shutil.copy(file, directory / "hosts")
        for number in (2, 1):
            self._start((left, right)[number - 1], directories[number - 1], number)
        wait_until(
            lambda: (
                left.host.run(
                    f"ping -c 1 -W 1 {joined.right_v4}", check=False
                ).returncode
                == 0
            ),
            "tinc carries a ping",
            timeout=_TINC_DEADLINE,
        )
        return joined

    def _configure(self, port: Port, number: int) -> Path:
        lab = port.host.lab
        directory = lab.directory / f"tinc-{port.host.name}"
        hosts = directory / "hosts"
        hosts.mkdir(parents=True)
        (directory / "tinc.conf").write_text(
            f"Name = node{number}\nInterface = {lab.interface_name()}\n"
            "Mode = router\nCompression = 0\n"
        )
        (hosts / f"node{number}").write_text(
            f"Address = {port.v4}\n"
            f"Subnet = 10.98.0.{number}/32\nSubnet = fd98::{number}/128\n"
        )
        (directory / "tinc-up").write_text(
            "#!/bin/sh\n"
            f"ip address add 10.98.0.{number}/24 dev $INTERFACE\n"
            f"ip address add fd98::{number}/64 dev $INTERFACE nodad\n"
            "ip link set $INTERFACE up\n"
        )
        (directory / "tinc-up").chmod(0o755)
        run(["tincd", "-c", str(directory), "-K2048"], timeout=30, stdin="\n\n")
        return directory

    def _start(self, port: Port, directory: Path, number: int) -> None:
        pidfile = directory / "tinc.pid"
        port.host.start(["tincd", "-c", str(directory), "-D", f"--pidfile={pidfile}"])
