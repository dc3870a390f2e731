"""Applications that know of no proxy go where rules say, and leave no trace."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshnode.host.privileges import (
    CAP_NET_BIND_SERVICE,
    CARRIER_GROUP,
    NOBODY,
    parse_status,
)
from tests.e2e.mesh_parts import (
    PATIENCE,
    MeshHost,
    Site,
    await_acquainted,
    kill_process,
    traces,
)
from topology.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.root

HERE = Path(__file__).parent
WEB = ("198.51.100.7", "198.51.100.8", "2001:db8:100::7")
REFUSED = "7"
FAILED = ("7", "28", "56")
"""Exit codes of curl: refused; and also after a while, or by a reset."""


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
    guest: Host
    ann_address: str

    def steer(self, *rules: str) -> None:
        """Let these be the rules, in force when this returns."""
        text = self.ann.config_file.read_text().partition("[[steer]]")[0]
        tables = [f"[[steer]]\n{rule}\n" for rule in rules]
        self.ann.config_file.write_text(text + "\n".join(tables))
        self.ann.run("reload")

    def fetch(
        self,
        address: str,
        *words: str,
        port: int = 80,
        host: Host | None = None,
        seconds: int = 8,
    ) -> str:
        """Return the address that a web server sees, or curl's exit code."""
        place = f"[{address}]" if ":" in address else address
        command = ["curl", "-sS", "-m", str(seconds), f"http://{place}:{port}/"]
        asking = host or self.ann.host
        result = asking.run([*words, *command], check=False)
        return result.stdout or str(result.returncode)

    def look_up(self, name: str) -> str:
        """Return what our node's resolver says to a name."""
        command = [sys.executable, "-c", LOOK_UP, self.ann.address, name]
        return self.ann.host.run(command).stdout.strip()

    def ask(self, address: str, port: int = 53) -> list[str]:
        """Return what a UDP server answers to three datagrams of one socket."""
        command = [sys.executable, "-c", ASK, address, str(port)]
        result = self.ann.host.run(command, check=False)
        return result.stdout.splitlines() or [result.stderr.splitlines()[-1]]


LOOK_UP = """
import sys
from dnslib import DNSRecord
record = DNSRecord.parse(DNSRecord.question(sys.argv[2]).send(sys.argv[1], timeout=5))
print(*[one.rdata for one in record.rr])
"""


def serve(host: Host, program: str, *words: str, port: str) -> None:
    """Start a program of ours, and wait until it serves at *port*."""
    host.start([sys.executable, str(HERE / program), *words])

    def is_there() -> bool:
        return f":{port} " in host.run("ss -Hlntu").stdout

    wait_until(is_there, f"{program} serves", timeout=PATIENCE)


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    """Two members, a proxy and a web server on one segment, and a guest behind."""
    with Lab() as lab:
        yield from build(lab)


def build(lab: Lab) -> Iterator[Street]:
    """Build it, and take it down when it is asked for again."""
    site = Site(lab)
    ann, away = site.host("ann"), site.host("exit")
    ann.found()
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
    serve(web.host, "mirror_program.py", "80", "81", "53", *WEB, port="53")
    serve(web.host, "names_program.py", web.v4, "5300", WEB[1], port="5300")
    serve(proxy.host, "socks_program.py", f"{proxy.v4}:1080", port="1080")
    names = f'upstream = ["{web.v4}:5300"]\nmanage = "off"\n'
    ann.config_file.write_text(f"{ann.config_file.read_text()}\n[dns]\n{names}\n")
    ann.up()
    token = ann.invite("--role", "exit", "--route", "0.0.0.0/0", "--route", "::/0")
    away.run("join", "-", "--name", "exit", "--no-up", stdin=token)
    with away.config_file.open("a") as file:
        file.write("\n[exit]\noffer = true\n")
    away.up()
    await_acquainted([ann, away])
    wait_until(
        lambda: ":1080 " in away.host.run("ss -Hlnt").stdout,
        "the exit serves",
        timeout=PATIENCE,
    )
    near, guest = lab.connect(ann.host, lab.host("guest"))
    guest.host.ip(f"route add default via {near.v4}")
    yield Street(ann, away, proxy.host, web.host, guest.host, ann.port.v4)
    for member in (ann, away):
        if member.pids():
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
        'groups = ["/no-such-group"]\nvia = "refuse"',
        f'to = ["198.51.100.8", "2001:db8:100::/48"]\n{via}',
        'to = ["198.51.100.0/24"]\nports = ["tcp:80", "udp:50-60"]\nvia = "exit:exit"',
    )
    assert street.fetch(WEB[0]) == exited
    assert street.fetch(WEB[1]) == proxied
    assert street.fetch(WEB[2]) == "2001:db8::3"
    assert street.fetch(WEB[0], port=81) == REFUSED
    alice = ["setpriv", "--reuid=12345", "--clear-groups"]
    assert street.fetch(WEB[0], *alice) == ours
    assert street.ask(WEB[0]) == [f"{exited} {n}" for n in range(3)]
    assert street.ask(WEB[1]) == [f"{proxied} {n}" for n in range(3)]
    assert street.ask(WEB[2]) == [f"2001:db8::3 {n}" for n in range(3)]
    # Whom we pass packets on for meets the same rules.
    ann.host.sysctl("net.ipv4.ip_forward", 1)
    ann.run("reload")
    assert street.fetch(WEB[1], host=street.guest) == proxied
    ann.host.sysctl("net.ipv4.ip_forward", 0)
    listed = ann.json("steer", "list")
    packets = {rule["number"]: rule["packets"] for rule in listed["rules"]}
    # Counters began anew with the table.
    assert packets[4] >= 5
    assert packets[1] == packets[2] == 0
    assert "no control group /no-such-group" in listed["problems"][0]
    assert ann.run("steer", "check", check=False).returncode == 1
    steered = ann.json("trace", WEB[0], "--tcp", "80", "--user", "12345")["steer"]
    assert steered == {"rule": 2, "via": "direct"}
    refused = ann.run("trace", WEB[0], "--tcp", "81", check=False)
    assert (refused.returncode, "rule 1" in refused.stdout) == (1, True)
    street.steer()
    assert street.fetch(WEB[0]) == ours
    assert street.fetch(WEB[0], port=81) == ours
    state, variables = traces(ann.host)
    kinds = {change.split()[1] for change in state.changes_since(before[0])}
    # The process stays; no rule may need it for long.
    assert (kinds, variables) == ({"processes:"}, before[1])


def test_a_name_is_steered_once_it_was_looked_up(street: Street) -> None:
    """The address that its answer has, from the moment that it is known."""
    ours, proxied = street.ann_address, "198.18.0.3"
    street.steer('domains = ["example.org"]\nvia = "socks5://198.18.0.3:1080"')
    assert street.look_up("www.example.net") == WEB[1]
    assert street.fetch(WEB[1]) == ours
    assert street.look_up("www.example.org") == WEB[1]
    assert street.fetch(WEB[1]) == proxied
    assert street.fetch(WEB[0]) == ours
    (rule,) = street.ann.json("steer", "list")["rules"]
    assert [*rule["learnt"]] == [WEB[1]]
    # It is known by the next rules, too, and by the next process.
    street.steer(
        f'to = ["{WEB[0]}"]\nvia = "refuse"',
        'domains = ["org"]\nvia = "socks5://198.18.0.3:1080"',
    )
    assert street.fetch(WEB[1]) == proxied
    assert street.fetch(WEB[0]) == REFUSED
    ann, control = street.ann, street.ann.roles()["control"]
    kill_process(control)
    wait_until(lambda: ann.roles().get("control") not in (None, control), "dead")
    wait_until(ann.is_ready, "control is back", timeout=PATIENCE)
    wait_until(
        lambda: [*ann.json("steer", "list")["rules"][1]["learnt"]] == [WEB[1]],
        "what was learnt is known again",
        timeout=PATIENCE,
    )
    assert street.fetch(WEB[1]) == proxied


def test_a_full_tunnel_is_split_by_rules(street: Street) -> None:
    """Packets that rules send into the mesh leave by the exit, all others do not."""
    ann, ours, exited = street.ann, street.ann_address, "198.18.0.2"
    street.steer()
    ann.run("exit", "use", "exit")
    try:
        assert street.fetch(WEB[0], port=81) == exited
        street.steer(
            f'to = ["{WEB[0]}"]\nports = ["tcp:80"]\nvia = "mesh"',
            'to = ["0.0.0.0/0", "::/0"]\nvia = "direct"',
        )
        assert street.fetch(WEB[0]) == exited
        assert street.fetch(WEB[0], port=81) == ours
        assert street.fetch(WEB[1]) == ours
        assert street.ask(WEB[1]) == [f"{ours} {n}" for n in range(3)]
    finally:
        ann.run("exit", "off")
        street.steer()
    assert street.fetch(WEB[0]) == ours


def test_the_process_that_carries_may_be_killed(street: Street) -> None:
    """Nothing slips out meanwhile, connections wait, and no host change is left."""
    ann = street.ann
    before = ann.host.state()
    street.steer('to = ["198.51.100.0/24"]\nvia = "exit:exit"')
    exited = "198.18.0.2"
    assert street.fetch(WEB[0]) == exited
    roles = ann.roles()
    held = parse_status(Path(f"/proc/{roles['carrier']}/status").read_text())
    assert (set(held.uids), set(held.gids)) == ({NOBODY}, {CARRIER_GROUP})
    assert held.effective == 1 << CAP_NET_BIND_SERVICE
    kill_process(roles["carrier"])
    assert street.fetch(WEB[0]) == exited
    kill_process(roles["control"])
    wait_until(
        lambda: ann.roles().get("control") not in (None, roles["control"]), "dead"
    )
    wait_until(ann.is_ready, "control is back", timeout=PATIENCE)
    assert street.fetch(WEB[0]) == exited
    # An exit that is gone is no reason to go another way.
    street.exit.kill()
    assert street.fetch(WEB[0], seconds=1) in FAILED
    ann.kill()
    assert "meshnode_home_steer" in ann.host.run("nft list tables").stdout
    ann.run("cleanup")
    changes = ann.host.state().changes_since(before)
    # What was taken from it is the node's, which was up.
    assert not [change for change in changes if change.startswith("+")]
