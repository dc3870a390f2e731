"""Two members of a mesh as a tunnel: what two meshnodes agree on is in it.

The one founds the network and invites the other; both nodes stay in the foreground, so
that the laboratory ends them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path

from topology.checks import await_answer
from topology.hosts import Host, Port, wait_until
from topology.mesh import START_TIMEOUT, environment, installed_command
from topology.processes import LabError
from topology.tunnels import LISTEN_PORT, Joined

NETWORK = "bench"

_CIDR = "10.96.0.0/24"
_DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Members:
    """Two members of a mesh of two, with a data-plane engine."""

    engine: str
    name: str = "meshnode mesh"

    def version(self) -> str:
        """The version of meshnode."""
        return package_version("meshnode")

    def join(self, left: Port, right: Port) -> Joined:
        """Found a mesh on the left host and let the right one join it."""
        founder, other = _Member(left), _Member(right)
        founder.run(
            *("network", "create", NETWORK, "--cidr", _CIDR, "--name", "left"),
            *("--listen-port", str(LISTEN_PORT), "--no-passphrase"),
            *("--advertise", f"{left.v4}:{LISTEN_PORT}"),
        )
        founder.start(self.engine)
        token = founder.run("invite", "-n", NETWORK, "--name", "right").strip()
        other.run(
            *("join", "-", "--no-up", "--name", "right"),
            *("--listen-port", str(LISTEN_PORT)),
            stdin=token,
        )
        other.start(self.engine)
        ends = founder.addresses(), other.addresses()
        joined = Joined(
            left.host, right.host, ends[0][4], ends[1][4], ends[0][6], ends[1][6]
        )
        await_answer(left.host, joined.right_v4, _DEADLINE)
        return joined


class _Member:
    """One node, told what to do by its command line."""

    def __init__(self, port: Port) -> None:
        self._host: Host = port.host
        self._name = port.host.name

    @property
    def _variables(self) -> Mapping[str, str]:
        return environment(self._host.lab.directory, self._name)

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run `meshnode WORDS…` and return what it printed."""
        for path in self._variables.values():
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._host.run(
            [*installed_command(), *words],
            timeout=START_TIMEOUT,
            environment=self._variables,
            stdin=stdin,
        ).stdout

    def start(self, engine: str) -> None:
        """Choose the engine, start the node, and wait until it has its addresses."""
        config = Path(self._variables["MESHNODE_CONFIG_DIR"], f"{NETWORK}.toml")
        lines = config.read_text().splitlines()
        lines = [line for line in lines if not line.startswith("engine =")]
        lines.insert(lines.index("[node]") + 1, f'engine = "{engine}"')
        config.write_text("\n".join(lines) + "\n")
        process = self._host.start(
            [*installed_command(), "up", NETWORK, "--foreground"],
            environment=self._variables,
        )

        def ready() -> bool:
            if not process.is_running:
                raise LabError(f"ended at once:\n{process.output}")
            return len(self.addresses()) == 2

        wait_until(ready, f"{self._name} is up", timeout=START_TIMEOUT)

    def addresses(self) -> dict[int, str]:
        """Return the overlay addresses by IP version."""
        versions = {"inet": 4, "inet6": 6}
        return {
            versions[entry["family"]]: entry["local"]
            for link in self._host.ip("-j address")
            for entry in link["addr_info"]
            if link["ifname"] == NETWORK and entry["scope"] == "global"
        }
