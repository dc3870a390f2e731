"""Our SOCKS server between real clients and real servers, and beside two others.

A client that has no route to the web reaches it through the host between them.
"""

import re
import sys
from pathlib import Path

import pytest

from topology.hosts import Host, Lab, wait_until
from topology.processes import Process

pytestmark = pytest.mark.root

PROGRAM = Path(__file__).with_name("socks_program.py")
LOAD = Path(__file__).with_name("socks_load.py")
TEXT = "carried by a proxy\n"
ZONE = "web.example. 60 IN A {v4}\nweb.example. 60 IN AAAA {v6}\n"
SOCKSD = """
logoutput: stderr
internal: {inside} port = {port}
external: {outside}
clientmethod: none
socksmethod: none
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
"""
SOCKS_CLIENT = """
logoutput: stderr
route {{
  from: 0.0.0.0/0 to: 0.0.0.0/0 via: {proxy} port = {port}
  proxyprotocol: socks_v5
  method: none
}}
"""
UDP_ECHO = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 7))
while True:
    one.sendto(*one.recvfrom(2000))
"""
CONNECTIONS, SLOW = 1000, 20
PER_CONNECTION = 65_536
"""Bytes that the process may grow by for one: 23 KiB were measured."""


class Scene:
    """A client, a proxy, and a web server with a resolver beside it."""

    def __init__(self, lab: Lab, files: Path) -> None:
        self.files = files
        self.client, self.middle = lab.host("client"), lab.host("proxy")
        self.web = lab.host("web")
        self.near, self.inside = lab.connect(self.client, self.middle)
        self.outside, self.far = lab.connect(self.middle, self.web)

    def serve(self, place: str, *words: str) -> None:
        """Start our server in the middle."""
        self.proxy = self.start_in_middle([sys.executable, str(PROGRAM), place, *words])
        if place.startswith("/"):
            wait_until(Path(place).exists, f"{place} is there")
        else:
            await_listener(self.middle, place.rpartition(":")[2])

    def start_in_middle(self, command: list[str]) -> Process:
        """Start a server that knows the names of the web."""
        names = self.files / "resolv.conf"
        names.write_text(f"nameserver {self.far.v4}\n")
        # A process of the laboratory has mounts of its own.
        script = f'mount --bind {names} /etc/resolv.conf && exec "$@"'
        return self.middle.start(["sh", "-c", script, "sh", *command])

    def start_dante(self, port: int) -> None:
        """Start dante's server in the middle."""
        config = self.files / "sockd.conf"
        sides = {"inside": self.inside.v4, "outside": self.outside.v4}
        config.write_text(SOCKSD.format(port=port, **sides))
        self.start_in_middle(["danted", "-f", str(config), "-N", "1"])
        await_listener(self.middle, str(port))

    def start_web(self) -> None:
        """Serve a text by IPv4 and IPv6, and the names of the web to the proxy."""
        (self.files / "text").write_text(TEXT)
        web = [sys.executable, "-m", "http.server", "80", "--bind", "::"]
        self.web.start([*web, "--directory", str(self.files)])
        zone = self.files / "zone"
        zone.write_text(ZONE.format(v4=self.far.v4, v6=self.far.v6))
        self.web.start(
            [
                *(sys.executable, "-m", "dnslib.zoneresolver", "--zone", str(zone)),
                *("--address", self.far.v4),
            ]
        )
        await_listener(self.web, "80")
        wait_until(
            lambda: bool(self.web.run("ss -Hlnu sport = :53").stdout), "names are known"
        )


def await_listener(host: Host, port: str) -> None:
    """Wait until somebody listens."""
    wait_until(
        lambda: bool(host.run(f"ss -Htln sport = :{port}").stdout), f"{port} is open"
    )


@pytest.fixture
def scene(lab: Lab, tmp_path: Path) -> Scene:
    """Client, proxy and web."""
    return Scene(lab, tmp_path)


def curl(scene: Scene, *words: str) -> tuple[int, str]:
    """Return the status of a `curl` of the client, and the text or the error."""
    command = ["curl", "-sS", "-m", "8", "--noproxy", "", *words]
    done = scene.client.run(command, check=False)
    return done.returncode, done.stdout or done.stderr.strip()


def test_curl_by_every_version(scene: Scene) -> None:
    """Addresses of both families, names near and far, users, and a Unix socket."""
    scene.start_web()
    v4 = f"{scene.inside.v4}:1080"
    scene.serve(v4, f"name=ann.home.mesh={scene.far.v4}")
    scene.serve(f"[{scene.inside.v6}]:1081", "user=carol:s3:cret")
    text = f"http://{scene.far.v4}/text"
    assert curl(scene, text)[0] == 7, "the client must have no other way"
    for words in (
        ("--socks5", v4, text),
        ("--socks4", v4, text),
        ("--socks5", v4, f"http://[{scene.far.v6}]/text"),
        ("--socks5-hostname", v4, "http://web.example/text"),
        ("--socks4a", v4, "http://web.example/text"),
        ("--socks5-hostname", v4, "http://ann.home.mesh/text"),
        ("--socks4a", v4, "http://ann.home.mesh/text"),
        ("-x", f"socks5h://carol:s3%3Acret@[{scene.inside.v6}]:1081", text),
        # Without a user where none is wanted, a user does no harm.
        ("-x", f"socks5h://carol:other@{v4}", text),
    ):
        assert curl(scene, *words) == (0, TEXT), words
    for url in ("socks5h://", "socks5h://carol:wrong@", "socks4a://carol@"):
        status, error = curl(scene, "-x", f"{url}[{scene.inside.v6}]:1081", text)
        assert status == 97, error
    # By a Unix socket: socat lets curl reach it.
    place = str(scene.files / "socks")
    scene.serve(place)
    port = "TCP4-LISTEN:1082,fork,reuseaddr,bind=" + scene.near.v4
    scene.client.start(["socat", port, f"UNIX-CONNECT:{place}"])
    await_listener(scene.client, "1082")
    assert curl(scene, "--socks5", f"{scene.near.v4}:1082", text) == (0, TEXT)


def test_answers_are_those_of_others(scene: Scene) -> None:
    """Beside dante and microsocks: what curl ends with, and the codes they reply.

    They are the same through two proxies, ours and dante.
    """
    scene.start_web()
    ours, dante, micro, both = (f"{scene.inside.v4}:108{digit}" for digit in range(4))
    scene.serve(ours)
    scene.start_dante(1081)
    scene.serve(both, f"via={dante}")
    scene.start_in_middle(["microsocks", "-i", scene.inside.v4, "-p", "1082"])
    await_listener(scene.middle, "1082")
    scene.middle.ip("route add unreachable 203.0.113.1")
    answers = {
        f"http://{scene.far.v4}/text": (0, None),
        "http://web.example/text": (0, None),
        f"http://{scene.far.v4}:9/": (97, 5),
        "http://web.example:9/": (97, 5),
        "http://203.0.113.1/": (97, 4),
        "http://203.0.113.2/": (97, 3),
        "http://no.example/": (97, 4),
    }
    for url, answer in answers.items():
        found = {
            proxy: reply(*curl(scene, "--socks5-hostname", proxy, "-4", url))
            for proxy in (ours, dante, micro, both)
        }
        assert found[ours] == found[dante] == found[both] == answer, url
        # microsocks has no word for a name that is unknown.
        assert found[micro] == ((97, 1) if "no.example" in url else answer), url


def reply(status: int, text: str) -> tuple[int, int | None]:
    """Return the status of curl, and the code that the proxy replied."""
    found = re.search(r"\((\d+)\)$", text.rstrip("."))
    return status, int(found[1]) if status and found else None


def test_datagrams_of_a_real_client(scene: Scene) -> None:
    """Dante's client library carries a program's datagrams through our server.

    Then by way of dante's server, to which ours is the client.
    """
    scene.serve(f"{scene.inside.v4}:1080")
    scene.start_dante(1081)
    scene.serve(f"{scene.inside.v4}:1082", f"via={scene.inside.v4}:1081")
    scene.web.start([sys.executable, "-c", UDP_ECHO])
    wait_until(
        lambda: bool(scene.web.run("ss -Hlnu sport = :7").stdout), "the echo is there"
    )
    sockets = scene.middle.run("ss -Hanu").stdout.splitlines()
    ask = f"""
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(5)
for word in (b"first", b"second"):
    one.sendto(word, ("{scene.far.v4}", 7))
    print(*one.recvfrom(100))
"""
    for port in (1080, 1082):
        config = scene.files / "socks.conf"
        config.write_text(SOCKS_CLIENT.format(proxy=scene.inside.v4, port=port))
        done = scene.client.run(
            ["socksify", sys.executable, "-c", ask],
            environment={"SOCKS_CONF": str(config)},
        )
        assert done.stdout.splitlines() == [
            f"b'first' ('{scene.far.v4}', 7)",
            f"b'second' ('{scene.far.v4}', 7)",
        ]

    # The connections have ended, and the sockets with them.
    def is_as_before() -> bool:
        return scene.middle.run("ss -Hanu").stdout.splitlines() == sockets

    wait_until(is_as_before, "no socket is left")


def test_an_exit_is_no_way_into_itself(scene: Scene) -> None:
    """However its addresses are written, and by whichever proxy before it."""
    scene.start_web()
    scene.serve("127.0.0.1:1082")
    scene.serve(f"{scene.inside.v4}:1080", f"exit={scene.inside.v4}")
    scene.serve(f"{scene.inside.v4}:1081", f"via={scene.inside.v4}:1080")
    for port in (1080, 1081):
        proxy = f"{scene.inside.v4}:{port}"
        text = f"http://{scene.far.v4}/text"
        assert curl(scene, "--socks5-hostname", proxy, text) == (0, TEXT)
        for host in (
            *("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"),
            *(scene.inside.v4, f"[::ffff:{scene.inside.v4}]", "[fe80::1]"),
        ):
            url = f"http://{host}:1082/"
            answer = reply(*curl(scene, "--socks5-hostname", proxy, url))
            assert answer == (97, 2), url


def test_a_thousand_connections(scene: Scene) -> None:
    """All work at once, some of them stuck; the process does not grow beyond them."""
    place, echo = f"{scene.inside.v4}:1080", f"{scene.far.v4}:7"
    scene.serve(place)
    scene.web.start([sys.executable, str(LOAD), echo])
    await_listener(scene.web, "7")
    before = resident(scene.proxy)
    numbers = (str(CONNECTIONS), str(SLOW))
    load = scene.client.start([sys.executable, str(LOAD), place, echo, *numbers])
    wait_until(lambda: "full" in load.output, "all are open", timeout=60)
    peak = resident(scene.proxy)
    assert peak - before < CONNECTIONS * PER_CONNECTION
    # It still serves others, and forgets those that are gone.
    scene.start_web()
    text = f"http://{scene.far.v4}/text"
    assert curl(scene, "--socks5", place, text) == (0, TEXT)
    load.stop()
    files = Path(f"/proc/{scene.proxy.pid}/fd")
    wait_until(lambda: len(list(files.iterdir())) < 20, "no connection is left")


def resident(process: Process) -> int:
    """Return the bytes of memory that a process has."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(line) * 1024
