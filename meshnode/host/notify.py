"""Tell systemd how we are (sd_notify(3)): ready, reloading, stopping, alive.

Without a service manager, which is what NOTIFY_SOCKET tells, nothing is done. A
service manager that cannot be told is logged and else ignored: the node is there for
its network. Only the main process speaks, so the unit has `NotifyAccess=main`.
"""

import logging
import os
import socket
import time
from typing import Final

SEND_TIMEOUT: Final = 1.0
"""Seconds to wait for a service manager whose queue is full."""

_log = logging.getLogger("meshnode.host")


def notify_ready() -> None:
    """Say that the service can be used now, or again after a reload."""
    _notify("READY=1")


def notify_reloading() -> None:
    """Say that the configuration is read again; `notify_ready` ends it."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _notify("RELOADING=1", f"MONOTONIC_USEC={now}")


def notify_stopping() -> None:
    """Say that the service ends."""
    _notify("STOPPING=1")


def notify_status(text: str) -> None:
    """Show *text* in `systemctl status`, on one line."""
    _notify(f"STATUS={' '.join(text.split())}")


def notify_alive() -> None:
    """Say that we are not stuck, at least every `watchdog_interval`."""
    _notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Return every how many seconds `notify_alive` is due, None for never.

    It is half of the time after which the service manager takes us for stuck.
    """
    of = os.environ.get("WATCHDOG_PID")
    text = os.environ.get("WATCHDOG_USEC", "")
    if of not in (None, str(os.getpid())):
        return None
    if not (text.isascii() and text.isdigit()) or not int(text):
        return None
    return int(text) / 2e6


def _notify(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] not in "/@":
        _log.warning("NOTIFY_SOCKET is no path: the service manager is not told")
        return
    if address[0] == "@":
        address = "\0" + address[1:]  # an abstract socket (unix(7))
    try:
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        ) as sender:
            sender.settimeout(SEND_TIMEOUT)
            sender.connect(address)
            sender.send("\n".join(lines).encode(errors="replace"))
    except OSError as error:
        _log.warning("the service manager cannot be told %s: %s", lines[0], error)
