"""Where things are on this host, and what an interface may be called."""

import re
from pathlib import Path

from meshnode.errors import UsageError

KEY_DIR = Path("/etc/meshnode/keys")
"""Named keys."""

STATE_DIR = Path("/var/lib/meshnode")
"""What must survive a reboot."""

RUN_DIR = Path("/run/meshnode")
"""What is true until the next boot: the journal of host changes."""

UAPI_DIR = Path("/var/run/wireguard")
"""Where `wg` looks for sockets of userspace implementations."""

# Those of wg-quick: 15 bytes is the kernel's limit.
_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")


def check_interface_name(name: str) -> str:
    """Return *name* if a network interface can be called so; raises `UsageError`."""
    if not _INTERFACE_NAME.fullmatch(name) or name in (".", "..") or name[0] == "-":
        raise UsageError(
            f"{name!r} is no interface name: give 1 to 15 of a-z A-Z 0-9 _ = + . -"
        )
    return name


def uapi_socket(interface: str) -> Path:
    """Return the path of the interface's userspace-API socket."""
    return UAPI_DIR / f"{check_interface_name(interface)}.sock"
