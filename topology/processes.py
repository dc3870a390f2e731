"""Processes of the laboratory: run in a namespace, tracked, ended by their own id.

A process belongs to the laboratory if we started it, or if it lives in one of its
network namespaces (`/proc/PID/ns/net`): daemons leave every other trace behind.
"""

import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

END_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL: a node undoes its host changes meanwhile."""

POLL = 0.02
"""Seconds between two looks at something that has no event to wait for."""


class LabError(Exception):
    """The laboratory could not do what it was asked."""


class CommandFailed(LabError):
    """A command ended with a non-zero status or took too long.

    `output` is what it wrote to both streams until then.
    """

    def __init__(self, command: Sequence[str], outcome: str, output: str) -> None:
        super().__init__(f"{' '.join(command)}: {outcome}\n{output.strip()}")
        self.output = output


class Process:
    """A background process, with its output in a file.

    It has its own session, so that Ctrl-C at the terminal reaches only us.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.command = tuple(command)
        self._log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id; ours until `wait` has returned."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """What the process wrote so far."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        self._popen.send_signal(number)

    def wait(self, timeout: float = END_GRACE) -> int:
        """Wait at most *timeout* seconds for the end and return the exit status.

        Raises:
            CommandFailed: if the process still runs then.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            outcome = f"still running after {timeout:g} s"
            raise CommandFailed(self.command, outcome, self.output) from None

    def stop(self) -> bool:
        """End the process and say whether SIGTERM was enough."""
        self.signal(signal.SIGTERM)
        try:
            self._popen.wait(END_GRACE)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            return False
        return True


def run(
    command: Sequence[str],
    *,
    timeout: float,
    check: bool = True,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, at most *timeout* seconds.

    Raises:
        CommandFailed: if it takes longer, or fails and *check* is true.
    """
    try:
        result = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        partial = b"".join(
            part if isinstance(part, bytes) else part.encode()
            for part in (error.stdout, error.stderr)
            if part
        )
        raise CommandFailed(
            command,
            f"no end after {timeout:g} s",
            partial.decode(errors="replace"),
        ) from None
    if check and result.returncode != 0:
        output = result.stdout + result.stderr
        raise CommandFailed(command, f"status {result.returncode}", output)
    return result


def processes_in(namespaces: Collection[int]) -> Iterator[int]:
    """Yield the ids of all processes in the network namespaces with these inodes."""
    for name in os.listdir("/proc"):
        if name.isdigit() and _namespace_of(int(name)) in namespaces:
            yield int(name)


def end_processes_in(namespaces: Collection[int]) -> list[str]:
    """End every process in these network namespaces; return what they were."""
    ended = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes_in(namespaces):
            ended.append(f"process {pid} ({_command_of(pid)})")
            signal_in_namespace(pid, namespaces, number)
        deadline = time.monotonic() + END_GRACE
        while any(processes_in(namespaces)) and time.monotonic() < deadline:
            time.sleep(POLL)
    return list(dict.fromkeys(ended))


def signal_in_namespace(
    pid: int, namespaces: Collection[int], number: signal.Signals
) -> None:
    """Signal a process if it is in one of these network namespaces, else do nothing."""
    # The descriptor pins the process: its id cannot pass to a stranger between the
    # second look at its namespace and the signal.
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _namespace_of(pid) in namespaces:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _namespace_of(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def _command_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "gone"
    return b" ".join(words).decode(errors="replace").strip()
