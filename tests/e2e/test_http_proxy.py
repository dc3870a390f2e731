"""The HTTP proxy with real clients and servers, and tinyproxy beside it."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.http_origin import BIG
from topology.hosts import Host, Lab, wait_until
from topology.processes import Process

pytestmark = pytest.mark.root

HERE = Path(__file__).parent
CLIENTS = str(HERE / "http_crowd.py")
PROXY, OTHER, ORIGIN, TLS_ORIGIN, LOCKED = 3128, 3129, 8000, 8443, 3130
HTTP, HTTPS = f"http://127.0.0.1:{ORIGIN}", f"https://127.0.0.1:{TLS_ORIGIN}"
BIG_SUM = hashlib.sha256(BIG).hexdigest()
TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
"""


@dataclass
class Scene:
    """A host with web servers and proxies on its loopback."""

    host: Host
    proxy: Process
    directory: Path

    def curl(self, url: str, *words: str, port: int = PROXY, check: bool = True) -> str:
        """Ask through a proxy; return what curl prints."""
        command = ["curl", "-sS", "--max-time", "20", "-x", f"http://127.0.0.1:{port}"]
        return self.host.run([*command, *words, url], timeout=30, check=check).stdout

    def outcome(self, port: int, words: list[str]) -> tuple[int, str, str]:
        """The exit code of curl, the status, and the sum of the body."""
        body = self.directory / "body"
        body.unlink(missing_ok=True)
        form = "%{http_code}"
        command = ["curl", "-s", "--max-time", "20", "-x", f"http://127.0.0.1:{port}"]
        command += ["-o", str(body), "-w", form, "--cacert", f"{self.directory}/cert"]
        done = self.host.run([*command, *words], timeout=30, check=False)
        content = body.read_bytes() if body.exists() else b""
        return done.returncode, done.stdout, hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """All of them running, once for all tests: none changes anything."""
    with Lab() as lab:
        yield _start(lab.host("a"), tmp_path_factory.mktemp("http"))


def _start(host: Host, tmp_path: Path) -> Scene:
    certificate = tmp_path / "cert"
    host.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)),
            *("-keyout", str(tmp_path / "key")),
        ]
    )
    certificate.write_text(certificate.read_text() + (tmp_path / "key").read_text())
    (tmp_path / "big").write_bytes(BIG)
    tinyproxy = tmp_path / "tinyproxy.conf"
    tinyproxy.write_text(TINYPROXY.format(port=OTHER))

    def program(name: str, *words: object) -> Process:
        return host.start([sys.executable, str(HERE / name), *map(str, words)])

    program("http_origin.py", ORIGIN)
    program("http_origin.py", TLS_ORIGIN, certificate)
    proxy = program("http_program.py", PROXY)
    program("http_program.py", LOCKED, "user=carol:s3:cret", "deny=*:9")
    host.start(["tinyproxy", "-d", "-c", str(tinyproxy)])
    ports = (PROXY, OTHER, ORIGIN, TLS_ORIGIN, LOCKED)
    wait_until(lambda: all(map(_listens(host), ports)), "all programs listen")
    return Scene(host, proxy, tmp_path)


def _listens(host: Host) -> Callable[[int], bool]:
    listening = host.run("ss -Htln").stdout
    return lambda port: f":{port} " in listening


REQUESTS = {
    "get": [f"{HTTP}/"],
    "missing": [f"{HTTP}/none"],
    "query": [f"{HTTP}/echo?a=b&c=%20d"],
    "head": ["-I", f"{HTTP}/big"],
    "form": ["-d", "a=b&c=d", f"{HTTP}/echo"],
    "get-big": [f"{HTTP}/big"],
    "get-chunks": [f"{HTTP}/chunked"],
    "gzip": ["--compressed", f"{HTTP}/gzip"],
    "put-big": ["-T", "{directory}/big", f"{HTTP}/sum"],
    "expect": ["-H", "Expect: 100-continue", "-d", "x", f"{HTTP}/echo"],
    "delete": ["-X", "DELETE", f"{HTTP}/echo"],
    "redirect": ["-L", f"{HTTP}/moved"],
    "http-1.0": ["-0", f"{HTTP}/echo"],
    "two": [f"{HTTP}/", "-o", "/dev/null", f"{HTTP}/big"],
    "tunnel": [f"{HTTPS}/big"],
    "tunnel-put": ["-T", "{directory}/big", f"{HTTPS}/sum"],
    "plain-tunnel": ["-p", f"{HTTP}/big"],
    "options": ["-X", "OPTIONS", f"{HTTP}/echo"],
}


def test_curl_gets_the_same_as_through_tinyproxy(scene: Scene) -> None:
    """Status, body and exit code of every kind of request."""
    found = {}
    for name, words in REQUESTS.items():
        words = [word.format(directory=scene.directory) for word in words]
        ours, theirs = (scene.outcome(port, words) for port in (PROXY, OTHER))
        found[name] = ours
        if name == "head":  # the head is the body here, and has the proxy's name
            ours, theirs = ours[:2], theirs[:2]
        assert ours == theirs, name
    assert found["get-big"] == found["tunnel"] == (0, "200", BIG_SUM)
    assert found["get-chunks"] == found["gzip"] == (0, "200", BIG_SUM)
    summed = hashlib.sha256(BIG_SUM.encode()).hexdigest()
    assert found["put-big"] == found["tunnel-put"] == (0, "200", summed)


def test_what_only_we_do(scene: Scene) -> None:
    """Chunked uploads, trailers, early answers, upgrades, our own pages."""
    chunked = ["-H", "Transfer-Encoding: chunked", "-T", f"{scene.directory}/big"]
    assert scene.curl(f"{HTTP}/sum", *chunked) == BIG_SUM
    assert f"Sum: {BIG_SUM}" in scene.curl(
        f"{HTTP}/chunked", "-o", "/dev/null", "-D", "-"
    )
    status = ("-w", "%{http_code}")
    early = scene.curl(f"{HTTP}/deaf", "-T", f"{scene.directory}/big", *status)
    assert early == "too much413"
    fields = scene.curl(f"{HTTP}/seen", "-H", "Proxy-Authorization: Basic eDp5").lower()
    assert "via: 1.1 e2e" in fields
    assert "proxy-" not in fields
    assert scene.curl("http://127.0.0.1:1/", *status).endswith("502")
    assert scene.curl("http://no-such-name.invalid/", *status).endswith("502")
    assert (
        "FindProxyForURL"
        in scene.host.run(f"curl -sS http://127.0.0.1:{PROXY}/proxy.pac").stdout
    )
    talk = (
        f"GET {HTTP}/upgrade HTTP/1.1\r\nHost: x\r\nUpgrade: shout\r\n"
        "Connection: Upgrade\r\n\r\nhear me"
    )
    shouted = scene.host.run(f"socat -t 5 - TCP4:127.0.0.1:{PROXY}", stdin=talk).stdout
    assert shouted.startswith("HTTP/1.1 101 ")
    assert shouted.endswith("HEAR ME")


def test_users_and_rules(scene: Scene) -> None:
    """407 without the password, 403 against the rules, for requests and tunnels."""
    status = ("-o", "/dev/null", "-w", "%{http_code} %{http_connect}")
    good, bad = ("-U", "carol:s3:cret"), ("-U", "carol:x")

    def ask(url: str, *words: str) -> str:
        return scene.curl(url, *words, *status, "-k", port=LOCKED, check=False)

    assert ask(f"{HTTP}/", *good) == "200 000"
    assert ask(f"{HTTP}/", *good, "--proxy-anyauth") == "200 000"
    assert ask(f"{HTTPS}/", *good) == "200 200"
    assert ask(f"{HTTP}/") == ask(f"{HTTP}/", *bad) == "407 000"
    assert ask(f"{HTTPS}/", *bad) == "000 407"
    assert ask("http://127.0.0.1:9/", *good) == "403 000"
    assert ask("https://127.1:9/", *good) == "000 403"


def test_a_browser_shows_a_page(scene: Scene) -> None:
    """w3m, as a browser that fits into a test."""
    page = scene.host.run(
        ["w3m", "-dump", f"{HTTP}/"],
        environment={
            "http_proxy": f"http://127.0.0.1:{PROXY}/",
            "HOME": str(scene.directory),
        },
    )
    assert page.stdout.strip() == "hello from the mesh"


def resident(process: Process) -> int:
    """Return the bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_clients_at_once(scene: Scene) -> None:
    """Each asks twice on one connection, while all are connected."""
    before = resident(scene.proxy)
    words = ("crowd", "1000", str(PROXY), f"{HTTP}/")
    done = scene.host.run([sys.executable, CLIENTS, *words], timeout=60)
    assert done.stdout.strip() == "2000"
    grown = resident(scene.proxy) - before
    print(f"a client costs {grown / 1000 / 1024:.0f} KiB")
    assert grown < 100 * 2**20


def test_who_does_not_read_fills_no_memory(scene: Scene) -> None:
    """Neither a client that takes nothing of an endless answer, nor such a server."""
    before = resident(scene.proxy)
    words = ("stalled", "10", str(PROXY), f"{HTTP}/endless")
    done = scene.host.run([sys.executable, CLIENTS, *words], timeout=30)
    assert done.stdout.strip() == "held"
    grown = resident(scene.proxy) - before
    print(f"a stalled client costs {grown / 20 / 1024:.0f} KiB")
    assert grown < 40 * 2**20
    assert scene.curl(f"{HTTP}/sum", "-T", f"{scene.directory}/big") == BIG_SUM
