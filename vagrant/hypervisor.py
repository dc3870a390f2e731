"""A libvirt daemon of our own, apart from the machine's.

It lives in namespaces of its own (network, mounts, processes), with its files in one
temporary directory. So its bridges and rules are not on this machine, it neither sees
nor disturbs a libvirt that is installed here, and when its first process dies, the
kernel ends all others and takes the networks away: nothing can stay behind.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from topology.interrupts import signals_held_back
from topology.processes import POLL, CommandFailed, LabError, Process, run

START_TIMEOUT = 60.0
"""Seconds until the daemon must answer."""

_ABOVE = Path("/tmp")
_PREFIX = "meshnode-vm-"
_SOCKET = Path("run/libvirt/libvirt-sock")
_PLACES = {
    "run": Path("/run"),
    "etc": Path("/etc/libvirt"),
    "lib": Path("/var/lib/libvirt"),
    "cache": Path("/var/cache/libvirt"),
    "log": Path("/var/log/libvirt"),
}
"""Where libvirt keeps its files: our directory's name for it, and libvirt's."""

_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
_LIBVIRTD_CONF = """\
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
"""

# The first process of the process namespace collects the dead, which libvirtd does not.
_FIRST_PROCESS = """\
set -eu
directory=$1
shift
while [ $# -gt 0 ]; do
  mount --bind "$directory/$1" "$2"
  shift 2
done
# This file system shows the interfaces of who mounts it.
mount -t sysfs sysfs /sys
ip link set lo up
libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirtd.pid &
wait
"""


class Hypervisor:
    """A running libvirt daemon, for as long as the `with` block lasts."""

    def __init__(self) -> None:
        _remove_abandoned()
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_ABOVE))
        self._lock = os.open(self.directory, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._mount_points: list[Path] = []
        self._shell: Process | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with signals_held_back():
            self._remove()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the words that run *command* beside the daemon."""
        enter = ["nsenter", f"--target={self._first_process()}", "--net", "--mount"]
        return [*enter, "--pid", "--", *command]

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command beside the daemon to its end, at most *timeout* seconds.

        Raises:
            CommandFailed: if it takes longer, or fails and *check* is true.
        """
        return run(
            self.command(command),
            timeout=timeout,
            check=check,
            stdin=stdin,
            environment=environment,
        )

    def log(self) -> str:
        """Return what the daemon had to say."""
        return self._shell.output if self._shell else ""

    def _start(self) -> None:
        for name, place in _PLACES.items():
            (self.directory / name).mkdir()
            if not place.exists():
                place.mkdir(parents=True)
                self._mount_points.append(place)
        (self.directory / "images").mkdir()
        (self.directory / "tmp").mkdir()
        (self.directory / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        (self.directory / "etc" / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        mounts = [str(word) for pair in _PLACES.items() for word in pair]
        self._shell = Process(
            [
                *("setpriv", "--pdeathsig=KILL"),
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
                *("--mount-proc", "--", "bash", "-c", _FIRST_PROCESS, "libvirt"),
                *(str(self.directory), *mounts),
            ],
            self.directory / "libvirtd.log",
            {"TMPDIR": str(self.directory / "tmp")},
        )
        self._wait_until_it_answers()
        pool = ["virsh", "pool-define-as", "default", "dir", "--target"]
        self.run([*pool, str(self.directory / "images")], timeout=START_TIMEOUT)
        self.run(["virsh", "pool-start", "default"], timeout=START_TIMEOUT)

    def _wait_until_it_answers(self) -> None:
        assert self._shell is not None
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if not self._shell.is_running or time.monotonic() > deadline:
                raise LabError(f"libvirtd did not start:\n{self.log()}")
            time.sleep(POLL)

    def _answers(self) -> bool:
        if not self._first_process() or not (self.directory / _SOCKET).exists():
            return False
        try:
            return self.run(["virsh", "uri"], timeout=10, check=False).returncode == 0
        except CommandFailed:
            return False

    def _first_process(self) -> int:
        """Return the id of the namespaces' first process, 0 before and after it."""
        assert self._shell is not None
        pid = self._shell.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def _remove(self) -> None:
        if self._shell is not None:
            # Not politely: the kernel ends all the others with the first, and its
            # parent ends when all are gone.
            if first := self._first_process():
                os.kill(first, signal.SIGKILL)
            else:
                self._shell.signal(signal.SIGKILL)
            self._shell.wait(START_TIMEOUT)
        for place in self._mount_points:
            place.rmdir()
        shutil.rmtree(self.directory)
        os.close(self._lock)


def _remove_abandoned() -> None:
    """Remove directories whose owner was killed; its processes died with it."""
    for path in _ABOVE.glob(f"{_PREFIX}*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
