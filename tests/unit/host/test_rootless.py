"""A network of our own: what is made there, in a process of its own."""

import errno
import os
import subprocess
import sys
from typing import Any

import pytest

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import rootless

_ENTER = """
import os, socket
from meshnode.host import rootless
from meshnode.host.namespaces import run_inside
rootless._require_tun = lambda: None
space = rootless.enter_rootless()
def look():
    with socket.create_server(("127.0.0.1", 80)) as server:
        socket.create_connection(server.getsockname(), 5).close()
    return os.listdir("/proc/thread-self/net/dev_snmp6")
assert run_inside(space, look) == ["lo"]
"""


def test_the_network_has_loopback_and_all_ports() -> None:
    """Port 80 is free for who lives there, and loopback carries."""
    done = subprocess.run(
        [sys.executable, "-c", _ENTER],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EACCES, PrivilegeError, "chmod 0666"),
        (errno.ENOENT, HostError, "modprobe tun"),
    ],
)
def test_a_driver_out_of_reach_is_told_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[Exception],
    remedy: str,
) -> None:
    """The user can do nothing about it, so the text is for root."""

    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(rootless.os, "open", fail)
    monkeypatch.setattr(rootless, "become_root", pytest.fail)
    with pytest.raises(kind, match=remedy):
        rootless.enter_rootless()
