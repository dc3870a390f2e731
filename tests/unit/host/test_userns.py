"""User namespaces: what they know, and why one cannot be had."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import PrivilegeError
from meshnode.host.userns import knows_user, refused

_ROUND_TRIP = """
import os
from meshnode.host.privileges import current_privileges
from meshnode.host.userns import become_root, become_user
uid, gid = os.getuid(), os.getgid()
become_root()
assert (os.getuid(), os.getgid()) == (0, 0)
assert current_privileges().effective >> 12 & 1
become_user(uid, gid)
assert (os.getuid(), os.getgid()) == (uid, gid)
"""


def test_we_become_root_and_ourselves_again() -> None:
    """In a process of one thread: a user namespace is entered for good."""
    done = subprocess.run(
        [sys.executable, "-c", _ROUND_TRIP],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("         0          0 4294967295\n", (0, 1, 65534)),
        ("         0       1000          1\n", (0,)),
        ("0 1000 1\n1 100000 65536\n", (0, 1, 65534)),
        ("", ()),
        ("0 x 1\n0 1\n", ()),
    ],
)
def test_who_is_known(text: str, known: tuple[int, ...]) -> None:
    """The lines of uid_map say first, outer first and count."""
    assert tuple(uid for uid in (0, 1, 65534) if knows_user(text, uid)) == known


@given(st.text(max_size=100))
def test_any_map_is_read(text: str) -> None:
    """Whatever the kernel may write, there is an answer."""
    assert knows_user(text, 65534) in (True, False)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces=10000"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_what_forbids_it_is_named(
    tmp_path: Path, name: str, value: str, remedy: str
) -> None:
    """With the kernel variable that allows it."""
    file = tmp_path / "sys" / name
    file.parent.mkdir(parents=True)
    file.write_text(f"{value}\n")
    error = refused(OSError(errno.EPERM, os.strerror(errno.EPERM)), tmp_path)
    assert isinstance(error, PrivilegeError)
    assert remedy in str(error)


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "too many"), (errno.EPERM, "seccomp")]
)
def test_other_reasons_have_a_remedy_too(
    tmp_path: Path, number: int, text: str
) -> None:
    """Even where no kernel variable tells."""
    error = refused(OSError(number, os.strerror(number)), tmp_path)
    assert text in str(error)
    assert error.exit_code == 5
