"""Nodes of users without any privilege: what they can do, and what they leave."""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.host.namespaces import run_inside
from tests.e2e.mesh_parts import NETWORK, PATIENCE, Site
from tests.e2e.rootless_parts import User
from topology.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.root

_HTTP = """
import http.server, sys
address, port = sys.argv[1:]
http.server.test(
    http.server.SimpleHTTPRequestHandler, bind=address, port=int(port)
)
"""
_ECHO = """
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, sender = one.recvfrom(65535)
    one.sendto(b"echo of " + data, sender)
"""


class Pair:
    """Anna founded the network, bert joined it; both on one host, each rootless."""

    def __init__(self, host: Host, anna: User, bert: User) -> None:
        self.host = host
        self.anna = anna
        self.bert = bert


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two users' nodes with the fast engine, ports forwarded both ways."""
    with Lab() as lab:
        host, other = lab.host("desk"), lab.host("net")
        lab.connect(host, other)
        before = host.state()
        anna, bert = User(host, 1), User(host, 2)
        anna.found("--name", "anna", "--listen-port", "45001")
        anna.configure(engine="fast")
        anna.run(
            *("up", NETWORK, "--rootless"),
            *("--publish", "tcp:81:8181", "--publish", "udp:53:5301"),
        )
        token = anna.run("invite", "-n", NETWORK).stdout.strip()
        bert.run(
            *("join", "-", "--name", "bert", "--listen-port", "45002", "--no-up"),
            stdin=token,
        )
        bert.configure(engine="fast")
        v4, v6 = (anna.ask("status")[key] for key in ("ipv4", "ipv6"))
        bert.run(
            *("up", NETWORK, "--rootless", "--forward", f"tcp:8080:{v4}:80"),
            *("--forward", f"tcp:[::1]:8080:[{v6}]:80"),
            *("--forward", f"udp:5353:{v4}:53"),
        )
        anna.start("run", NETWORK, "--", sys.executable, "-c", _HTTP, "::", "80")
        host.start([sys.executable, "-c", _HTTP, "127.0.0.1", "8181"])
        host.start([sys.executable, "-c", _ECHO, "5301"])
        wait_until(lambda: bool(bert.ask("hello")["isInTouch"]), "they met")
        yield Pair(host, anna, bert)
        for user in (anna, bert):
            user.run("down", NETWORK)
        for process in lab.processes:
            process.stop()
        anna.await_end()
        bert.await_end()
        assert not host.state().changes_since(before)
        assert not list(anna.directories.run.glob("*.*"))


def test_a_command_is_in_the_mesh(pair: Pair) -> None:
    """It pings and fetches, as its own user, and sees no network of the host."""
    pair.bert.inside("ping -c 1 -W 5 10.77.0.1")
    assert "Directory listing" in pair.bert.inside("curl -sS http://10.77.0.1/")
    assert pair.bert.inside("id -u").strip() == str(pair.bert.uid)
    links = json.loads(pair.bert.inside("ip -j link"))
    assert {link["ifname"] for link in links} == {"lo", NETWORK}
    capabilities = pair.bert.inside("grep CapEff /proc/self/status")
    assert int(capabilities.split()[1], 16) == 0


def test_a_resolver_of_the_mesh_is_named(pair: Pair) -> None:
    """Only the command sees another resolv.conf, and nothing stays in /tmp."""
    before = Path("/etc/resolv.conf").read_text()
    script = "cat /etc/resolv.conf; ls /tmp/resolv.conf"
    done = pair.bert.run(
        *("run", NETWORK, "--dns", "10.77.0.1", "--", "sh", "-c", script), check=False
    )
    assert done.stdout == "nameserver 10.77.0.1\n"
    assert Path("/etc/resolv.conf").read_text() == before


@pytest.mark.parametrize("place", ["127.0.0.1:8080", "[::1]:8080"])
def test_forwarded_port_leads_into_the_mesh(pair: Pair, place: str) -> None:
    """Programs of the host reach a member by loopback, several at once."""
    for _ in range(3):
        answer = pair.host.run(f"curl -sS -m 20 http://{place}/").stdout
        assert "Directory listing" in answer


def test_published_port_leads_out_of_the_mesh(pair: Pair) -> None:
    """A member reaches a program of the host, which knows nothing of the mesh."""
    for place in ("10.77.0.1", f"[{pair.anna.ask('status')['ipv6']}]"):
        answer = pair.bert.inside(f"curl -sS -m 20 http://{place}:81/")
        assert "Directory listing" in answer


def test_datagrams_are_carried_both_ways(pair: Pair) -> None:
    """Into the mesh by bert, out of it by anna, and back; each sender for itself."""

    def ask(text: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(5)
            one.connect(("127.0.0.1", 5353))
            one.send(text)
            return one.recv(2000)

    space = os.open(f"/run/netns/{pair.host.namespace}", os.O_RDONLY)
    try:
        for text in (b"one", b"x" * 1800):
            assert run_inside(space, lambda t=text: ask(t)) == b"echo of " + text
    finally:
        os.close(space)


def test_processes_have_no_privilege(pair: Pair) -> None:
    """All are the user's; control has a capability, over the user's network only."""
    roles = pair.anna.children()
    assert set(roles) == {"control", "egress", "ingress", "forward"}
    for role, pid in roles.items():
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
        assert fields["Uid"].split() == [str(pair.anna.uid)] * 4
        capabilities = 1 << 12 if role == "control" else 0
        assert int(fields["CapEff"], 16) == capabilities, role
        assert int(fields["CapBnd"], 16) == capabilities, role
        assert fields["NoNewPrivs"] == "1"
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")


def test_throughput_is_measured(
    pair: Pair, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bulk traffic passes between two users' networks; how fast is only told."""
    server = pair.anna.start("run", NETWORK, "--", "iperf3", "-s", "-1", "--forceflush")
    wait_until(
        lambda: "listening" in server.output, "the server listens", timeout=PATIENCE
    )
    report = json.loads(pair.bert.inside("iperf3 -c 10.77.0.1 -t 2 -J"))
    rate = report["end"]["sum_received"]["bits_per_second"]
    record_property("bits_per_second", rate)
    with capsys.disabled():
        print(f" [{rate / 1e6:.0f} Mbit/s]", end="")
    assert rate > 0
    offload = pair.bert.ask("status")["offload"]
    assert offload["tun-tcp"]["state"] == "full"


def test_refusals_name_the_remedy(pair: Pair) -> None:
    """One line each, and nothing is left."""
    carl = User(pair.host, 3)
    carl.found("--name", "carl", "--listen-port", "45003")

    def refusal(*words: str, **options: Any) -> tuple[int, str]:
        done = carl.run(*words, check=False, **options)
        assert done.returncode != 0
        assert done.stderr.count("\n") == 1, done.stderr
        return done.returncode, done.stderr

    up = ("up", NETWORK, "--rootless")
    assert refusal(*up, "--forward", "tcp:8080:1") == (
        1,
        "meshnode: TCP port 127.0.0.1:8080 is taken: choose another one\n",
    )
    code, text = refusal("up", NETWORK)
    assert (code, "--rootless" in text) == (5, True)
    code, text = refusal(*up, tun_mode="600")
    assert (code, "chmod 0666 /dev/net/tun" in text) == (5, True)
    code, text = refusal("run", NETWORK, "--", "true", tun_mode="600")
    assert (code, "chmod 0666 /dev/net/tun" in text) == (5, True)
    code, text = refusal("run", NETWORK, "--", "true", without_namespaces=True)
    assert (code, "user.max_user_namespaces=" in text) == (5, True)
    assert refusal("up", NETWORK, "--forward", "tcp:1:2")[0] == 2
    assert refusal("run", NETWORK)[0] == 2
    carl.await_end()


@pytest.fixture
def dora(lab: Lab) -> User:
    """The founder of a network that does not run."""
    user = User(lab.host("desk"), 1)
    user.found("--name", "dora", "--listen-port", "45001")
    return user


def test_a_node_ends_with_the_command_it_was_started_for(dora: User) -> None:
    """The exit code is the command's, and nothing is left of the node."""
    before = dora.host.state()
    script = "ping -c 1 10.77.0.1 >&2; exit 7"
    done = dora.run("run", NETWORK, "--", "sh", "-c", script, check=False)
    assert done.returncode == 7, done.stderr
    dora.await_end()
    assert not list(dora.directories.run.glob("*.*"))
    assert not dora.host.state().changes_since(before)


def test_nothing_outlives_kill_nine(dora: User) -> None:
    """Of whoever was killed: supervisor, control, or `meshnode run` itself."""
    dora.run("up", NETWORK, "--rootless")
    command = dora.start("run", NETWORK, "--", "sleep", "300")
    wait_until(lambda: "sleep 300" in dora.processes().values(), "it runs")
    dora.kill(dora.children()["control"])
    # The next one carries on in the same network.
    wait_until(lambda: _answers(dora), "control is back", timeout=PATIENCE)
    dora.inside("ping -c 1 -W 5 10.77.0.1")
    dora.kill(dora.ask("hello")["pid"])
    wait_until(lambda: not dora.children(), "the node is gone", timeout=PATIENCE)
    assert not list(dora.directories.run.glob("*.sock"))
    command.signal(signal.SIGTERM)
    assert command.wait(PATIENCE) == 128 + signal.SIGTERM

    alone = dora.start("run", NETWORK, "--", "sleep", "300")
    wait_until(lambda: "sleep 300" in dora.processes().values(), "it runs again")
    os.kill(alone.pid, signal.SIGKILL)
    dora.await_end()
    assert not list(dora.directories.run.glob("*.*"))


def test_an_exit_leads_out_of_the_users_network(lab: Lab) -> None:
    """By root's node elsewhere; the user's own host has no way there, nor a lock."""
    site = Site(lab)
    gate, host, far = site.host("gate"), site.port(lab.host("desk")).host, lab.host("w")
    near, there = lab.connect(gate.host, far)
    far.ip("address add 203.0.113.1/32 dev lo")
    far.ip(f"route add 10.0.0.0/8 via {near.v4}")
    gate.host.ip(f"route add 203.0.113.0/24 via {there.v4}")
    far.start([sys.executable, "-c", _HTTP, "203.0.113.1", "80"])
    gate.found()
    gate.up()
    everything = ("--route", "0.0.0.0/0", "--route", "::/0")
    gate.run("cert", "grant", "gate", "--role", "exit", *everything)
    gate.run("exit", "offer")
    user = User(host, 5)
    user.run("join", "-", "--name", "eve", "--rootless", stdin=gate.invite())
    wait_until(
        lambda: "gate" in user.run("exit", "list").stdout, "it is offered", timeout=60
    )
    user.run("exit", "use", "gate")
    page = user.inside("curl -sS --retry 5 --retry-all-errors -m 20 203.0.113.1")
    assert "Directory listing" in page
    assert not host.state().tables
    user.run("down", NETWORK)
    user.await_end()
    gate.down()


def _answers(user: User) -> bool:
    try:
        return bool(user.ask("hello")["isReady"])
    except Exception:  # of any kind, while nobody is there
        return False
