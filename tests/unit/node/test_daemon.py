"""Becoming a daemon: the parent's exit tells how the start went."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from meshnode.errors import HostError, MeshnodeError, PrivilegeError
from meshnode.node import daemon

_PROGRAM = """
import os, sys
from meshnode.errors import MeshnodeError, PrivilegeError
from meshnode.node.daemon import daemonise
try:
    starter = daemonise()
except MeshnodeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
if starter is not None:
    print("nobody reads this")
    {story}
    os._exit(0)
print("returned")
"""


def run(story: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that does *story*, and return what its parent said."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(story=story)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_parent_returns_when_the_daemon_is_ready() -> None:
    """Its exit code is 0, and the daemon holds none of its streams."""
    result = run("starter.ready(); import time; time.sleep(3)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "returned\n", "")


def test_the_parent_tells_the_error_of_the_daemon() -> None:
    """Text and exit code are those of the daemon's error."""
    result = run("starter.failed(PrivilegeError('not allowed'))")
    assert (result.returncode, result.stderr) == (5, "not allowed\n")


def test_an_unexpected_error_is_told_with_its_type() -> None:
    """A bug is no silence either."""
    result = run("starter.failed(TypeError('oops'))")
    assert (result.returncode, result.stderr) == (1, "unexpected TypeError: oops\n")


def test_a_daemon_that_dies_in_silence_is_a_failure() -> None:
    """Killed while starting: the message says what to do."""
    result = run("os._exit(7)")
    assert result.returncode == 1
    assert "--foreground" in result.stderr


def test_the_daemon_has_a_session_of_its_own() -> None:
    """It is neither in our session nor its leader, so no terminal can reach it."""
    result = run(
        "starter.failed(MeshnodeError("
        "f'{os.getsid(0)} {os.getpid()} {os.getcwd()} '"
        "+ os.readlink('/proc/self/fd/2')))"
    )
    session, pid, directory, stream = result.stderr.split()
    assert int(session) not in (os.getsid(0), int(pid))
    assert (directory, stream) == ("/", "/dev/null")


def test_silence_for_too_long_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that hangs while starting does not hang its parent."""
    monkeypatch.setattr(daemon, "START_TIMEOUT", 0.01)
    reading, writing = os.pipe()
    with pytest.raises(HostError, match="--foreground"):
        daemon._await_start(reading)
    os.close(writing)


def test_only_the_first_report_counts() -> None:
    """What goes wrong after the start is no failure of the start."""
    reading, writing = os.pipe()
    starter = daemon.Starter(writing)
    starter.ready()
    starter.failed(PrivilegeError("later"))
    daemon._await_start(reading)


def test_a_parent_that_was_killed_does_not_end_the_daemon() -> None:
    """There is nobody to report to."""
    reading, writing = os.pipe()
    os.close(reading)
    daemon.Starter(writing).failed(MeshnodeError("x" * 10_000))


def test_an_attached_process_ends_with_its_parent() -> None:
    """It reports like a daemon, in a session that it leads, and is told to end."""
    program = _PROGRAM.replace("daemonise", "attach")
    story = (
        "import pathlib, signal, time; "
        "pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()} {os.getsid(0)}'); "
        "signal.signal(signal.SIGTERM, lambda *_: ("
        "pathlib.Path(sys.argv[1]).write_text('ended'), os._exit(0))); "
        "starter.ready(); time.sleep(60)"
    )
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "told")
        done = subprocess.run(
            [sys.executable, "-c", program.format(story=story), str(file)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == "returned\n"
        give_up_at = time.monotonic() + 60
        while (told := file.read_text()) != "ended":
            pid, session = told.split() or ("", "")
            assert pid == session
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
