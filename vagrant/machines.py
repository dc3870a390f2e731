"""The machines of a topology, brought up by Vagrant, and commands run inside them."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topology.hosts import COMMAND_TIMEOUT, Host
from topology.processes import LabError
from vagrant.hypervisor import Hypervisor

SLOWNESS = 8.0
"""Emulation: things may take so many times as long as in a namespace."""

UP_TIMEOUT = 600.0
"""Seconds for bringing one machine up."""

_HERE = Path(__file__).parent
_EVENT = re.compile(r"==> (?P<machine>[^:]+): (?P<what>.*)")
_LAST_LINES = 40
_MANAGEMENT_CARD = "eth0"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a machine took, in seconds: until ssh answered, and to set up."""

    machine: str
    boot: float
    provision: float


class Machine(Host):
    """One virtual machine; commands go to it by ssh, as root."""

    def __init__(self, hypervisor: Hypervisor, name: str, ssh_config: Path) -> None:
        self.name = name
        self._hypervisor = hypervisor
        self._ssh = ["ssh", "-F", str(ssh_config), name, "--"]

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float = COMMAND_TIMEOUT,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine to its end, with time for emulation.

        Raises:
            CommandFailed: if it takes longer, or fails and *check* is true.
        """
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if environment:
            words = ["env", *(f"{k}={v}" for k, v in environment.items()), *words]
        return self._hypervisor.run(
            [*self._ssh, shlex.join(words)],
            timeout=timeout * SLOWNESS,
            check=check,
            stdin=stdin,
        )

    def script(self, text: str) -> str:
        """Run lines of shell, all of which must succeed, and return their output."""
        return self.run(["bash", "-euo", "pipefail", "-s"], stdin=text).stdout.strip()

    def ip(self, command: str) -> Any:
        """Run `ip` in the machine; for `-j` commands return the parsed JSON."""
        words = ["ip", *shlex.split(command)]
        output = self.run(words).stdout
        return json.loads(output or "[]") if "-j" in words else output

    def interfaces(self) -> set[str]:
        """Return the names of all interfaces but loopback and Vagrant's own."""
        return super().interfaces() - {_MANAGEMENT_CARD}


class Machines:
    """All machines of a topology file, over a hypervisor."""

    def __init__(self, hypervisor: Hypervisor, topology: Path) -> None:
        self._hypervisor = hypervisor
        directory = hypervisor.directory
        self._ssh_config = directory / "ssh"
        self._environment = {
            "MESHNODE_TOPOLOGY": str(topology.resolve()),
            "MESHNODE_VM_DRIVER": "qemu",
            "TMPDIR": str(directory / "tmp"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_CWD": str(_HERE),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_DOTFILE_PATH": str(directory / "vagrant-state"),
            "VAGRANT_HOME": str(directory / "vagrant-home"),
            "VAGRANT_NO_COLOR": "1",
        }

    def up(self, names: Sequence[str]) -> list[Timing]:
        """Bring all machines up, one after the other, and return how long each took.

        Raises:
            LabError: with the last that Vagrant said, if it fails.
        """
        events = self._up(limit=UP_TIMEOUT * len(names))
        result = self._hypervisor.run(
            ["vagrant", "ssh-config"], timeout=60, environment=self._environment
        )
        # One connection each, kept open: a new one takes an emulated machine a second.
        sockets = self._hypervisor.directory / "tmp" / "%n"
        self._ssh_config.write_text(
            f"ControlMaster auto\nControlPath {sockets}\nControlPersist yes\n"
            + result.stdout
        )
        return timings(events, names)

    def machine(self, name: str) -> Machine:
        """Return a machine that is up."""
        return Machine(self._hypervisor, name, self._ssh_config)

    def destroy(self) -> None:
        """Destroy all machines, as a user would."""
        self._hypervisor.run(
            ["vagrant", "destroy", "--force"],
            timeout=120,
            environment=self._environment,
        )

    def domain_types(self) -> set[str]:
        """Return how libvirt runs the machines: "qemu" is emulation."""
        names = self._hypervisor.run(["virsh", "list", "--name"], timeout=30).stdout
        found = set()
        for name in names.split():
            xml = self._hypervisor.run(["virsh", "dumpxml", name], timeout=30).stdout
            found.update(re.findall(r"<domain type='(\w+)'", xml))
        return found

    def _up(self, *, limit: float) -> list[tuple[float, str]]:
        """Run `vagrant up`; return what it said with the seconds since its start."""
        command = ["timeout", "--kill-after=10", str(round(limit))]
        command += ["vagrant", "up", "--no-parallel"]
        said: list[tuple[float, str]] = []
        began = time.monotonic()
        with subprocess.Popen(
            self._hypervisor.command(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **self._environment},
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if "Progress:" not in line:
                        said.append((time.monotonic() - began, line.rstrip()))
                        _tell(line)
            except BaseException:
                # What it started ends with the hypervisor; it need not tidy up.
                process.kill()
                raise
        if process.returncode != 0:
            last = "\n".join(line for _, line in said[-_LAST_LINES:])
            raise LabError(f"vagrant up: status {process.returncode}\n{last}")
        return said


def _tell(line: str) -> None:
    """Show the events that say where Vagrant is."""
    event = _EVENT.match(line)
    if event and event["what"].startswith(("Starting domain", "Machine b", "Running")):
        print(f"     {event['machine']}: {event['what'].rstrip('.')}")
        sys.stdout.flush()


def timings(said: Sequence[tuple[float, str]], names: Sequence[str]) -> list[Timing]:
    """Return how long each machine took, from the lines of `vagrant up`."""
    result = []
    for name in names:
        marks = {"Starting domain": 0.0, "Machine booted and ready": 0.0}
        last = 0.0
        for seconds, line in said:
            if line.startswith((f"==> {name}: ", f"    {name}: ")):
                last = seconds
                for mark in marks:
                    if mark in line:
                        marks[mark] = seconds
        began, ready = marks.values()
        result.append(Timing(name, ready - began, last - ready))
    return result
