"""Applications that know of no proxy go where rules say, and leave no trace."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.mesh_parts import (
    PATIENCE,
    MeshHost,
    Site,
    found_mesh,
    traces,
)
from topology.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.root

HERE = Path(__file__).parent
WEB = ("198.51.100.7", "198.51.100.8", "2001:db8:100::7")
CGROUPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]

ASK = """
import socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, 2)
one.settimeout(5)
one.connect((sys.argv[1], int(sys.argv[2])))
for number in range(3):
    one.send(b"%d" % number)
    print(one.recv(2000).decode())
"""


@dataclass
class Street:
    """`ann` steers; `exit` is a member with a SOCKS server, `proxy` none; and `web`."""

    ann: MeshHost
    exit: MeshHost
    proxy: Host
    web: Host
    ann_address: str

    def steer(self, *rules: str) -> None:
        """Let these be the rules, in force when this returns."""
        text = self.ann.config_file.read_text().partition("[[steer]]")[0]
        tables = [f"[[steer]]\n{rule}\n" for rule in rules]
        self.ann.config_file.write_text(text + "\n".join(tables))
        self.ann.run("reload")

    def fetch(self, address: str, *words: str, port: int = 80) -> str:
        """Return the address that a web server sees, or curl's exit code."""
        host = f"[{address}]" if ":" in address else address
        command = ["curl", "-sS", "-m", "8", "--noproxy", "*", f"http://{host}:{port}/"]
        result = self.ann.host.run([*words, *command], check=False)
        return result.stdout or str(result.returncode)

    def ask(self, address: str, port: int = 53) -> list[str]:
        """Return what a UDP server answers to three datagrams of one socket."""
        command = [sys.executable, "-c", ASK, address, str(port)]
        result = self.ann.host.run(command, check=False)
        return result.stdout.splitlines() or [result.stderr.splitlines()[-1]]


def serve(host: Host, program: str, *words: str) -> None:
    """Start a program of ours, and wait until it serves."""
    command = [sys.executable, str(HERE / program), *words]
    # Its standard input never ends: it is a pipe that has itself for a writer.
    pipe = host.lab.directory / f"{host.name}-{program}"
    os.mkfifo(pipe)
    process = host.start(["sh", "-c", f'exec "$0" "$@" <> {pipe}', *command])
    wait_until(lambda: "ready" in process.output, f"{program} serves", timeout=PATIENCE)


@pytest.fixture
def street(lab: Lab) -> Iterator[Street]:
    """Two members, a proxy and a web server on one segment."""
    site = Site(lab)
    ann, away = found_mesh(site, "ann", "exit")
    ann.configure(log_level="debug")
    ann.down()
    ann.up()
    ann.host.ip("address add 2001:db8::1/64 dev lan nodad")
    proxy, web = (
        site.port(lab.host("proxy"), v6=True),
        site.port(lab.host("web"), v6=True),
    )
    for host in (ann.host, away.host, proxy.host):
        host.ip(f"route add 198.51.100.0/24 via {web.v4}")
    for host in (ann.host, proxy.host):
        host.ip(f"route add 2001:db8:100::/48 via {web.v6}")
    for address in WEB:
        web.host.add_address("lo", f"{address}/{128 if ':' in address else 32}")
    serve(web.host, "mirror_program.py", "80", "81", "53", *WEB)
    serve(proxy.host, "socks_program.py", f"{proxy.v4}:1080")
    serve(away.host, "socks_program.py", f"{away.address}:1080")
    yield Street(ann, away, proxy.host, web.host, ann.port.v4)
    for member in (ann, away):
        member.down()


def test_rules_send_traffic_where_they_say(street: Street) -> None:
    """By prefix, port, user and group, for TCP and UDP; and back when they are gone."""
    ann = street.ann
    before = traces(ann.host)
    ours, proxied, exited = street.ann_address, "198.18.0.3", "198.18.0.2"
    assert street.fetch(WEB[0]) == ours
    via = 'via = "socks5://198.18.0.3:1080"'
    street.steer(
        'to = ["198.51.100.7/32"]\nports = ["tcp:81"]\nvia = "refuse"',
        'to = ["198.51.100.7/32"]\nusers = ["12345"]\nvia = "direct"',
        f'to = ["198.51.100.8", "2001:db8:100::/48"]\n{via}',
        'to = ["198.51.100.0/24"]\nports = ["tcp:80", "udp:50-60"]\nvia = "exit:exit"',
    )
    print(ann.host.run("nft list ruleset").stdout)
    assert street.fetch(WEB[0]) == exited
    assert street.fetch(WEB[1]) == proxied
    assert street.fetch(WEB[2]) == "2001:db8::3"
    assert street.fetch(WEB[0], port=81) == "7"  # refused
    alice = ["setpriv", "--reuid=12345", "--clear-groups"]
    assert street.fetch(WEB[0], *alice) == ours
    assert street.ask(WEB[0]) == [f"{exited} {n}" for n in range(3)]
    assert street.ask(WEB[1]) == [f"{proxied} {n}" for n in range(3)]
    assert street.ask(WEB[2]) == [f"2001:db8::3 {n}" for n in range(3)]
    print(ann.run("steer", "list").stdout)
