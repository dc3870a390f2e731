"""Dropping privileges, for real, in processes made for the purpose."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from meshnode.host.privileges import (
    CAP_NET_ADMIN,
    CAP_NET_BIND_SERVICE,
    CARRIER_GROUP,
    NOBODY,
)

pytestmark = pytest.mark.root

IMPORTS = """
import dataclasses, json, os, resource, socket
from meshnode.host import libc, privileges
from meshnode.host.privileges import current_privileges
"""
REPORT = """
report = dataclasses.asdict(current_privileges())
report["dumpable"] = libc.call("prctl", 3, 0, 0, 0, 0)
report["core"] = resource.getrlimit(resource.RLIMIT_CORE)
"""
ONLY_NET_ADMIN = 1 << CAP_NET_ADMIN


def run(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        **options,  # type: ignore[call-overload]
    )


def report_after(drop: str, more: str = "") -> dict[str, object]:
    """Return what a process may do after calling *drop*, then running *more*."""
    program = (
        f"{IMPORTS}\nprivileges.{drop}()\n{REPORT}\n{more}\nprint(json.dumps(report))"
    )
    done = run(program, extra_groups=[4, 27])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert isinstance(report, dict)
    return report


def test_worker_has_nothing() -> None:
    """A worker is nobody, in no group, with every capability set empty."""
    report = report_after("drop_to_worker")
    assert report["uids"] == [NOBODY] * 4
    assert report["gids"] == [NOBODY] * 4
    assert report["groups"] == []
    for name in ("inheritable", "permitted", "effective", "bounding", "ambient"):
        assert report[name] == 0, name
    assert report["no_new_privs"] is True
    assert report["dumpable"] == 0
    assert report["core"] == [0, 0]


def test_control_keeps_one_capability() -> None:
    """Control has CAP_NET_ADMIN, can get no other, and is in no group."""
    report = report_after("drop_to_control")
    assert report["permitted"] == ONLY_NET_ADMIN
    assert report["effective"] == ONLY_NET_ADMIN
    assert report["bounding"] == ONLY_NET_ADMIN
    assert report["inheritable"] == report["ambient"] == 0
    assert report["uids"] == [0] * 4
    assert report["groups"] == []
    assert report["no_new_privs"] is True
    assert report["dumpable"] == 0
    assert report["core"] == [0, 0]


def test_the_proxy_process_may_only_listen() -> None:
    """It is nobody, of a group that rules know, with CAP_NET_BIND_SERVICE."""
    attempt = """
with socket.socket() as one:
    one.bind(("127.0.0.1", 1))
"""
    report = report_after("drop_to_proxy", attempt)
    only = 1 << CAP_NET_BIND_SERVICE
    assert report["uids"] == [NOBODY] * 4
    assert report["gids"] == [CARRIER_GROUP] * 4
    assert report["groups"] == []
    assert report["permitted"] == report["effective"] == report["bounding"] == only
    assert report["inheritable"] == report["ambient"] == 0
    assert report["no_new_privs"] is True
    assert report["dumpable"] == 0


def test_worker_cannot_come_back() -> None:
    """Neither setuid nor a program of root's gives anything back."""
    attempt = """
for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        call()
    except PermissionError:
        continue
    raise SystemExit("a privilege came back")
"""
    assert report_after("drop_to_worker", attempt)["effective"] == 0


def test_control_gets_nothing_by_running_a_program() -> None:
    """A program that control runs as root has CAP_NET_ADMIN at the very most."""
    program = (
        "import subprocess\nfrom meshnode.host.privileges import drop_to_control\n"
        "drop_to_control()\n"
        "print(subprocess.check_output(['cat', '/proc/self/status'], text=True))"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr
    fields = dict(line.split(":\t") for line in done.stdout.splitlines() if line)
    assert int(fields["CapEff"], 16) | int(fields["CapPrm"], 16) == ONLY_NET_ADMIN


def test_control_may_still_administer_the_network() -> None:
    """The capability that is kept works."""
    attempt = """
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)
"""
    assert report_after("drop_to_control", attempt)["effective"] == ONLY_NET_ADMIN


@pytest.mark.parametrize("drop", ["drop_to_worker", "drop_to_control", "drop_to_proxy"])
def test_dropping_without_the_right_to_is_an_error(drop: str) -> None:
    """A process that cannot drop does not go on as if it had."""
    program = (
        "import os\nfrom meshnode.errors import PrivilegeError\n"
        "from meshnode.host import privileges\n"
        "os.setresuid(0, 65534, 0)\n"
        f"try:\n    privileges.{drop}()\n"
        "except PrivilegeError as error:\n    print(error)\n"
    )
    done = run(program)
    assert "start as root" in done.stdout, done.stderr


def test_net_admin_is_required() -> None:
    """Root passes; without the capability the error has exit code 5."""
    program = (
        "from meshnode.errors import PrivilegeError\n"
        "from meshnode.host import privileges\n"
        "privileges.require_net_admin()\n"
        "privileges.drop_to_worker()\n"
        "try:\n    privileges.require_net_admin()\n"
        "except PrivilegeError as error:\n    print(error.exit_code, error)\n"
    )
    done = run(program)
    assert done.stdout.startswith("5 CAP_NET_ADMIN is missing"), done.stderr


PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())],
                         stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
signal.pause()
"""
CHILD = """
import os, signal, sys
from meshnode.host.privileges import die_with_parent, drop_to_worker
drop_to_worker()
die_with_parent(int(sys.argv[1]), signal.SIGKILL)
print(os.getpid(), flush=True)
signal.pause()
"""


def test_child_dies_with_its_parent() -> None:
    """A worker whose parent is killed is killed by the kernel."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    try:
        # Not our child, so only its descriptor tells that it ended.
        assert select.select([child], [], [], 10)[0], "the child lives on"
    finally:
        os.close(child)


def test_parent_that_died_before_is_noticed() -> None:
    """When the parent is another process already, the signal comes at once."""
    program = (
        "import signal\nfrom meshnode.host.privileges import die_with_parent\n"
        "die_with_parent(1 << 22, signal.SIGTERM)\nsignal.pause()\n"
    )
    assert run(program).returncode == -signal.SIGTERM
