"""What systemd is told, and the unit that it reads."""

import logging
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.host import notify
from meshnode.host.notify import (
    notify_alive,
    notify_ready,
    notify_reloading,
    notify_status,
    notify_stopping,
    watchdog_interval,
)

UNIT = Path(notify.__file__).parents[1] / "data" / "meshnode@.service"


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A service manager that listens."""
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@meshnode-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield manager


def test_each_word_is_one_datagram(manager: socket.socket) -> None:
    """In the words of sd_notify."""
    notify_ready()
    notify_stopping()
    notify_alive()
    notify_status("3 members,\n2 up")
    words = [manager.recv(4096) for _ in range(4)]
    assert words == [
        b"READY=1",
        b"STOPPING=1",
        b"WATCHDOG=1",
        b"STATUS=3 members, 2 up",
    ]


def test_a_reload_has_its_time(manager: socket.socket) -> None:
    """The service manager compares it with the time of its own request."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify_reloading()
    first, _, second = manager.recv(4096).partition(b"\n")
    assert first == b"RELOADING=1"
    name, _, number = second.partition(b"=")
    assert name == b"MONOTONIC_USEC"
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert before <= int(number) <= now


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_service_manager_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str | None,
) -> None:
    """That is the normal case of a terminal."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_ready()
    assert not caplog.records


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1", "relative"])
def test_a_service_manager_that_cannot_be_told_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """And does no other harm."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify_ready()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_service_manager_that_does_not_read_is_not_waited_for(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue has a bound; the rest is lost."""
    monkeypatch.setattr(notify, "SEND_TIMEOUT", 0.01)
    sent = 0
    with pytest.MonkeyPatch.context() as patch:
        warnings: list[object] = []
        patch.setattr(notify._log, "warning", lambda *args: warnings.append(args))
        while not warnings:
            notify_status("x" * 1000)
            sent += 1
            assert sent < 100_000


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("10000000", None, 5.0),
        ("10000000", "ours", 5.0),
        ("10000000", "1", None),
        (None, None, None),
        ("0", None, None),
        ("x", None, None),
        ("-5", None, None),
        ("१", None, None),
    ],
)
def test_the_watchdog_is_served_twice_as_often_as_it_asks(
    monkeypatch: pytest.MonkeyPatch,
    usec: str | None,
    pid: str | None,
    interval: float | None,
) -> None:
    """If it asks this process."""
    values = {
        "WATCHDOG_USEC": usec,
        "WATCHDOG_PID": str(os.getpid()) if pid == "ours" else pid,
    }
    for name, value in values.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == interval


def test_the_unit_says_what_a_node_needs() -> None:
    """Its type, its commands, and the capabilities that it cannot do without."""
    lines = UNIT.read_text().splitlines()
    for line in (
        "Type=notify",
        "ExecStart=meshnode up %i --foreground",
        "ExecReload=meshnode reload %i",
        "ExecStopPost=meshnode cleanup",
        "DeviceAllow=/dev/net/tun rw",
    ):
        assert line in lines
    sets = [
        line.partition("=")[2].split()
        for line in lines
        if line.startswith("CapabilityBoundingSet=")
    ]
    kept = {name for names in sets for name in names}
    # Children are started with less and ended by us, though they are of another user.
    needed = "CAP_NET_ADMIN CAP_SETPCAP CAP_SETUID CAP_SETGID CAP_KILL"
    assert kept >= set(needed.split())


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program in the place of ours, which may not be installed."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "meshnode@home.service"
    unit.write_text(
        re.sub(r"^(Exec\w+=)meshnode", r"\1/bin/true", UNIT.read_text(), flags=re.M)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
