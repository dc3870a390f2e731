"""Users without privileges on a host of the laboratory, for tests of rootless nodes.

Each has a user number of its own, no capability, no way to get one, and a home. The
machine's TUN driver may be closed to users, and the source may be where only root can
look: in a mount namespace of the user's own both are as they are on most hosts.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshnode.manage.api_client import call
from meshnode.manage.paths import Directories
from tests.e2e.mesh_parts import NETWORK, PATIENCE
from topology.hosts import Host, wait_until
from topology.mesh import installed_command
from topology.processes import Process

ROOT = Path(__file__).parents[2]

_VIEW = """
mount --make-rprivate /
{reveal}
mount -t tmpfs none /mnt
mknod -m {mode} /mnt/tun c 10 200
mount --bind /mnt/tun /dev/net/tun
exec "$@"
"""

# The number counts for what is below this very user namespace.
_NO_MORE = """
echo 0 > /proc/sys/user/max_user_namespaces
exec setpriv --bounding-set=-all "$@"
"""
_FORBID = ("unshare", "-r", "sh", "-ec", _NO_MORE, "sh")


class User:
    """One of them; *number* tells them apart."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        # Of this laboratory only: others may run on the machine.
        self.uid = 20_000 + zlib.crc32(f"{host.lab.tag} {number}".encode()) % 40_000
        lab = host.lab.directory
        lab.chmod(0o711)
        self.home = lab / f"user-{self.uid}"
        self.runtime = self.home / "runtime"
        for path in (self.home, self.runtime):
            path.mkdir(mode=0o700)
            os.chown(path, self.uid, self.uid)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the user's commands."""
        return {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.runtime)}

    @property
    def directories(self) -> Directories:
        """Where the user's nodes have their files."""
        return Directories.of_user(self.variables)

    def words(self, *command: str, tun_mode: str = "666") -> list[str]:
        """Return the command line that runs *command* as this user."""
        view = _VIEW.format(reveal=_reveal(), mode=tun_mode)
        return [
            *("unshare", "-m", "sh", "-ec", view, "sh"),
            *("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}"),
            *("--clear-groups", "--bounding-set=-all", "--inh-caps=-all"),
            *command,
        ]

    def run(
        self,
        *words: str,
        check: bool = True,
        stdin: str | None = None,
        tun_mode: str = "666",
        without_namespaces: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run `meshnode WORDS…` as this user, perhaps where the kernel forbids much."""
        forbid: tuple[str, ...] = ()
        variables = self.variables
        if without_namespaces:
            # Who is root of a user namespace is root to the command, too.
            forbid, places = _FORBID, self.directories
            variables |= {"MESHNODE_CONFIG_DIR": str(places.config)}
            variables |= {"MESHNODE_STATE_DIR": str(places.state)}
            variables |= {"MESHNODE_RUN_DIR": str(places.run)}
        return self.host.run(
            self.words(*forbid, *installed_command(), *words, tun_mode=tun_mode),
            check=check,
            stdin=stdin,
            timeout=PATIENCE,
            environment=variables,
        )

    def start(self, *words: str) -> Process:
        """Start `meshnode WORDS…` as this user."""
        return self.host.start(
            self.words(*installed_command(), *words), environment=self.variables
        )

    def inside(self, command: str | Sequence[str], *, check: bool = True) -> str:
        """Return what a command prints that runs in the mesh."""
        words = shlex.split(command) if isinstance(command, str) else command
        return self.run("run", NETWORK, "--", *words, check=check).stdout

    def found(self, *options: str) -> None:
        """Make the network."""
        self.run(
            *("network", "create", NETWORK, "--cidr", "10.77.0.0/16"),
            *("--no-passphrase", *options),
        )

    def configure(self, **values: object) -> None:
        """Set values of the table `node` in the configuration."""
        file = self.directories.config_file(NETWORK)
        lines = file.read_text().splitlines()
        lines = [line for line in lines if line.partition(" ")[0] not in values]
        at = lines.index("[node]") + 1
        lines[at:at] = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        file.write_text("\n".join(lines) + "\n")

    def ask(self, verb: str) -> dict[str, Any]:
        """Ask the user's node, as the user: to it root is a stranger like any other."""
        os.setegid(self.uid)
        os.seteuid(self.uid)
        try:
            return call(self.directories, NETWORK, verb)
        finally:
            os.seteuid(0)
            os.setegid(0)

    def processes(self) -> dict[int, str]:
        """Return the command lines of the living processes of this user."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                status = (path / "status").read_text()
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # A process that nobody has collected has no command line any more.
            if f"\nUid:\t{self.uid}\t" in status and "\nState:\tZ" not in status:
                found[int(path.name)] = words.decode(errors="replace")
        return found

    def children(self) -> dict[str, int]:
        """Return the processes of the user's node by role."""
        mark = "meshnode.node.child "
        return {
            words.partition(mark)[2].split()[0]: pid
            for pid, words in self.processes().items()
            if mark in words
        }

    def await_end(self) -> None:
        """Wait until no process of this user is left."""
        wait_until(
            lambda: not self.processes(), f"user {self.uid} has none", timeout=PATIENCE
        )

    def kill(self, pid: int) -> None:
        """Kill one of the user's processes."""
        assert pid in self.processes()
        os.kill(pid, signal.SIGKILL)


def _reveal() -> str:
    """Return shell commands that open the way to source and interpreter."""
    needed = {ROOT.resolve(), Path(sys.prefix), Path(sys.base_prefix)}
    lines = []
    for number, path in enumerate(sorted(needed), start=5):
        hidden = [one for one in path.parents if not one.stat().st_mode & 0o001]
        if hidden:
            top = hidden[-1]
            lines.append(f"exec {number}<{shlex.quote(str(path))}")
            lines.append(
                f"mountpoint -q {top} || mount -t tmpfs -o mode=755 none {top}"
            )
            lines.append(f"mkdir -p {shlex.quote(str(path))}")
            lines.append(
                f"mount --bind /proc/self/fd/{number} {shlex.quote(str(path))}"
            )
    opened = [line for line in lines if line.startswith("exec")]
    return "\n".join([*opened, *(line for line in lines if line not in opened)])
