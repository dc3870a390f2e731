"""Running a command for its exit code, in namespaces that are our own already."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PROGRAM = """
import os, sys
from meshnode.errors import HostError
from meshnode.host import guest
guest._enter = {enter}
guest.become_user = lambda uid, gid: None
try:
    code = guest.run_guest(("/a", "/b"), sys.argv[1:])
except HostError as error:
    print(error)
    code = 99
sys.exit(code)
"""
_NOTHING = "lambda namespaces, resolver: None"


def run(*command: str, enter: str = _NOTHING) -> subprocess.CompletedProcess[str]:
    """Run *command* as a guest in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(enter=enter), *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -9 $$"), 137),
        (("/etc/passwd",), 126),
        (("no-such-command-here",), 127),
    ],
)
def test_exit_code_is_that_of_a_shell(command: tuple[str, ...], code: int) -> None:
    """The command's own, or why there is none."""
    assert run(*command).returncode == code


def test_failure_to_enter_is_one_line() -> None:
    """The command is not run then."""
    enter = "lambda n, r: guest.libc.call('setns', -1, 0)"
    done = run("echo", "ran", enter=enter)
    assert done.returncode == 99
    assert done.stdout.startswith("unexpected OSError")
    done = run("echo", "ran", enter="guest._enter")
    assert done.returncode == 99
    assert "cannot enter the network of the node" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever ends us ends it, and hears what became of it."""
    ready = tmp_path / "ready"
    program = _PROGRAM.format(enter=_NOTHING)
    script = f"trap 'exit 5' {number.name[3:]}; : > {ready}; sleep 60 & wait"
    process = subprocess.Popen([sys.executable, "-c", program, "sh", "-c", script])
    give_up_at = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 5


def test_the_command_is_killed_with_us(tmp_path: Path) -> None:
    """No command goes on in a network that nobody looks after."""
    file = tmp_path / "pid"
    program = _PROGRAM.format(enter=_NOTHING)
    script = f"echo $$ > {file}.new; mv {file}.new {file}; exec sleep 60"
    process = subprocess.Popen([sys.executable, "-c", program, "sh", "-c", script])
    give_up_at = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    status = Path(f"/proc/{int(file.read_text())}/status")
    process.kill()
    process.wait(60)
    while status.exists() and "\nState:\tZ" not in status.read_text():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
