"""A founded network on disk, and its first node in this process, without a network.

The verbs of the control socket are called as the socket would, but at once: none of
those here waits for anything.
"""

import os
import time
from pathlib import Path
from typing import Any

from meshnode.errors import MeshnodeError
from meshnode.manage.api_client import NotRunningError, RemoteError
from meshnode.manage.api_protocol import parse_request, serialise_request
from meshnode.manage.identity import load_identity
from meshnode.manage.paths import Directories
from meshnode.manage.state import FILE_NAME, StateStore
from meshnode.manage.toml_reader import Table
from meshnode.mesh.node import MeshNode
from meshnode.mesh.settings import IssuerIdentity, NodeIdentity, NodeSettings
from meshnode.node.founding import FoundingRequest, found
from meshnode.node.mesh_admin import MeshAdmin
from meshnode.node.mesh_diagnosis import MeshDiagnosis
from meshnode.node.mesh_papers import MeshPapers
from meshnode.node.mesh_trace import MeshTrace
from meshnode.wireguard.config import DeviceStatus
from tests.mesh_wire import Mailbox

NOW = 1000.0
PORT_MAPPING = {"router": "192.0.2.254:5351"}


def directories_in(path: Path) -> Directories:
    """Return the directories of a host below *path*, which are made."""
    for name in ("config", "state", "run", "uapi"):
        (path / name).mkdir(parents=True, mode=0o700, exist_ok=True)
    return Directories(path / "config", path / "state", path / "run", path / "uapi")


def found_home(directories: Directories, passphrase: bytes | None = None) -> None:
    """Found the network `home` with the node `gate`."""
    request = FoundingRequest(
        network="home",
        cidr="10.77.0.0/16",
        node="gate",
        listen_port=51820,
        interface=None,
        advertise=("gate.example.org:51820",),
        accept_routes=True,
        subnets=("192.168.7.0/24",),
    )
    found(request, directories, passphrase=passphrase)


class RunningNode:
    """The node of `home`, as far as verbs about papers go; stands for its shell."""

    def __init__(self, directories: Directories) -> None:
        self.directories = directories
        state_dir = directories.state_dir("home")
        kept = load_identity(state_dir)
        issuing = kept.issuing
        self._store = StateStore.open(state_dir / FILE_NAME)
        self.node = MeshNode(
            NodeIdentity(
                kept.network_id,
                kept.private_key,
                kept.signing_key,
                kept.certificate,
                kept.issuer,
                kept.charters,
                None
                if issuing is None
                else IssuerIdentity(issuing.key, issuing.envelope),
            ),
            NodeSettings("home", 10900, 1, 1420, 51820),
            self._store.load(),
            tunnels=Mailbox(),
            entropy=os.urandom,
            now=NOW,
            wall=time.time(),
        )
        self.node.start(now=NOW, wall=time.time())
        self.drain()
        self.steered: dict[str, Any] | None = None
        shell: Any = self
        self._verbs: dict[str, Any] = {
            **MeshAdmin(
                shell, entropy=os.urandom, places=lambda: ("gate.example.org:51820",)
            ).verbs(),
            **MeshPapers(shell).verbs(),
            **MeshTrace(shell, _device, lambda *_: self.steered).verbs(),
            **MeshDiagnosis(shell, _device, lambda: [PORT_MAPPING]).verbs(),
        }

    def drain(self) -> None:
        """Keep what the node decided."""
        self._store.apply(self.node.outbox.changes)
        self.node.outbox.changes = []

    async def await_plans(self) -> None:
        """Nothing is done to the host, so it is done."""

    def close(self) -> None:
        """End it."""
        self._store.close()

    def call(
        self, directories: Any, network: str, verb: str, /, **args: Any
    ) -> dict[str, Any]:
        """Stand for `manage.api_client.call`; a verb not asked here is not known."""
        if verb not in self._verbs:
            raise NotRunningError(f"network {network} is not up, for {verb}")
        request = parse_request(serialise_request(verb, args)[:-1])
        answer = self._verbs[request.verb](Table(request.args, request.verb))
        try:
            answer.send(None)
        except StopIteration as done:
            return dict(done.value)
        except MeshnodeError as error:
            raise RemoteError(str(error), error.exit_code) from None
        raise AssertionError(f"{verb} waits for something")


def _device() -> DeviceStatus:
    return DeviceStatus(None, 51820, 0, [])
