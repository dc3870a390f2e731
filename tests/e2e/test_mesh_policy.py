"""Who may talk to whom, with real packets."""

import sys
from collections.abc import Iterator

import pytest

from tests.e2e.mesh_parts import PATIENCE, MeshHost, Site, found_mesh, leftovers, traces
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root

_ECHO = """
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
import sys, threading
for port in sys.argv[2:]:
    server = Server((sys.argv[1], int(port)), Echo)
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
"""

_CONNECT = """
import socket, sys
place, seconds = (sys.argv[1], int(sys.argv[2])), float(sys.argv[3])
with socket.create_connection(place, timeout=seconds) as s:
    s.sendall(b"x")
    assert s.recv(1) == b"x"
"""

# Says what it got back, each time it is told to send.
_TALK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as s:
    while True:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        print("echo", flush=True)
        time.sleep(0.1)
"""

_ONE_PORT = """
default = "deny"
[[rule]]
from = ["ann"]
to = ["server"]
allow = ["tcp:8080"]
"""


_BOTH_PORTS = _ONE_PORT.replace('"tcp:8080"', '"tcp:8080", "tcp:9090"')


@pytest.fixture(scope="module")
def mesh() -> Iterator[dict[str, MeshHost]]:
    """A founder, who applies policies, a server with two services, and two users."""
    with Lab() as lab:
        site = Site(lab)
        hosts = found_mesh(site, "founder", "server", "ann", "ben")
        named = {host.name: host for host in hosts}
        server = named["server"]
        services = server.host.start(
            [sys.executable, "-c", _ECHO, server.address, "8080", "9090"]
        )
        wait_until(lambda: "ready" in services.output, "services run")
        yield named


def _connects(host: MeshHost, address: str, port: int, *, within: float = 1.0) -> bool:
    command = [sys.executable, "-c", _CONNECT, address, str(port), str(within)]
    return host.host.run(command, check=False).returncode == 0


def _apply(mesh: dict[str, MeshHost], text: str) -> int:
    """Put a policy in force on everybody; return its version."""
    founder = mesh["founder"]
    founder.run("policy", "apply", "-", stdin=text)
    version = int(founder.status()["policy"])
    for host in mesh.values():
        wait_until(
            lambda host=host: host.status()["policy"] == version,  # type: ignore[misc]
            f"{host} has the policy",
            timeout=PATIENCE,
        )
    return version


def test_only_what_is_allowed_passes(mesh: dict[str, MeshHost]) -> None:
    """Deny by default and one rule; an established flow outlives the change."""
    server, ann, ben = mesh["server"], mesh["ann"], mesh["ben"]
    address = server.address
    for user in (ann, ben):
        assert _connects(user, address, 8080, within=20)
    _apply(mesh, _BOTH_PORTS)
    wait_until(lambda: not _connects(ben, address, 8080), "ben is shut out")
    talk = ann.host.start([sys.executable, "-c", _TALK, address, "9090"])
    wait_until(lambda: "echo" in talk.output, "they talk")
    _apply(mesh, _ONE_PORT)
    wait_until(
        lambda: not _connects(ann, address, 9090), "the other port is closed to ann"
    )
    assert _connects(ann, address, 8080, within=20)
    assert not _connects(ben, address, 8080)
    assert not ann.answers(address)
    assert not server.answers(ann.address)
    # Control frames are no business of the policy.
    ann.run("ping", "server")
    echoes = talk.output.count("echo")
    wait_until(lambda: talk.output.count("echo") > echoes + 5, "they talk still")
    assert talk.is_running
    talk.stop()


def test_policy_is_lifted(mesh: dict[str, MeshHost]) -> None:
    """An open policy lets everything through again."""
    ann, address = mesh["ann"], mesh["server"].address
    _apply(mesh, 'default = "allow"\n')
    wait_until(lambda: _connects(ann, address, 9090), "the other port is open again")
    assert ann.answers(address, within=5)


def test_policy_that_fails_its_tests_is_refused(mesh: dict[str, MeshHost]) -> None:
    """The old one stays in force."""
    founder = mesh["founder"]
    before = founder.status()["policy"]
    test = '[[test]]\nfrom = ["ben"]\nto = ["server"]\nallow = ["tcp:8080"]\n'
    code, line = founder.refusal("policy", "apply", "-", stdin=_ONE_PORT + test)
    assert code == 1
    assert "test 1" in line
    assert founder.status()["policy"] == before
    code, _ = mesh["ann"].refusal("policy", "apply", "-", stdin=_ONE_PORT)
    assert code == 1


def test_tables_go_with_the_node(mesh: dict[str, MeshHost]) -> None:
    """A member under a policy leaves no table behind."""
    ben = mesh["ben"]
    ben.down()
    before = traces(ben.host)
    ben.up()
    _apply(mesh, _ONE_PORT)
    wait_until(
        lambda: (
            "dport" in ben.host.run("nft list ruleset").stdout
            or "drop" in ben.host.run("nft list ruleset").stdout
        ),
        "rules are there",
    )
    ben.down()
    assert leftovers(ben.host, before) == []
