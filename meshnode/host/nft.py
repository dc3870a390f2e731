"""The `nft` program: load rules, delete a table, ask whether one is there.

A process for each request, a few milliseconds; the kernel takes a whole load or
nothing of it. It acts in the network namespace of the calling thread.
"""

import errno
import os
import shutil
import subprocess

from meshnode.errors import HostError, PrivilegeError

FAMILY = "inet"

_SYSTEM_DIRECTORIES = "/usr/sbin:/sbin:/usr/bin:/bin"
_TIMEOUT = 20.0
"""Seconds; thousands of rules take less than one."""


def require() -> None:
    """Raise `HostError` (ENOENT) if nft is missing; journal nothing before."""
    _program()


def load(rules: str) -> None:
    """Load *rules*, all or nothing.

    Raises:
        HostError: if nft is missing (ENOENT) or refuses them.
        PrivilegeError: without CAP_NET_ADMIN.
    """
    outcome = _run(["-f", "-"], rules)
    if outcome.returncode:
        raise _refused("load firewall rules", outcome)


def check(rules: str) -> None:
    """Raise what `load` would raise; nothing is changed."""
    outcome = _run(["-c", "-f", "-"], rules)
    if outcome.returncode:
        raise _refused("load firewall rules", outcome)


def ask(arguments: list[str]) -> str:
    """Return what nft answers in JSON; raises `HostError` as `load` does."""
    outcome = _run(["-j", *arguments])
    if outcome.returncode:
        raise _refused("read firewall rules", outcome)
    return outcome.stdout


def has_table(name: str) -> bool:
    """Whether the table *name* is there; raises `HostError` as `load` does."""
    outcome = _run(["list", "tables", FAMILY])
    if outcome.returncode:
        raise _refused("list firewall tables", outcome)
    return f"table {FAMILY} {name}" in outcome.stdout.splitlines()


def delete_table(name: str) -> bool:
    """Delete the table *name*; False if it was not there; raises as `load` does."""
    if not has_table(name):
        return False
    # Adding it first makes deleting succeed even if somebody just did.
    load(f"add table {FAMILY} {name}\ndelete table {FAMILY} {name}\n")
    return True


def _program() -> str:
    path = f"{os.environ.get('PATH', '')}:{_SYSTEM_DIRECTORIES}"
    program = shutil.which("nft", path=path)
    if program is None:
        raise HostError(
            "nft is missing: install the package nftables", errno=errno.ENOENT
        )
    return program


def _run(
    arguments: list[str], stdin: str | None = None
) -> "subprocess.CompletedProcess[str]":
    program = _program()
    try:
        return subprocess.run(
            [program, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            env={"LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"nft did not end within {_TIMEOUT:g} s", errno=errno.ETIMEDOUT
        ) from error
    except OSError as error:
        raise HostError(
            f"cannot run {program}: {error.strerror}", errno=error.errno or errno.EIO
        ) from error


def _refused(action: str, outcome: "subprocess.CompletedProcess[str]") -> HostError:
    lines = [line.strip() for line in outcome.stderr.splitlines() if line.strip()]
    reason = lines[0] if lines else f"nft ended with {outcome.returncode}"
    if "Operation not permitted" in outcome.stderr:
        return PrivilegeError(
            f"not allowed to {action}: run as root or with CAP_NET_ADMIN",
            errno=errno.EPERM,
        )
    return HostError(f"cannot {action}: {reason}", errno=errno.EINVAL)
