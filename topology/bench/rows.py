"""The tunnels that are measured, by the name the command line gives them."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from topology.members import Members
from topology.nebula import Nebula
from topology.processes import LabError
from topology.tunnels import Tinc, Tunnel, Veth, meshnode, wireguard_go

NEWEST = Path(__file__).parents[2] / "tools" / "newest"

_FACTORIES: Mapping[str, Callable[[], Tunnel]] = {
    "fast": lambda: meshnode("fast"),
    "reference": lambda: meshnode("reference"),
    "mesh": lambda: Members("fast"),
    "veth": Veth,
    "wireguard-go": lambda: wireguard_go(_newest("wireguard-go")),
    "tinc": Tinc,
    "nebula": lambda: Nebula(_newest("nebula")),
}

ROWS = tuple(_FACTORIES)
BASELINES = ("wireguard-go", "tinc", "nebula")
"""The tunnels that others are compared with."""


def tunnel(name: str) -> Tunnel:
    """Return the tunnel that the command line calls *name*.

    Raises:
        LabError: if its program cannot be had.
    """
    return _FACTORIES[name]()


def _newest(name: str) -> str:
    found = subprocess.run(
        [NEWEST, name], stdout=subprocess.PIPE, text=True, check=False
    )
    path = found.stdout.strip()
    if not shutil.which(path):
        raise LabError(f"{name} cannot be had: apt-get install {name}")
    return path
