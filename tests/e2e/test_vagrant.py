"""What the virtual machines are told to be: the plan that the Vagrantfile reads.

The machines themselves take minutes: tools/vagrant-test starts them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from topology.build import build
from topology.hosts import Host, Lab
from topology.parsing import load, parse
from topology.reading import DescriptionError
from vagrant import plan
from vagrant.machines import Timing, timings
from vagrant.mesh import Cables

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "topology").glob("*.toml"))

_BEHIND_NAT = """
[network]
name = "home"
cidr = "10.77.0.0/16"

[[node]]
name = "laptop"
runs = "plain"
gateway = "router"

[[node]]
name = "router"
runs = "router"
nat = "masquerade"
outside = "street"

[[node]]
name = "server"
runs = "meshnode"
founder = true

[[lan]]
name = "inside"
prefix = "192.168.1.0/24"
prefix6 = "fd01::/64"
members = ["router", "laptop"]
mtu = 1400

[[lan]]
name = "street"
prefix = "198.18.0.0/24"
members = ["server", "router"]
latency = "20ms"
jitter = "4ms"
loss = "1.5%"
rate = "10mbit"
"""


def _machines(text: str) -> dict[str, Any]:
    """Return the machines of a description by name, as the Vagrantfile reads them."""
    read = json.loads(json.dumps(plan.plan(parse(text, "test.toml"))))
    return {machine["name"]: machine for machine in read["machines"]}


def _lines(text: str, node: str) -> list[str]:
    return str(_machines(text)[node]["script"]).splitlines()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_topology_has_a_machine_a_node_and_a_card_a_lan(file: Path) -> None:
    """No node and no place in a LAN is lost, and no two cards share an address."""
    description = load(file)
    machines = _machines(file.read_text())
    assert list(machines) == [node.name for node in description.nodes]
    cards = [card["mac"] for machine in machines.values() for card in machine["cards"]]
    assert (
        len(set(cards)) == len(cards) == sum(len(x.members) for x in description.lans)
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scripts_are_shell(file: Path) -> None:
    """The shell can parse what every machine runs at its start."""
    for machine in _machines(file.read_text()).values():
        checked = subprocess.run(
            ["bash", "-n"], input=machine["script"], text=True, capture_output=True
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_card_addresses_are_unicast_and_not_a_vendors() -> None:
    """The kernel refuses multicast addresses, and vendors own the others."""
    first = bytes.fromhex(plan.card_address("alice", "internet").replace(":", ""))[0]
    assert first & 0b11 == 0b10


def test_cards_have_the_addresses_of_the_description() -> None:
    """Each card is called as its LAN is and has its MTU and both addresses."""
    machines = _machines(_BEHIND_NAT)
    (card,) = machines["laptop"]["cards"]
    lines = _lines(_BEHIND_NAT, "laptop")
    assert card["lan"] == "inside"
    assert f"card {card['mac']} inside 1400" in lines
    assert "ip address replace 192.168.1.2/24 dev inside nodad" in lines
    assert "ip address replace fd01::2/64 dev inside nodad" in lines


def test_jitter_only_adds_to_latency() -> None:
    """Delays are spread around the middle: 22 ± 2 ms is 20 to 24."""
    (shape,) = [line for line in _lines(_BEHIND_NAT, "server") if "netem" in line]
    assert shape.startswith("tc qdisc replace dev street root netem limit ")
    assert shape.endswith("delay 22000us 2000us loss 1.5000% rate 10000000bit")


def test_a_plain_lan_is_not_shaped() -> None:
    """Without latency, loss and rate, packets meet no queue of ours."""
    assert not any("netem" in line for line in _lines(_BEHIND_NAT, "laptop"))


def test_routers_forward_and_hide_what_is_inside() -> None:
    """Only the router forwards, and rewrites what leaves to the outside."""
    forwards = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    assert forwards in _lines(_BEHIND_NAT, "router")
    assert 'oifname "street" masquerade' in _lines(_BEHIND_NAT, "router")
    for other in ("laptop", "server"):
        assert not any("forward" in line for line in _lines(_BEHIND_NAT, other))
        assert not any("masquerade" in line for line in _lines(_BEHIND_NAT, other))


def test_routes_lead_to_gateways_and_not_behind_a_nat() -> None:
    """Who is inside has a default route of both versions; outside knows no inside."""
    assert [line for line in _lines(_BEHIND_NAT, "laptop") if " route " in line] == [
        "ip -4 route replace 198.18.0.0/24 via 192.168.1.1",
        "ip -4 route replace default via 192.168.1.1",
        "ip -6 route replace default via fd01::1",
    ]
    assert not any(" route " in line for line in _lines(_BEHIND_NAT, "server"))


def test_only_meshnode_nodes_get_meshnode() -> None:
    """A plain host or a router is one without meshnode."""
    runs = {
        name: machine["meshnode"] for name, machine in _machines(_BEHIND_NAT).items()
    }
    assert runs == {"laptop": False, "router": False, "server": True}


@pytest.mark.parametrize("old", ["192.168.1.0/24", "10.77.0.0/16"])
def test_the_management_network_is_refused(old: str) -> None:
    """Vagrant would lose its way to the machines; the complaint says what to do."""
    text = _BEHIND_NAT.replace(old, "192.168.250.128/25")
    with pytest.raises(DescriptionError, match=r"overlaps 192\.168\.250\.0/24.*take"):
        plan.plan(parse(text, "test.toml"))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "usage: "),
        (["no/such.toml"], 1, "no/such.toml: No such file"),
        (["a", "b"], 2, "usage: "),
    ],
)
def test_the_plan_command_says_what_is_wrong(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Vagrant shows this line to its user; nothing is on standard output."""
    assert plan.main(words) == status
    output = capsys.readouterr()
    assert output.err.startswith(said)
    assert output.out == ""


def test_the_plan_needs_only_the_standard_library() -> None:
    """Vagrant asks the system's Python, which has no packages of ours."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _ALONE, str(ROOT), str(FILES[0])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["management"] == str(plan.MANAGEMENT)


_ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from vagrant.plan import main
sys.exit(main(sys.argv[2:]))
"""


def test_timings_are_read_from_what_vagrant_says() -> None:
    """The lines of two machines are told apart; what no machine says counts not."""
    said = [
        (1.0, "Bringing machine 'a' up with 'libvirt' provider..."),
        (2.0, "==> a: Starting domain."),
        (30.0, "==> a: Machine booted and ready!"),
        (31.0, "==> a: Running provisioner: meshnode (shell)..."),
        (50.0, "    a: meshnode, version 0.1.0"),
        (51.0, "==> b: Starting domain."),
        (52.0, "something else"),
        (83.0, "==> b: Machine booted and ready!"),
        (93.0, "==> b: Running provisioner: network (shell)..."),
    ]
    assert timings(said, ["a", "b"]) == [
        Timing("a", 28.0, 20.0),
        Timing("b", 32.0, 10.0),
    ]


def _answers(host: Host, address: str) -> bool:
    return host.run(f"ping -n -c 1 -W 1 {address}", check=False).returncode == 0


@pytest.mark.root
def test_cuts_part_exactly_whom_they_name(lab: Lab) -> None:
    """Rules by Ethernet address cut a pair, or a node off a LAN, until healed."""
    # The name is a word of nft's language.
    description = parse(_BEHIND_NAT.replace('"inside"', '"ip"'), "test.toml")
    underlay = build(lab, description)
    for node, lan in underlay.ports:
        address = plan.card_address(node, lan)
        underlay.hosts[node].ip(f"link set dev {lan} address {address}")
    cables = Cables(description, lab, underlay.hosts, {}, underlay.ports)
    server = underlay.ports["server", "street"].v4
    router, laptop = underlay.hosts["router"], underlay.hosts["laptop"]

    def reached() -> tuple[bool, ...]:
        # The first packet after a change may wait for ARP, and 1.5 % are lost.
        return tuple(
            any(_answers(host, server) for _ in range(3)) for host in (router, laptop)
        )

    assert reached() == (True, True)
    cables.cut("laptop", lan="ip")
    assert reached() == (True, False)
    cables.heal("laptop", lan="ip")
    cables.cut("server", other="router")
    assert reached() == (False, False)
    cables.heal("server", other="router")
    assert reached() == (True, True)
