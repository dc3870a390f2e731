"""Programs that people use, through each way that can carry them.

Two members; the programs run at the left one, and reach servers at the overlay address
of the right one by the tunnel, by SOCKS, and by HTTP CONNECT.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from topology.compare.ways import HTTP_PORT, SOCKS_PORT, all_ways, open_way
from topology.hosts import Lab, wait_until
from topology.members import NETWORK, Members
from topology.tunnels import Joined

pytestmark = pytest.mark.root

FILES, SSH, IPERF, RELAYED = 8000, 2222, 5201, 5301
SOCKS_CLIENT = f"""
logoutput: /dev/null
route {{
  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = {SOCKS_PORT}
  proxyprotocol: socks_v5
  method: none
}}
"""
# Its home is another one, so that nobody's keys are touched.
SSH_SERVER = """
mount --make-rprivate / && mount -t tmpfs -o mode=700 none /root
mkdir -m 700 /root/.ssh && cp "$1/key.pub" /root/.ssh/authorized_keys
exec dropbear -F -E -s -r "$1/host" -p "$2" -P "$1/ssh.pid"
"""


@dataclass(frozen=True)
class Scene:
    """The members, and a directory for files."""

    joined: Joined
    files: Path

    def run(self, *words: str, ok: bool = True) -> str:
        """Run a program at the left member and return what it printed."""
        config = self.files / "socks.conf"
        done = self.joined.left.run(
            words,
            timeout=30,
            check=ok,
            environment={"SOCKS_CONF": str(config), "HOME": str(self.files)},
        )
        return done.stdout


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Two members, our proxies at one, servers at the other."""
    with Lab() as lab:
        joined = Members("fast").join(*lab.connect(lab.host("a"), lab.host("b")))
        ways = all_ways()
        for name in ("socks", "http"):
            open_way(ways[name], joined.left)
        files = lab.directory / "ways"
        files.mkdir()
        (files / "index.html").write_text("<p>served over the mesh")
        (files / "socks.conf").write_text(SOCKS_CLIENT)
        for key in ("key", "host"):
            words = ["dropbearkey", "-t", "ed25519", "-f", str(files / key)]
            made = joined.left.run(words).stdout
            lines = [line for line in made.splitlines() if line.startswith("ssh-")]
            (files / f"{key}.pub").write_text(f"{lines[0]}\n")
        server = joined.right
        place = f"{joined.right_v4}:{SSH}"
        words = ["unshare", "-m", "sh", "-c", SSH_SERVER, "sh", str(files), place]
        server.start(words)
        server.start(["iperf3", "-s", "-p", str(IPERF)])
        http = [sys.executable, "-m", "http.server", "-d", str(files), str(FILES)]
        server.start(http)
        for port in (FILES, SSH, IPERF):
            wait_until(
                lambda p=port: bool(server.run(f"ss -Hltn sport = {p}").stdout),
                f"port {port} is served",
            )
        yield Scene(joined, files)


WAYS = {
    "tun": ((), ()),
    "socks": (("--socks5-hostname", f"127.0.0.1:{SOCKS_PORT}"), ("socksify",)),
    "http": (("--proxy", f"http://127.0.0.1:{HTTP_PORT}"), ()),
}
"""What curl is told, and what stands before a program that knows of no proxy."""


@pytest.mark.parametrize("way", WAYS)
def test_curl(scene: Scene, way: str) -> None:
    """By address, and by the member's name where the proxy knows it."""
    options, _ = WAYS[way]
    hosts = [
        scene.joined.right_v4,
        *([] if way == "tun" else [f"right.{NETWORK}.mesh"]),
    ]
    for host in hosts:
        page = scene.run(
            "curl", "-sS", "--noproxy", "", *options, f"http://{host}:{FILES}/"
        )
        assert "served over the mesh" in page


@pytest.mark.parametrize("way", ["tun", "http"])
def test_browser(scene: Scene, way: str) -> None:
    """A browser of text knows HTTP proxies, and shows the page."""
    proxy = f"http_proxy=http://127.0.0.1:{HTTP_PORT}/"
    options = ["-o", proxy, "-o", "no_proxy="] if way == "http" else []
    page = f"http://{scene.joined.right_v4}:{FILES}/index.html"
    assert "served over the mesh" in scene.run("w3m", *options, "-dump", page)


@pytest.mark.parametrize("way", ["tun", "socks"])
def test_dig(scene: Scene, way: str) -> None:
    """The resolver of the other member answers; by UDP, and by TCP without help."""
    _, before = WAYS[way]
    # What makes a program go by SOCKS does not get along with dig's way to connect.
    for more in ("+notcp", "+tcp") if way == "tun" else ("+notcp",):
        words = [*before, "dig", "+short", "+tries=2", more]
        words += [f"@{scene.joined.right_v4}", f"right.{NETWORK}.mesh"]
        assert scene.run(*words).strip() == scene.joined.right_v4


def _ssh_by(way: str) -> Sequence[str]:
    place = f"127.0.0.1:%h:%p,{'socks' if way == 'socks' else 'proxy'}port"
    match way:
        case "socks":
            return ("-J", f"socat - SOCKS4A:{place}={SOCKS_PORT}")
        case "http":
            return ("-J", f"socat - PROXY:{place}={HTTP_PORT}")
        case _:
            return ()


@pytest.mark.parametrize("way", WAYS)
def test_ssh(scene: Scene, way: str) -> None:
    """A command of the other member is run and its output comes back."""
    host, port = scene.joined.right_v4, str(SSH)
    by = [word.replace("%h", host).replace("%p", port) for word in _ssh_by(way)]
    key = str(scene.files / "key")
    words = ["dbclient", "-y", "-y", "-i", key, *by, "-p", port, f"root@{host}"]
    assert scene.run(*words, "echo from $((40 + 2))").strip() == "from 42"


@pytest.mark.parametrize("way", WAYS)
def test_iperf3(scene: Scene, way: str) -> None:
    """Bulk TCP; a program that knows no proxy takes a port that leads through it."""
    _, before = WAYS[way]
    target = f"{scene.joined.right_v4}:{IPERF}"
    place = [scene.joined.right_v4, str(IPERF)]
    if way == "http":
        relay = ["socat", f"TCP-LISTEN:{RELAYED},fork,reuseaddr"]
        relay.append(f"PROXY:127.0.0.1:{target},proxyport={HTTP_PORT}")
        scene.joined.left.start(relay)
        listens = f"ss -Hltn sport = {RELAYED}"
        wait_until(lambda: bool(scene.joined.left.run(listens).stdout), "a port leads")
        place = ["127.0.0.1", str(RELAYED)]
    words = [*before, "iperf3", "-J", "-t", "1", "-c", place[0], "-p", place[1]]
    report = json.loads(scene.run(*words))
    assert report["end"]["sum_received"]["bytes"] > 100_000


def test_what_http_cannot_carry_is_refused(scene: Scene) -> None:
    """UDP has no way through; a proxy that is asked for it says so at once."""
    ask = f"""
import socket
one = socket.create_connection(("127.0.0.1", {SOCKS_PORT}), timeout=5)
one.sendall(bytes([5, 1, 0]))
one.recv(2)
one.sendall(bytes([5, 9, 0, 1, 127, 0, 0, 1, 0, 7]))
print(one.recv(10)[1])
two = socket.create_connection(("127.0.0.1", {HTTP_PORT}), timeout=5)
two.sendall(b"GET udp://10.0.0.1:53/ HTTP/1.1" + bytes([13, 10]) + b"Host: x" +
            bytes([13, 10, 13, 10]))
print(two.recv(100).split()[1].decode())
"""
    assert scene.run(sys.executable, "-c", ask).split() == ["7", "400"]
