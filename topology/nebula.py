"""nebula as a tunnel between two hosts, with a certificate authority of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topology.checks import await_answer
from topology.hosts import Port
from topology.processes import run
from topology.tunnels import TUNNEL_MTU, Joined

LISTEN_PORT = 4242

_DEADLINE = 20.0

_CONFIG = """\
pki:
  ca: {directory}/ca.crt
  cert: {directory}/{name}.crt
  key: {directory}/{name}.key
static_host_map: {{"{far_inner}": ["{far_outer}:{port}"]}}
lighthouse: {{am_lighthouse: false}}
listen: {{host: "0.0.0.0", port: {port}}}
tun: {{dev: {interface}, mtu: {mtu}}}
logging: {{level: warning}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
"""


@dataclass(frozen=True, slots=True)
class Nebula:
    """nebula with what it does by itself, but the MTU that WireGuard has.

    `program` is the path of nebula; nebula-cert lies beside it.
    """

    program: str
    name: str = "nebula"

    def version(self) -> str:
        """The version of the program."""
        return run([self.program, "-version"], timeout=5).stdout.split()[-1]

    def join(self, left: Port, right: Port) -> Joined:
        """Join two hosts that know each other's address; there is no lighthouse."""
        joined = Joined(
            left.host, right.host, "10.97.0.1", "10.97.0.2", "fd97::1", "fd97::2"
        )
        directory = left.host.lab.directory / "nebula"
        directory.mkdir(mode=0o700)
        self._certify(directory, ["ca", "-name", "bench"], "ca")
        for number, (port, far) in enumerate([(left, right), (right, left)], start=1):
            self._start(directory, port, far, number)
        await_answer(left.host, joined.right_v4, _DEADLINE)
        return joined

    def _start(self, directory: Path, port: Port, far: Port, number: int) -> None:
        name = f"node{number}"
        authority = ["-ca-crt", f"{directory}/ca.crt", "-ca-key", f"{directory}/ca.key"]
        networks = f"10.97.0.{number}/24,fd97::{number}/64"
        self._certify(
            directory,
            ["sign", *authority, "-name", name, "-networks", networks],
            name,
        )
        config = directory / f"{name}.yml"
        config.write_text(
            _CONFIG.format(
                directory=directory,
                name=name,
                far_inner=f"10.97.0.{3 - number}",
                far_outer=far.v4,
                port=LISTEN_PORT,
                interface=port.host.lab.interface_name(),
                mtu=TUNNEL_MTU,
            )
        )
        port.host.start([self.program, "-config", str(config)])

    def _certify(self, directory: Path, words: Sequence[str], name: str) -> None:
        outputs = ["-out-crt", f"{directory}/{name}.crt"]
        outputs += ["-out-key", f"{directory}/{name}.key"]
        program = str(Path(self.program).with_name("nebula-cert"))
        run([program, *words, *outputs], timeout=15)
