"""Where UDP is blocked, members are reached by TLS, and by UDP again when it works."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshnode.host.privileges import NOBODY, parse_status
from meshnode.mesh.candidates import CandidateKind
from tests.e2e.mesh_parts import (
    LISTEN_PORT,
    PATIENCE,
    MeshHost,
    Site,
    await_acquainted,
    kill_process,
    until,
)
from topology.hosts import Host, Lab, Port, wait_until
from topology.processes import Process

pytestmark = pytest.mark.root

TLS = CandidateKind.TLS.value
BLOCKED = """
table inet blocked {
  chain out { type filter hook output priority 0;
    oifname "lan" meta l4proto udp counter drop; }
  chain in { type filter hook input priority 0;
    iifname "lan" meta l4proto udp counter drop; }
}
"""
CONNECT_WITHIN = 5.0
RETURN_WITHIN = 30.0


def block_udp(host: Host) -> None:
    """Let no UDP out of the host or into it."""
    host.nft(BLOCKED)


def unblock_udp(host: Host) -> None:
    """Let it pass again."""
    host.nft("delete table inet blocked")


def kind_of(host: MeshHost, peer: str) -> str | None:
    """Return how *host* knows where it speaks to *peer*, if there is a session."""
    facts = host.peers()[peer]
    kind: str | None = facts["endpointKind"]
    return kind if facts["hasSession"] else None


def await_tls(host: MeshHost, peer: str) -> float:
    """Wait until *peer* is reached by TLS; return the seconds it took."""
    return until(lambda: kind_of(host, peer) == TLS, f"{host} is on TLS")


def connections(host: MeshHost) -> str:
    """Return the TCP connections of a host to and from port 443."""
    return host.host.run("ss -Htn sport = :443 or dport = :443").stdout


PROXY_PORT = 3128
USER, PASSWORD = "carol", "s3cret:with/signs"
MIDDLE = Path(__file__).with_name("tls_middle.py")


@dataclass
class Scene:
    """A founder, who is relay and rendezvous and runs, and a host beside it."""

    site: Site
    founder: MeshHost
    ann: MeshHost

    def join(self) -> None:
        """Let ann join by UDP."""
        self.ann.join(self.founder.invite())
        await_acquainted([self.founder, self.ann])

    def middle(self, kind: str, port: int, *words: str) -> tuple[Port, Process]:
        """Start somebody who stands between the two."""
        port_of_it = self.site.port(self.site.lab.host("middle"))
        command = [sys.executable, str(MIDDLE), kind, str(port), *words]
        process = port_of_it.host.start(command)
        wait_until(
            lambda: bool(port_of_it.host.run(f"ss -Htln sport = :{port}").stdout),
            f"{kind} listens",
            timeout=PATIENCE,
        )
        return port_of_it, process


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    """The founder runs; ann has not joined yet."""
    site = Site(lab)
    scene = Scene(site, site.host("founder"), site.host("ann"))
    scene.founder.found()
    scene.founder.up()
    yield scene
    for host in (scene.ann, scene.founder):
        if host.pids():
            host.down()


def test_blocked_from_the_start_and_back(scene: Scene) -> None:
    """TLS within 5 s; UDP within 30 s of its return; no TCP as long as it works."""
    scene.join()
    founder, ann = scene.founder, scene.ann
    ann.pings(founder)
    assert connections(ann) == ""
    assert "tls" not in ann.roles()
    assert "tls" not in founder.roles()
    ann.down()
    block_udp(ann.host)
    ann.up()
    began = time.monotonic()
    ann.pings(founder)
    assert time.monotonic() - began < CONNECT_WITHIN
    assert kind_of(ann, "founder") == TLS
    assert founder.peers()["ann"]["endpoint"].startswith("127.0.0.1:")
    assert ann.status()["health"] == []
    assert not any("127.0.0.1" in one for one in ann.status()["endpoints"])
    unblock_udp(ann.host)

    def is_back() -> bool:
        return kind_of(ann, "founder") not in (None, TLS) and not connections(ann)

    assert until(is_back, "ann is on UDP") < RETURN_WITHIN
    ann.pings(founder)
    assert founder.peers()["ann"]["endpoint"] == f"{ann.port.v4}:{LISTEN_PORT}"


def test_blocked_in_the_middle_of_a_session(scene: Scene) -> None:
    """Both hosts may neither send nor receive UDP; a transfer goes on by TLS."""
    scene.join()
    founder, ann = scene.founder, scene.ann
    ann.pings(founder)
    for host in (founder, ann):
        block_udp(host.host)
    flow = ann.host.start(f"ping -n -q -i 0.2 {founder.address}")
    await_tls(ann, "founder")
    ann.pings(founder)
    flow.stop()
    # What is large goes in one frame each.
    assert ann.host.run(f"ping -n -c 3 -s 1300 {founder.address}").returncode == 0


def test_join_where_udp_is_blocked(scene: Scene) -> None:
    """The issuer's address and key are in the token; nothing else is needed."""
    block_udp(scene.ann.host)
    scene.join()
    scene.ann.pings(scene.founder)
    assert kind_of(scene.ann, "founder") == TLS


@pytest.mark.parametrize(
    ("kind", "scheme"), [("connect", "http"), ("socks5", "socks5")]
)
def test_through_a_proxy(scene: Scene, kind: str, scheme: str) -> None:
    """The only way out; its user's password is in a file and in no output."""
    founder, ann = scene.founder, scene.ann
    port, process = scene.middle(kind, PROXY_PORT, USER, PASSWORD)
    block_udp(ann.host)
    ann.host.nft("add table inet only")
    ann.host.nft("add chain inet only out { type filter hook output priority 1; }")
    ann.host.nft("add rule inet only out tcp dport 443 reject with tcp reset")
    secret = ann.state_dir.parent / "password"
    secret.write_text(f"{PASSWORD}\n")
    url = f"{scheme}://{USER}@{port.v4}:{PROXY_PORT}"
    ann.join(
        founder.invite(),
        *("--proxy", url, "--proxy-password-file", str(secret)),
    )
    await_acquainted([founder, ann])
    ann.pings(founder)
    assert kind_of(ann, "founder") == TLS
    assert process.output.count("carried") >= 2
    assert ann.process is not None
    assert PASSWORD not in ann.process.output
    assert PASSWORD not in ann.config_file.read_text()


def test_man_in_the_middle_gets_nothing(scene: Scene) -> None:
    """It passes challenge and proof on; the proof does not fit its certificate."""
    scene.join()
    founder, ann = scene.founder, scene.ann
    ann.down()
    port, process = scene.middle("intercept", 443, founder.port.v4)
    block_udp(ann.host)
    ann.host.nft("add table ip turned")
    ann.host.nft("add chain ip turned out { type nat hook output priority -100; }")
    ann.host.nft(f"add rule ip turned out tcp dport 443 dnat to {port.v4}")
    ann.up()

    def complaints() -> list[str]:
        return [line for line in ann.status()["health"] if "by TLS" in line]

    until(lambda: bool(complaints()), "ann complains")
    [line] = complaints()
    assert line.startswith(f"founder by TLS: {founder.port.v4}:443: ")
    assert "intercepts" in line
    assert not ann.answers(founder.address)
    wait_until(lambda: "intercepted" in process.output, "it tells", timeout=PATIENCE)
    assert "intercepted 0" in process.output
    assert kind_of(ann, "founder") != TLS


@pytest.mark.parametrize("side", ["client", "server"])
def test_process_that_is_killed_is_replaced(scene: Scene, side: str) -> None:
    """The one that dials, or the one that serves; control is not disturbed."""
    scene.join()
    founder, ann = scene.founder, scene.ann
    ann.down()
    block_udp(ann.host)
    ann.up()
    await_tls(ann, "founder")
    host = ann if side == "client" else founder
    before = host.roles()
    held = parse_status(Path(f"/proc/{before['tls']}/status").read_text())
    assert set(held.uids) == {NOBODY}
    assert (held.permitted, held.effective, held.bounding) == (0, 0, 0)
    kill_process(before["tls"])
    until(lambda: host.roles().get("tls") not in (None, before["tls"]), "another")
    wait_until(lambda: ann.answers(founder.address), "it heals", timeout=PATIENCE)
    assert host.roles()["control"] == before["control"]


def test_strangers_are_refused_and_do_no_harm(scene: Scene) -> None:
    """Garbage, TLS of others, and more connections than one source may have."""
    scene.join()
    founder, ann = scene.founder, scene.ann
    block_udp(ann.host)
    stranger = scene.site.port(scene.site.lab.host("stranger"))
    done = stranger.host.run(
        [sys.executable, "-c", STRANGER, founder.port.v4], timeout=60
    )
    facts = json.loads(done.stdout)
    assert facts["answered"] == 0
    assert facts["held"] <= 16
    await_tls(ann, "founder")
    ann.pings(founder)
    assert founder.status()["health"] == []


def test_web_server_is_not_disturbed(lab: Lab) -> None:
    """Who has port 443 keeps it; the node says so, and serves UDP as ever."""
    site = Site(lab)
    founder, ann = site.host("founder"), site.host("ann")
    web = founder.host.start([sys.executable, "-m", "http.server", "443"])
    wait_until(
        lambda: bool(founder.host.run("ss -Htln sport = :443").stdout),
        "the web server listens",
        timeout=PATIENCE,
    )
    founder.found()
    founder.up()
    ann.join(founder.invite())
    ann.pings(founder)
    assert founder.status()["health"] == [
        "nobody is served by TLS: TCP port 443 is taken"
    ]
    assert web.is_running
    for host in (ann, founder):
        host.down()


STRANGER = """
import json, os, socket, ssl, sys, time

host, answered = sys.argv[1], 0
for kind in range(12):
    with socket.create_connection((host, 443), 5) as one:
        one.settimeout(8)
        try:
            if kind % 3 == 0:
                one.sendall(os.urandom(2000))
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                if kind % 3 == 1:
                    context.set_alpn_protocols(["meshnode/1"])
                one = context.wrap_socket(one)
                one.sendall((81).to_bytes(2, "big") + os.urandom(81))
            answered += bool(one.recv(1)) and kind % 3 != 0
        except (OSError, ssl.SSLError):
            pass
held = [socket.create_connection((host, 443), 5) for _ in range(64)]
time.sleep(1)
alive = 0
for one in held:
    one.settimeout(0.01)
    try:
        alive += one.recv(1) != b""
    except TimeoutError:
        alive += 1
    except OSError:
        pass
print(json.dumps({"answered": answered, "held": alive}))
"""
"""Everything a stranger can do to the port; it tells what it got."""
