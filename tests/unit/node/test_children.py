"""One child: started, collected, started again."""

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.node import children
from meshnode.node.children import (
    Child,
    close_on_exec,
    describe_end,
    end_children,
    spawn,
)
from tests.unit.node.test_tasks import WORKER

_IN = ("udp4_fd", "program_fd")
_OUT = ("handshakes_fd", "traffic_fd", "counters_fd", "sessions_fd", "tap_fd")


def start(program: str) -> int:
    """Start a small Python program and return its process id."""
    return os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)


def await_end(child: Child) -> None:
    """Wait until the pidfd says that the child has ended."""
    assert select.select([child.fileno()], [], [], 30)[0]


def test_a_child_is_started_when_due_and_collected() -> None:
    """At first it is due at once; a crash is told with its exit code."""
    child = Child("control", lambda: start("raise SystemExit(3)"))
    assert child.is_due(0.0)
    child.start(now=100.0)
    assert child.is_running
    assert not child.is_due(1e9)
    await_end(child)
    assert child.collect(now=100.0) == "exit code 3"
    assert not child.is_running
    assert child.is_due(100.0)


def test_a_crash_loop_backs_off() -> None:
    """The second crash in a row waits."""
    child = Child("control", lambda: start("raise SystemExit(1)"))
    for _ in range(2):
        child.start(now=100.0)
        await_end(child)
        child.collect(now=100.0)
    assert not child.is_due(100.0)
    assert child.is_due(100.2)


def test_a_start_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Without processes to be had we go on and log why."""

    def refuse() -> int:
        raise HostError("no more processes")

    child = Child("control", refuse)
    child.start(now=1.0)
    assert not child.is_running
    assert child.is_due(1.0)
    assert "no more processes" in caplog.text


def test_children_that_obey_are_not_killed(caplog: pytest.LogCaptureFixture) -> None:
    """SIGTERM is enough for those that do not resist."""
    child = Child("control", lambda: start("import time; time.sleep(60)"))
    child.start(now=0.0)
    end_children([child])
    assert not child.is_running
    assert "killed" not in caplog.text


def test_children_that_resist_are_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the grace SIGKILL follows, and it is said."""
    monkeypatch.setattr(children, "END_GRACE", 0.1)
    # Ignored from before it runs, so the signal cannot come too early.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = Child("control", lambda: start("import time; time.sleep(60)"))
    child.start(now=0.0)
    signal.signal(signal.SIGTERM, before)
    end_children([child])
    assert not child.is_running
    assert "does not end: killed" in caplog.text


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (os.CLD_EXITED, 1, "exit code 1"),
        (os.CLD_KILLED, signal.SIGKILL, "signal SIGKILL"),
        (os.CLD_DUMPED, signal.SIGSEGV, "signal SIGSEGV"),
        (os.CLD_KILLED, 63, "signal 63"),
    ],
)
def test_an_end_has_a_name(code: int, status: int, text: str) -> None:
    """Exit codes and signals are told apart."""
    assert describe_end(code, status) == text


def test_a_child_gets_its_descriptors_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same numbers, a clean environment, and no stray descriptor."""
    script = tmp_path / "python"
    script.write_text(
        f"#!/bin/sh\nls /proc/self/fd > {tmp_path}/fds\nenv > {tmp_path}/env\n"
        f'echo "$@" > {tmp_path}/arguments\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("SECRET", "1")
    reading, writing = os.pipe()
    stray = os.dup(reading)
    os.set_inheritable(stray, True)
    close_on_exec()
    fields = dict.fromkeys(_IN, reading) | dict.fromkeys(_OUT, writing)
    links = {"tun_fds": (reading,), "roaming_fds": (reading, writing)}
    pid = spawn(type(WORKER)(**{**_values(), **fields, **links}))
    os.waitpid(pid, 0)
    listed = {int(line) for line in (tmp_path / "fds").read_text().split()}
    # `ls` has one of its own for the listing.
    assert listed - {0, 1, 2, reading, writing} <= {
        min(set(range(3, 99)) - {reading, writing})
    }
    assert "SECRET" not in (tmp_path / "env").read_text()
    assert "meshnode.node.child ingress-1 " in (tmp_path / "arguments").read_text()
    for descriptor in (reading, writing, stray):
        os.close(descriptor)


def _values() -> dict[str, object]:
    return {name: getattr(WORKER, name) for name in type(WORKER).__slots__}
