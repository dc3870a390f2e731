"""Where things are on this host, and what interfaces and networks may be called."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from meshnode.errors import UsageError
from meshnode.values import frozen

CONFIG_DIR = Path("/etc/meshnode")
"""What the administrator decides, a file NET.toml a network; named keys below."""

STATE_DIR = Path("/var/lib/meshnode")
"""What must survive a reboot."""

RUN_DIR = Path("/run/meshnode")
"""What is true until the next boot: the journal of host changes, sockets."""

UAPI_DIR = Path("/var/run/wireguard")
"""Where `wg` looks for sockets of userspace implementations."""

# Those of wg-quick: 15 bytes is the kernel's limit.
_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_interface_name(name: str) -> str:
    """Return *name* if a network interface can be called so; raises `UsageError`."""
    if not _INTERFACE_NAME.fullmatch(name) or name in (".", "..") or name[0] == "-":
        raise UsageError(
            f"{name!r} is no interface name: give 1 to 15 of a-z A-Z 0-9 _ = + . -"
        )
    return name


def check_network_name(name: str) -> str:
    """Return *name* if a network can be called so; raises `UsageError`."""
    if not _LABEL.fullmatch(name):
        raise UsageError(
            f"{name!r} is no network name: give 1 to 63 of a-z 0-9 -, no - at the ends"
        )
    return name


def uapi_socket(interface: str, directory: Path = UAPI_DIR) -> Path:
    """Return the path of the interface's userspace-API socket in *directory*.

    Raises:
        UsageError: if no interface can be called so.
    """
    return directory / f"{check_interface_name(interface)}.sock"


def _below(base: str | None, home: str, otherwise: str) -> Path:
    # A path that is not absolute must be ignored, says the specification.
    found = Path(base) if base and base.startswith("/") else Path(home, otherwise)
    return found / "meshnode"


@frozen
class Directories:
    """The four directories of a host, so that several nodes can share its files.

    Their methods raise `UsageError` for what cannot be the name of a network.
    """

    config: Path = CONFIG_DIR
    state: Path = STATE_DIR
    run: Path = RUN_DIR
    uapi: Path = UAPI_DIR

    @classmethod
    def of_user(cls, environment: Mapping[str, str]) -> "Directories":
        """Return where a user who is not root has them (XDG Base Directory 0.8).

        HOME, XDG_CONFIG_HOME, XDG_STATE_HOME and XDG_RUNTIME_DIR count; without the
        last, what holds until the next boot is in the state directory.
        """
        home = environment.get("HOME") or "/nonexistent"
        state = _below(environment.get("XDG_STATE_HOME"), home, ".local/state")
        runtime = environment.get("XDG_RUNTIME_DIR")
        run = _below(runtime, home, "") if runtime else state / "run"
        return cls(
            config=_below(environment.get("XDG_CONFIG_HOME"), home, ".config"),
            state=state,
            run=run,
            uapi=run / "wireguard",
        )

    @classmethod
    def usual(cls) -> "Directories":
        """Return where this user has them."""
        return cls() if os.geteuid() == 0 else cls.of_user(os.environ)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Directories":
        """Read MESHNODE_CONFIG_DIR, _STATE_DIR, _RUN_DIR and _UAPI_DIR.

        What is not set, or empty, is where root has it.
        """

        def directory(name: str, default: Path) -> Path:
            text = environment.get(f"MESHNODE_{name}_DIR")
            return Path(text).absolute() if text else default

        return cls(
            config=directory("CONFIG", CONFIG_DIR),
            state=directory("STATE", STATE_DIR),
            run=directory("RUN", RUN_DIR),
            uapi=directory("UAPI", UAPI_DIR),
        )

    def config_file(self, network: str) -> Path:
        """Return the path of the network's configuration."""
        return self.config / f"{check_network_name(network)}.toml"

    def state_dir(self, network: str) -> Path:
        """Return the directory of the network's keys and state, of mode 0700."""
        return self.state / check_network_name(network)

    def api_socket(self, network: str) -> Path:
        """Return the path of the socket that the network's node is asked at."""
        return self.run / f"{check_network_name(network)}.sock"
