"""Topology files in namespaces: their underlay, their mesh, and `tools/lab`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from topology import checks, kept, leaks, measure
from topology.build import Underlay, build, ignored
from topology.description import Description
from topology.hosts import Lab, wait_until
from topology.mesh import Mesh
from topology.narrator import Narrator
from topology.parsing import load, parse
from topology.paths import routed_trails
from topology.processes import LabError
from topology.tunnels import Joined

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
TOPOLOGIES = ROOT / "topology"
FAKE = (sys.executable, str(Path(__file__).with_name("fake_meshnode.py")))
SHIPPED = sorted(path.stem for path in TOPOLOGIES.glob("*.toml"))

# A network of hosts only: a desk behind a NAT, two servers outside.
PLAIN = """
network = { name = "n", cidr = "10.77.0.0/16" }
node = [
  { name = "desk", runs = "plain" },
  { name = "home", runs = "router", nat = "masquerade", outside = "net" },
  { name = "one", runs = "plain" },
  { name = "two", runs = "plain" },
]
[[lan]]
name = "lan"
prefix = "192.168.1.0/24"
members = ["home", "desk"]
[[lan]]
name = "net"
prefix = "198.18.0.0/24"
prefix6 = "2001:db8::/64"
members = ["home", "one", "two"]
[[must]]
from = "desk"
reach = "one"
"""


def _described(name: str) -> Description:
    return load(TOPOLOGIES / f"{name}.toml")


def _answers(underlay: Underlay, sender: str, address: str) -> bool:
    """Whether one of three pings is answered."""
    command = f"ping -n -c 3 -i 0.05 -W 0.5 {address}"
    return underlay.hosts[sender].run(command, check=False).returncode == 0


def _addresses(underlay: Underlay, node: str) -> Iterator[tuple[str, str]]:
    """Yield the LANs of a node with its address there."""
    for (member, lan), port in underlay.ports.items():
        if member == node:
            yield lan, port.v4


@pytest.mark.parametrize("name", SHIPPED)
def test_underlay_is_as_described(lab: Lab, name: str) -> None:
    """Who has a way to a LAN reaches everybody in it, and whoever has none does not."""
    described = _described(name)
    underlay = build(lab, described)
    for sender in described.nodes:
        ways = routed_trails(described, sender.name)
        for receiver in described.nodes:
            for lan, address in _addresses(underlay, receiver.name):
                if lan in ways:
                    checks.await_answer(underlay.hosts[sender.name], address, 5)


def test_hosts_without_a_way_do_not_reach_each_other(lab: Lab) -> None:
    """Sites forward nothing by themselves: that is what the mesh is for."""
    underlay = build(lab, _described("three-sites"))
    assert not _answers(underlay, "desk-a", underlay.ports["site-b", "internet"].v4)
    assert not _answers(underlay, "desk-a", underlay.ports["desk-b", "lan-b"].v4)


def test_ipv6_is_built_too(lab: Lab) -> None:
    """Where a LAN has a prefix of version 6, its members use it."""
    underlay = build(lab, _described("one-lan"))
    assert _answers(underlay, "ann", underlay.ports["dora", "switch"].v6)


def test_interfaces_are_called_as_their_lans(lab: Lab) -> None:
    """And nothing else of the laboratory is to be seen in a host."""
    underlay = build(lab, _described("three-sites"))
    assert underlay.hosts["site-b"].interfaces() == {"internet", "lan-b"}


def test_cut_between_two_leaves_the_others_alone(lab: Lab) -> None:
    """Nothing passes between the two in either direction, until healed."""
    underlay = build(lab, _described("one-lan"))
    address = {node: port.v4 for (node, _), port in underlay.ports.items()}
    underlay.cut("ben", other="cem")
    underlay.cut("ben", other="dora")
    assert not _answers(underlay, "ben", address["cem"])
    assert not _answers(underlay, "cem", address["ben"])
    assert not _answers(underlay, "dora", address["ben"])
    assert _answers(underlay, "ben", address["ann"])
    assert _answers(underlay, "cem", address["dora"])
    underlay.heal("cem", other="ben")
    checks.await_answer(underlay.hosts["ben"], address["cem"], 5)
    assert not _answers(underlay, "dora", address["ben"])


def test_cut_off_a_lan_is_silent(lab: Lab) -> None:
    """Nothing passes, but the host's link stays up, as when a provider fails."""
    underlay = build(lab, _described("star"))
    address = underlay.ports["n4", "line-4"].v4
    checks.await_answer(underlay.hosts["n1"], address, 5)
    underlay.cut("n4", lan="line-4")
    assert not _answers(underlay, "n1", address)
    (link,) = underlay.hosts["n4"].ip("-j link show dev line-4")
    assert link["operstate"] == "UP"
    underlay.heal("n4", lan="line-4")
    checks.await_answer(underlay.hosts["n1"], address, 5)


@pytest.mark.parametrize(("loss", "least", "most"), [("100%", 0, 0), ("30%", 50, 150)])
def test_packets_are_lost(lab: Lab, loss: str, least: int, most: int) -> None:
    """A round trip survives both directions: 49 % of 200, give or take."""
    text = PLAIN.replace('name = "net"\n', f'name = "net"\nloss = "{loss}"\n')
    underlay = build(lab, parse(text, "lossy.toml"))
    one, two = underlay.ports["one", "net"], underlay.ports["two", "net"]
    # Neighbours are known: the lost packets are pings, not questions for addresses.
    for port, other in ((one, two), (two, one)):
        (link,) = other.host.ip("-j link show dev net")
        port.host.ip(
            f"neighbour replace {other.v4} lladdr {link['address']} dev net "
            "nud permanent"
        )
    result = one.host.run(f"ping -n -c 200 -i 0.002 -W 1 {two.v4}", check=False)
    assert least <= result.stdout.count("icmp_seq=") <= most


def test_rate_limits_both_directions(lab: Lab) -> None:
    """No more than the line's rate passes, either way."""
    text = PLAIN.replace('name = "net"\n', 'name = "net"\nrate = "4mbit"\n')
    underlay = build(lab, parse(text, "slow.toml"))
    one, two = underlay.ports["one", "net"], underlay.ports["two", "net"]
    joined = Joined(one.host, two.host, one.v4, two.v4, one.v6, two.v6)
    for reverse in (False, True):
        result = measure.tcp(joined, seconds=2, reverse=reverse)
        # Its burst comes on top.
        assert 0 < result.bits_per_second < 5e6


def test_mtu_is_that_of_the_lan(lab: Lab) -> None:
    """The longest packet passes, the next longer one does not."""
    underlay = build(lab, _described("star"))
    core = underlay.ports["core", "line-9"]
    headers = 28
    ping = f"ping -n -c 1 -W 1 -M do {core.v4} -s"
    host = underlay.hosts["n9"]
    assert host.run(f"{ping} {1400 - headers}", check=False).returncode == 0
    assert host.run(f"{ping} {1401 - headers}", check=False).returncode != 0


def test_nat_hides_and_lets_nothing_new_in(lab: Lab) -> None:
    """Outside, the router's address is seen; a route to the inside does not help."""
    underlay = build(lab, parse(PLAIN, "plain.toml"))
    outside = underlay.ports["home", "net"].v4
    server = underlay.ports["one", "net"]
    server.host.nft(
        f"""
        table ip only_home {{
          chain input {{
            type filter hook input priority filter;
            ip saddr != {outside} drop
          }}
        }}
        """
    )
    assert _answers(underlay, "desk", server.v4)
    inner = underlay.ports["desk", "lan"].v4
    two = underlay.hosts["two"]
    two.ip(f"route add {inner} via {outside}")
    assert not _answers(underlay, "two", inner)


def test_what_is_ignored_is_said() -> None:
    """Latency needs netem, which is not there."""
    assert "internet" in ignored(_described("two-hosts"))
    assert ignored(parse(PLAIN, "plain.toml")) == ""


@pytest.fixture
def mesh(lab: Lab, request: pytest.FixtureRequest) -> Mesh:
    """The mesh of the file that the test's parameter names, run by the stand-in."""
    return Mesh(build(lab, _described(request.param)), FAKE)


@pytest.mark.parametrize(
    "mesh", ["two-hosts", "one-lan", "three-sites", "bootstrap-dies"], indirect=True
)
def test_story_is_played_to_its_end(mesh: Mesh) -> None:
    """Steps happen and musts are checked, each against real pings."""
    checks.start(mesh, Narrator())
    assert checks.play(mesh, Narrator()) == []
    mesh.stop_all()
    assert not any(mesh.processes(node.name) for node in mesh.description.nodes)


def _calls(mesh: Mesh, node: str) -> list[list[str]]:
    path = mesh.host(node).lab.directory / node / "state" / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("mesh", ["same-subnet"], indirect=True)
def test_nodes_are_run_by_the_command_line_alone(mesh: Mesh) -> None:
    """The words are those that a user would type."""
    checks.start(mesh, Narrator())
    mesh.stop("south")
    port = ["--listen-port", "51820"]
    route = ["--metric", "100", "--weight", "1", "--map", "192.168.1.0/24"]
    assert _calls(mesh, "north") == [
        [
            *("network", "create", "twins", "--cidr", "10.77.0.0/16"),
            *("--name", "north", *port, "--advertise", "198.18.0.1:51820"),
            *("--no-passphrase", "--accept-routes", "--route", "10.99.1.0/24"),
        ],
        ["up", "twins"],
        ["route", "add", "10.99.1.0/24", *route, "-n", "twins"],
        ["invite", "-n", "twins", "--name", "south", "--route", "10.99.2.0/24"],
    ]
    assert _calls(mesh, "south") == [
        [
            *("join", "token:twins:10.77.0.0/16", "--name", "south"),
            *(*port, "--accept-routes"),
        ],
        ["route", "add", "10.99.2.0/24", *route, "-n", "twins"],
        ["down", "twins"],
    ]
    mesh.stop_all()


@pytest.mark.parametrize("mesh", ["two-hosts"], indirect=True)
def test_killed_node_is_gone_at_once_and_can_start_again(mesh: Mesh) -> None:
    """It is not asked, and its overlay address is known still."""
    checks.start(mesh, Narrator())
    mesh.kill("bob")
    assert mesh.processes("bob") == []
    assert mesh.addresses("bob") == []
    assert ["down", "pair"] not in _calls(mesh, "bob")
    with pytest.raises(LabError, match="bob does not run"):
        mesh.stop("bob")
    mesh.start("bob")
    with pytest.raises(LabError, match="bob runs already"):
        mesh.start("bob")
    mesh.stop_all()


def test_what_does_not_hold_is_told_and_the_rest_goes_on(lab: Lab) -> None:
    """Each must that fails is named with its ends; the others are checked too."""
    text = PLAIN + (
        '[[must]]\nfrom = "one"\nreach = "10.1.1.1"\nwithin = "0.1s"\n'
        '[[must]]\nfrom = "one"\nnot_reach = "two"\nwithin = "0.1s"\n'
        '[[must]]\nfrom = "one"\nnot_reach = "10.1.1.1"\n'
    )
    mesh = Mesh(build(lab, parse(text, "wrong.toml")))
    failed = checks.play(mesh, Narrator())
    assert [line.partition(":")[0] for line in failed] == [
        "one → 10.1.1.1",
        "one → two",
    ]


def test_step_that_fails_ends_the_play(lab: Lab) -> None:
    """What comes after it would prove nothing."""
    text = PLAIN + (
        '[[step]]\nname = "far"\ndo = "ping"\nnode = "one"\nto = "10.1.1.1"\n'
        'within = "0.1s"\n'
        '[[must]]\nafter = "far"\nfrom = "one"\nreach = "10.1.1.2"\n'
    )
    mesh = Mesh(build(lab, parse(text, "wrong.toml")))
    assert checks.play(mesh, Narrator()) == [
        "far: 10.1.1.1 did not answer one in 0.1 s"
    ]


def _tool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `tools/lab`."""
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "lab.py", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def plain_file(tmp_path: Path) -> Path:
    """A file of hosts without meshnode."""
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN)
    return path


@contextmanager
def _up(file: Path) -> Iterator[kept.Kept]:
    result = _tool("up", file)
    assert result.returncode == 0, result.stderr
    try:
        yield kept.find(file)[0]
    finally:
        for lab in kept.find(file):
            lab.remove()


def test_lab_stays_up_until_it_is_taken_down(plain_file: Path) -> None:
    """No process stays, hosts work, and `down` removes everything."""
    own = os.listdir("/sys/class/net")
    with _up(plain_file) as lab:
        assert lab.tag not in leaks.abandoned_tags()
        # Its hosts answer each other though nothing of ours runs any more.
        assert not any(leak.startswith("process") for leak in leaks.find_leaks(lab.tag))
        inside = ("exec", "--file", plain_file, "desk", "--")
        assert _tool(*inside, "ping", "-c1", "-W2", "198.18.0.2").returncode == 0
        environment = _tool(*inside, "env").stdout
        assert f"MESHNODE_STATE_DIR={lab.directory}/desk/state\n" in environment
        assert f"{plain_file}: desk, home, one, two" in _tool("list").stdout
        again = _tool("up", plain_file)
        assert (again.returncode, again.stderr.count("\n")) == (1, 1)
        assert "is up already" in again.stderr
        assert _tool("down", plain_file).returncode == 0
        assert leaks.find_leaks(lab.tag) == []
        assert not lab.directory.exists()
    assert os.listdir("/sys/class/net") == own
    assert _tool("down", plain_file).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_up_leaves_nothing_behind(
    plain_file: Path, number: signal.Signals
) -> None:
    """Ctrl-C removes what was made so far; after SIGKILL `down` does."""
    # Enough hosts that it is not done before the signal comes.
    names = [f"h{number}" for number in range(60)]
    plain_file.write_text(
        'network = { name = "n", cidr = "10.77.0.0/16" }\n'
        + "".join(f'[[node]]\nname = "{name}"\nruns = "plain"\n' for name in names)
        + '[[lan]]\nname = "net"\nprefix = "198.18.0.0/24"\n'
        + f"members = {json.dumps(names)}\n"
    )
    process = subprocess.Popen(
        [sys.executable, ROOT / "tools" / "lab.py", "up", plain_file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        wait_until(
            lambda: any(leaks.namespaces_of(lab.tag) for lab in kept.find(plain_file)),
            "the first host is there",
        )
        (lab,) = kept.find(plain_file)
        process.send_signal(number)
        process.wait(30)
    assert process.returncode != 0
    if number is signal.SIGKILL:
        assert leaks.find_leaks(lab.tag)
        assert _tool("down", plain_file).returncode == 0
    assert leaks.find_leaks(lab.tag) == []
    assert kept.find(plain_file) == []


def test_failed_up_leaves_nothing_behind(plain_file: Path) -> None:
    """Here a host cannot be given its address: no host has a multicast one."""
    before = {lab.tag for lab in kept.everything()}
    plain_file.write_text(PLAIN.replace("2001:db8::/64", "ff02::/64"))
    result = _tool("up", plain_file)
    assert result.returncode == 1
    assert "ip -n" in result.stderr
    assert {lab.tag for lab in kept.everything()} == before


def test_run_tells_by_its_status_whether_all_holds(plain_file: Path) -> None:
    """0 if it does, 1 if not, and nothing stays either way."""
    good = _tool("run", plain_file)
    assert (good.returncode, good.stderr) == (0, "")
    assert "desk reaches one" in good.stdout
    plain_file.write_text(PLAIN.replace("reach", "not_reach") + 'within = "0.1s"\n')
    bad = _tool("run", plain_file)
    assert bad.returncode == 1
    assert "desk → one: 198.18.0.2 answers desk still" in bad.stdout


def test_nats_and_black_holes_are_changed_while_up(plain_file: Path) -> None:
    """By the names of the file; what makes no sense is one clear line."""
    with _up(plain_file):
        at = ("--file", plain_file)
        ping = ("exec", *at, "one", "--", "ping", "-c1", "-W1", "198.18.0.3")
        assert _tool("rebind", *at, "home").returncode == 0
        assert _tool("blackhole", *at, "two", "one").returncode == 0
        assert _tool(*ping).returncode == 1
        assert _tool("heal", *at, "two", "one").returncode == 0
        assert _tool(*ping).returncode == 0
        said = [
            _tool("rebind", *at, "one").stderr,
            _tool("blackhole", *at, "desk", "two").stderr,
            _tool("heal", *at, "one", "nobody").stderr,
        ]
    assert [line.count("\n") for line in said] == [1, 1, 1]
    assert said[0].startswith("one has no NAT: ")
    assert said[1].startswith("desk and two share no LAN: ")
    assert said[2].startswith("one and nobody share no LAN: ")


def test_an_internet_that_is_up_goes_on_and_goes(plain_file: Path) -> None:
    """Its process outlives `up`, and ends with `down`."""
    plain_file.write_text(
        PLAIN.replace('name = "net"\n', 'name = "net"\nhops = 1\nlatency = "5ms"\n')
    )
    with _up(plain_file) as lab:
        ping = ("ping", "-c1", "-W2", "198.18.0.2")
        inside = _tool("exec", "--file", plain_file, "desk", "--", *ping)
        assert "ttl=62" in inside.stdout
        assert _tool("down", plain_file).returncode == 0
        assert leaks.find_leaks(lab.tag) == []


def test_check_tells_one_line_for_each_bad_file(plain_file: Path) -> None:
    """Good files are counted up, bad ones named on standard error."""
    bad = plain_file.with_name("bad.toml")
    bad.write_text(PLAIN.replace("plain", "plane"))
    result = _tool("check", plain_file, bad)
    assert result.returncode == 1
    assert "nodes 4, LANs 2, steps 0, musts 1" in result.stdout
    assert result.stderr == (
        "bad.toml: node[desk].runs: 'plane' is none of meshnode, plain, router\n"
    )


def test_wrapper_needs_no_root_to_read(plain_file: Path) -> None:
    """`check` and `draw` install nothing and build nothing."""
    result = subprocess.run(
        [ROOT / "tools" / "lab", "draw", str(plain_file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "desk" in result.stdout


def test_unknown_node_is_told(plain_file: Path) -> None:
    """`exec` names the remedy."""
    result = _tool("exec", "--file", plain_file, "nobody", "--", "true")
    assert (result.returncode, result.stderr) == (
        1, "no node 'nobody' is up: tools/lab list\n"
    )  # fmt: skip


def test_overlay_of_a_node_that_never_joined_is_no_address(lab: Lab) -> None:
    """It cannot be silent: nobody knows whom to ask."""
    mesh = Mesh(build(lab, _described("two-hosts")), FAKE)
    target = mesh.description.musts[0].target
    with pytest.raises(LabError, match="bob has no overlay address"):
        mesh.address(target)
