"""What a laboratory may leave behind, and how to find and remove it.

Everything a laboratory makes carries its tag `ml<pid>z<random>` in its name. So
leftovers can be told from a living laboratory's things, and a laboratory that was
killed (SIGKILL) can be swept up by anyone: `python -m topology.leaks --sweep`. One
that is kept on purpose (`tools/lab up`) has a tag `mk<random>` and is left alone.
"""

import json
import os
import re
import secrets
import sys
from pathlib import Path

from topology.processes import LabError, end_processes_in, processes_in, run

NAMESPACES = Path("/run/netns")
UAPI_SOCKETS = Path("/var/run/wireguard")

_TAG = re.compile(r"ml([0-9a-f]{1,6})z[a-y0-9]{3}")
_LETTERS = "abcdefghijklmnopqrstuvwxy0123456789"


class LeakFound(LabError):
    """Something was left behind; the message names each thing."""


def new_tag() -> str:
    """Return a fresh tag: at most 12 characters, 3 are left for an interface."""
    return f"ml{os.getpid():x}z{''.join(secrets.choice(_LETTERS) for _ in range(3))}"


def kept_tag() -> str:
    """Return a fresh tag for what outlives its process: no sweep takes it for dead."""
    return f"mk{''.join(secrets.choice(_LETTERS) for _ in range(6))}"


def namespaces_of(tag: str) -> dict[str, int]:
    """Return the names of the tag's network namespaces with their inodes."""
    if not NAMESPACES.is_dir():
        return {}
    return {
        path.name: path.stat().st_ino
        for path in sorted(NAMESPACES.iterdir())
        if path.name.startswith(tag)
    }


def uapi_sockets_of(tag: str) -> list[Path]:
    """Return the userspace-API sockets of the tag's interfaces.

    The directory is shared by all network namespaces: it belongs to the file system.
    """
    return sorted(UAPI_SOCKETS.glob(f"{tag}*.sock"))


def find_leaks(tag: str) -> list[str]:
    """Name everything that carries *tag* still; empty if all is clean."""
    namespaces = namespaces_of(tag)
    found = [f"namespace {name}" for name in namespaces]
    found += [f"process {pid}" for pid in processes_in(namespaces.values())]
    found += [f"socket {path}" for path in uapi_sockets_of(tag)]
    links = json.loads(run(["ip", "-j", "link"], timeout=10).stdout)
    found += [
        f"interface {link['ifname']} on the machine itself"
        for link in links
        if link["ifname"].startswith(tag)
    ]
    tables = run(["nft", "list", "tables"], timeout=10, check=False).stdout
    found += [f"nft {line}" for line in tables.splitlines() if tag in line]
    return found


def sweep(tag: str) -> list[str]:
    """Remove everything that carries *tag*; return what it was."""
    namespaces = namespaces_of(tag)
    swept = end_processes_in(namespaces.values())
    for path in uapi_sockets_of(tag):
        path.unlink(missing_ok=True)
        swept.append(f"socket {path}")
    for name in namespaces:
        run(["ip", "netns", "delete", name], timeout=10, check=False)
        swept.append(f"namespace {name}")
    return swept


def abandoned_tags() -> list[str]:
    """Return the tags whose laboratory's process is no longer there."""
    names = [path.name for path in UAPI_SOCKETS.glob("ml*.sock")]
    if NAMESPACES.is_dir():
        names += [path.name for path in NAMESPACES.iterdir()]
    matches = [match for name in names if (match := _TAG.match(name))]
    return sorted(
        {
            match.group()
            for match in matches
            if not Path(f"/proc/{int(match[1], 16)}").exists()
        }
    )


def main(arguments: list[str]) -> int:
    """List what dead laboratories left, or with `--sweep` remove it.

    Returns 1 if anything was found, else 0.
    """
    status = 0
    for tag in abandoned_tags():
        things = sweep(tag) if "--sweep" in arguments else find_leaks(tag)
        for thing in things:
            print(f"left behind: {thing}")
            status = 1
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
