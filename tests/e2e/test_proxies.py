"""Proxies of real nodes: SOCKS and HTTP at one member, out by another."""

import json
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshnode.host.privileges import CARRIER_GROUP, NOBODY, parse_status
from tests.e2e.mesh_parts import (
    PATIENCE,
    MeshHost,
    Site,
    await_acquainted,
    kill_process,
    leftovers,
    traces,
    until,
)
from topology.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.root

PROGRAMS = Path(__file__).with_name("proxy_programs.py")
WEB, EXIT_OUTSIDE, EXIT_LAN = "203.0.113.2", "203.0.113.1", "192.168.9.1"
NEIGHBOUR = "192.168.9.2"
MIXED, OWN_WAY = "127.0.0.1:1081", "127.0.0.1:1082"
CAP_NET_BIND_SERVICE = 1 << 10


@dataclass
class Scene:
    """A member with listeners, an exit with an internet behind it, and another."""

    site: Site
    ann: MeshHost
    exit: MeshHost
    bert: MeshHost
    web: Host

    def curl(self, *words: str, check: bool = True) -> str:
        """Run curl at ann; return its output, or "exit CODE" if it fails."""
        return curl(self.ann.host, *words, check=check)


def curl(host: Host, *words: str, check: bool = True) -> str:
    """Run curl; return what it prints, or its exit code in words."""
    done = host.run(["curl", "-sS", "--max-time", "20", *words], check=check)
    return done.stdout.strip() if not done.returncode else f"exit {done.returncode}"


def listener(listen: str, **values: object) -> str:
    """Return a table of the configuration."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["", "[[proxy]]", f'listen = "{listen}"', *lines, ""])


def append(host: MeshHost, text: str) -> None:
    """Add to the configuration."""
    with host.config_file.open("a") as file:
        file.write(text)


def is_open(host: MeshHost, place: str) -> bool:
    """Whether the node serves at *place*."""
    found = host.ask("proxy list")["listeners"]
    return any(one["listen"] == place and one["isOpen"] for one in found)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """All three run; names of the internet are known at the exit alone."""
    with Lab() as lab, ExitStack() as stack:
        site = Site(lab)
        bert, exit_, ann = (site.host(name) for name in ("bert", "exit", "ann"))
        outside = site.segment("inet")
        web = lab.host("web")
        outside.attach(lab, exit_.host, v4=f"{EXIT_OUTSIDE}/24")
        outside.attach(lab, web, v4=f"{WEB}/24")
        inside = site.segment("lan9")
        inside.attach(lab, exit_.host, v4=f"{EXIT_LAN}/24")
        inside.attach(lab, web, v4=f"{NEIGHBOUR}/24")
        for host in (bert.host, exit_.host, web):
            host.start([sys.executable, str(PROGRAMS), "internet", "0.0.0.0"])
        hosts = Path("/etc/netns") / exit_.host.namespace / "hosts"
        hosts.parent.mkdir(parents=True)
        stack.callback(shutil.rmtree, hosts.parent)
        hosts.write_text(f"127.0.0.1 localhost\n{WEB} web.example\n")
        bert.found()
        append(bert, "\n[dns]\nresolver = false\n")
        bert.up()
        for host, words in ((exit_, ["--role", "exit"]), (ann, [])):
            token = bert.invite(*words)
            host.run("join", "-", "--name", host.name, "--no-up", stdin=token)
        append(exit_, "\n[exit]\noffer = true\n")
        exit_.up()
        append(ann, listener(MIXED, exit=["exit"]) + listener(OWN_WAY, deny=["*:22"]))
        ann.up()
        await_acquainted([exit_, ann, bert])
        wait_until(lambda: is_open(ann, MIXED), "ann's proxy serves", timeout=PATIENCE)
        yield Scene(site, ann, exit_, bert, web)
        for host in (ann, bert, exit_):
            if host.pids():
                host.down()


@pytest.mark.parametrize(
    "words",
    [
        f"--socks5-hostname {MIXED} http://web.example/",
        f"--socks5 {MIXED} http://{WEB}/",
        f"--socks4a {MIXED} http://web.example/",
        f"--proxy http://{MIXED} http://web.example/",
        f"--proxy http://{MIXED} --proxytunnel http://web.example/",
    ],
)
def test_out_by_the_exit(scene: Scene, words: str) -> None:
    """By every protocol; names mean what they mean at the exit."""
    assert scene.curl(*words.split()) == EXIT_OUTSIDE


def test_members_are_reached_directly(scene: Scene) -> None:
    """By their names, though the listener has an exit; and nothing else from here."""
    for name in ("bert", "bert.home.mesh", scene.bert.address):
        words = ["--socks5-hostname", MIXED, f"http://{name}/"]
        assert scene.curl(*words) == scene.ann.address
    assert scene.curl("-x", OWN_WAY, f"http://{WEB}/", check=False)[:4] != EXIT_OUTSIDE
    assert "exit" in scene.curl(
        "--socks5-hostname", OWN_WAY, f"http://{WEB}/", check=False
    )


def test_datagrams_by_the_exit(scene: Scene) -> None:
    """One goes out, its answer comes back."""
    words = [sys.executable, str(PROGRAMS), "udp", MIXED, f"{WEB}:7", "hello"]
    assert scene.ann.host.run(words).stdout.strip() == f"{EXIT_OUTSIDE} said hello"


def test_the_exit_keeps_what_is_its_own(scene: Scene) -> None:
    """Its loopback, its addresses and its LAN are no business of members."""
    service = f"{scene.exit.address}:1080"
    assert scene.curl("--socks5", service, f"http://{WEB}/") == EXIT_OUTSIDE
    v6 = f"[{scene.exit.address6}]:1080"
    assert scene.curl("--socks5", v6, f"http://{WEB}/") == EXIT_OUTSIDE
    for host in ("127.0.0.1", EXIT_OUTSIDE, EXIT_LAN, NEIGHBOUR, "localhost", "[::1]"):
        words = ["--socks5-hostname", service, f"http://{host}/"]
        assert scene.curl(*words, check=False) == "exit 97", host


def test_who_is_no_member_gets_nothing(scene: Scene) -> None:
    """Not on the link of the exit, with whatever source; and no port is open there."""
    stranger = scene.site.port(scene.site.lab.host("stranger")).host
    overlay = scene.exit.address
    stranger.ip(f"route add {overlay}/32 via {scene.exit.port.v4}")
    words = ["--max-time", "2", "--socks5", f"{overlay}:1080", f"http://{WEB}/"]
    assert curl(stranger, *words, check=False).startswith("exit ")
    stranger.ip("address add 10.77.9.9/32 dev lo")
    assert curl(stranger, "--interface", "10.77.9.9", *words, check=False)[:4] == "exit"
    at_lan = ["--max-time", "2", "--socks5", f"{scene.exit.port.v4}:1080", WEB]
    assert curl(stranger, *at_lan, check=False).startswith("exit ")
    service = {f"{overlay}:1080", f"[{scene.exit.address6}]:1080"}
    for host, places in ((scene.exit, service), (scene.ann, {MIXED, OWN_WAY})):
        names = {f"{host.address}:53", f"[{host.address6}]:53"}
        lines = host.host.run("ss -Htlnp").stdout.splitlines()
        ours = {line.split()[3] for line in lines if f"pid={proxy_of(host)}," in line}
        assert {one.replace("%home", "") for one in ours} == places | names


def proxy_of(host: MeshHost) -> int:
    """Return the id of the process of proxies."""
    return host.roles()["proxy"]


def test_it_has_no_privilege(scene: Scene) -> None:
    """But to listen below port 1024; and who asks for nothing has no process."""
    for host in (scene.ann, scene.exit):
        text = Path(f"/proc/{proxy_of(host)}/status").read_text()
        found = parse_status(text)
        assert found.permitted == found.effective == CAP_NET_BIND_SERVICE
        assert found.bounding & ~CAP_NET_BIND_SERVICE == 0
        assert set(found.uids) == {NOBODY}
        # What it sends for others is never steered.
        assert set(found.gids) == {CARRIER_GROUP}
        assert found.no_new_privs
    assert "proxy" not in scene.bert.roles()


def test_killed_it_is_back_within_a_second(scene: Scene) -> None:
    """And the tunnel does not notice."""
    killed = proxy_of(scene.ann)
    before = scene.ann.roles()
    kill_process(killed)
    words = ["--socks5-hostname", MIXED, "http://web.example/"]
    took = until(
        lambda: scene.curl(*words, check=False) == EXIT_OUTSIDE, "it serves again"
    )
    assert took < 5.0
    roles = scene.ann.roles()
    assert roles.pop("proxy") != before.pop("proxy")
    assert roles == before


def test_a_thousand_at_once_and_no_more(scene: Scene) -> None:
    """Those who come then are closed at once; the others are served."""
    bert = scene.bert.address
    words = [*(sys.executable, str(PROGRAMS), "crowd", OWN_WAY), f"{bert}:80", "1010"]
    output = scene.ann.host.run(words, timeout=60.0).stdout
    served, refused = map(int, output.split())
    assert served + refused == 1010
    assert (served, refused) == (1000, 10)
    found = scene.ann.ask("proxy list")["listeners"]
    seen = next(one for one in found if one["listen"] == OWN_WAY)
    assert seen["refusedClients"] == 10
    assert seen["totalClients"] >= 1000
    assert seen["receivedBytes"] > 1000 * 100


def test_configuration_is_read_again(scene: Scene, tmp_path: Path) -> None:
    """Users, Unix sockets and taken ports; who is served stays so."""
    ann = scene.ann
    users, path = tmp_path / "users", ann.directories.run / "apps" / "socks"
    ann.run("proxy", "user", "alice", "--file", str(users), stdin="wonder land\n")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    before = ann.config_file.read_text()
    lan = f"{ann.port.v4}:1083"
    taken = ann.host.start(["socat", "TCP-LISTEN:1084,fork", "/dev/null"])
    refused = listener(lan)
    append(ann, refused)
    assert "others could use it: give users_file" in ann.refusal("reload")[1]
    ann.config_file.write_text(
        before
        + listener(lan, users_file=str(users))
        + listener(f"unix:{path}", kind="socks")
        + listener("127.0.0.1:1084")
    )
    ann.run("reload")
    wait_until(lambda: is_open(ann, lan), "there are users", timeout=PATIENCE)
    stranger = scene.bert.host
    to_bert = f"http://{scene.bert.address}/"
    for scheme in ("socks5", "http"):
        proxy = [f"--proxy {scheme}://{lan} {to_bert}"][0].split()
        assert curl(stranger, "-f", *proxy, check=False).startswith("exit ")
        wrong = [*proxy, "--proxy-user", "alice:wonderland"]
        assert curl(stranger, "-f", *wrong, check=False).startswith("exit ")
        right = [*proxy, "--proxy-user", "alice:wonder land"]
        assert curl(stranger, *right) == ann.address
        # This host's loopback is for nobody else.
        to_loopback = [*right[:-3], "http://127.0.0.1/", *right[-2:]]
        assert curl(stranger, "-f", *to_loopback, check=False).startswith("exit ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    unix = ["--proxy", f"socks5h://localhost{path}", to_bert]
    assert scene.curl(*unix) == ann.address
    wait_until(
        lambda: any("1084 is taken" in one for one in ann.status()["health"]),
        "status complains",
    )
    taken.stop()
    wait_until(lambda: is_open(ann, "127.0.0.1:1084"), "the port is had")
    assert not any("proxy" in one for one in ann.status()["health"])
    for role in ("control", "proxy"):
        process = ann.roles()[role]
        kill_process(process)
        until(lambda r=role, p=process: ann.roles().get(r, p) != p, "it is back")
        until(lambda: scene.curl(*unix, check=False) == ann.address, "still served")
    ann.config_file.write_text(before)
    until(lambda: ann.run("reload", check=False).returncode == 0, "it is read again")
    wait_until(lambda: not path.exists(), "the socket is gone")
    assert ann.process is not None
    assert "wonder land" not in ann.process.output
    assert not is_open(ann, lan)


_AS_NOBODY = """
import os, sys, encodings.idna
import meshnode.cli.main, meshnode.cli.proxy, meshnode.node.proxy_foreground
import meshnode.manage.api_client
os.setgroups([]); os.setgid(65534); os.setuid(65534)
meshnode.cli.main.main()
"""


def test_in_the_foreground_for_anybody(scene: Scene) -> None:
    """Who may not ask the node names the exit by its overlay address."""
    words = ["proxy", "--listen", "127.0.0.1:1091", "--exit", scene.exit.address]
    process = scene.ann.host.start(
        [sys.executable, "-c", _AS_NOBODY, *words], environment=scene.ann.variables
    )
    wait_until(lambda: "serving mixed" in process.output, "it serves", timeout=PATIENCE)
    words = ["--socks5-hostname", "127.0.0.1:1091", "http://web.example/"]
    assert scene.curl(*words) == EXIT_OUTSIDE
    process.stop()


def test_nothing_is_left(scene: Scene) -> None:
    """Of a Unix socket, after all processes were killed and the node is gone."""
    bert = scene.bert
    path = bert.directories.run / "apps" / "mixed"
    before = traces(bert.host)
    append(bert, listener(f"unix:{path}"))
    bert.run("reload")
    wait_until(path.exists, "the socket is there", timeout=PATIENCE)
    bert.kill()
    bert.run("cleanup")
    assert not path.exists()
    assert [one for one in leftovers(bert.host, before) if one.startswith("+")] == []
