"""A stock WireGuard device is a member of a mesh, behind a gateway of its choice."""

import json
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.e2e.capture import Capture
from tests.e2e.mesh_parts import MeshHost, Site, found_mesh
from tests.unit.dataplane.reference.halves import needs_aes
from topology.hosts import Lab, wait_until
from topology.tunnels import WireGuardDevice, wireguard_go

pytestmark = pytest.mark.root


class Phone:
    """A host that knows nothing but a `wg-quick` file."""

    def __init__(self, site: Site, text: str) -> None:
        self.text = text
        self.port = site.port(site.lab.host("phone"))
        self.device: WireGuardDevice = wireguard_go().start(self.port.host)
        config = ConfigParser()
        config.optionxform = str  # type: ignore[assignment,method-assign]
        config.read_string(text)
        peer = config["Peer"]
        addresses = config["Interface"]["Address"].split(", ")
        self.v4, self.v6 = (address.partition("/")[0] for address in addresses)
        lines = text.splitlines()
        plain = [line for line in lines if not line.startswith(("Address", "MTU"))]
        self.device.set_config("\n".join(plain) + "\n")
        self.device.bring_up(*addresses)
        for prefix in peer["AllowedIPs"].split(", "):
            self.device.host.ip(f"route add {prefix} dev {self.device.interface}")

    def pings(self, address: str) -> bool:
        """Whether *address* answers a few seconds long."""
        command = ["ping", "-c", "1", "-w", "5", address]
        return self.device.host.run(command, check=False).returncode == 0


@pytest.fixture
def mesh(lab: Lab) -> tuple[Site, list[MeshHost]]:
    """Two nodes that know each other; the first one is the issuer and a gateway."""
    site = Site(lab)
    return site, found_mesh(site, "anna", "bert")


def test_a_phone_reaches_the_whole_mesh(mesh: tuple[Site, list[MeshHost]]) -> None:
    """Its gateway carries it to members that never heard of its key, both ways."""
    site, (anna, bert) = mesh
    phone = Phone(site, anna.run("peer", "add", "phone", "--wireguard").stdout)
    assert phone.pings(anna.address)
    assert phone.pings(bert.address)
    assert phone.pings(bert.address6)
    assert bert.answers(phone.v4, within=5)
    assert bert.answers(phone.v6, within=5)
    assert bert.peers()["phone"]["ipv4"] == phone.v4
    assert bert.peers()["phone"]["gateways"] == ["anna"]


@needs_aes
def test_a_phone_sees_wireguard_and_nothing_else(
    mesh: tuple[Site, list[MeshHost]], tmp_path: Path
) -> None:
    """Though its gateway speaks of ciphers to members, and uses another with them."""
    site, (anna, bert) = mesh
    phone = Phone(site, anna.run("peer", "add", "phone", "--wireguard").stdout)
    capture = Capture(phone.port, tmp_path)
    assert phone.pings(bert.address)
    anna.pings(bert)
    wait_until(
        lambda: anna.peers()["bert"]["cipher"] == "aes-256-gcm", "anna sends AES"
    )
    assert phone.pings(bert.address)
    assert bert.answers(phone.v4, within=5)
    capture.end()
    told = capture.kinds(anna.port.v4, phone.port.v4)
    assert set(told) <= {1, 2, 4}
    # A handshake, and the answers and the question above: no message besides.
    assert told.count(4) <= 5
    assert anna.peers()["phone"]["cipher"] == "chacha20-poly1305"


def test_a_phone_has_a_policy_of_its_own(
    mesh: tuple[Site, list[MeshHost]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It may reach what its group may reach, and nothing else."""
    site, (anna, bert) = mesh
    arguments = ("peer", "add", "phone", "--wireguard", "--group", "guests")
    phone = Phone(site, anna.run(*arguments).stdout)
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text(
        '[[rule]]\nfrom = ["group:guests"]\nto = ["bert"]\nallow = ["icmp"]\n'
        '[[rule]]\nfrom = ["bert"]\nto = ["*"]\nallow = ["any"]\n'
    )
    anna.run("policy", "apply", str(policy))
    wait_until(lambda: bert.status()["policy"] == 1, "bert has the policy")
    assert phone.pings(bert.address)
    assert not phone.pings(anna.address)


def test_a_revoked_phone_is_cut_off(mesh: tuple[Site, list[MeshHost]]) -> None:
    """Its session ends, and its address is nobody's."""
    site, (anna, bert) = mesh
    phone = Phone(site, anna.run("peer", "add", "phone", "--wireguard").stdout)
    assert phone.pings(bert.address)
    anna.run("cert", "revoke", "phone")
    wait_until(lambda: "phone" not in bert.peers(), "bert forgets the phone")
    assert not phone.pings(bert.address)
    assert not phone.pings(anna.address)


def test_a_wg_quick_file_becomes_a_peer(
    mesh: tuple[Site, list[MeshHost]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`import` lets a node dial a WireGuard host that knows nothing of the mesh."""
    site, (anna, _) = mesh
    server = wireguard_go().start(site.port(site.lab.host("server")).host)
    server.set("private-key @ listen-port 4500", secret=server.keys.private)
    key = json.loads(anna.run("status", "--json").stdout)["key"]
    server.set(f"peer {key} allowed-ips {anna.address}/32")
    server.bring_up("10.99.0.1/24")
    server.host.ip(f"route add {anna.address}/32 dev {server.interface}")
    place = server.host.run("ip -4 -br address show dev lan").stdout.split()[2]
    address = place.partition("/")[0]
    file = tmp_path_factory.mktemp("wg") / "office.conf"
    file.write_text(
        f"[Interface]\nPrivateKey = {server.keys.private}\n"
        f"[Peer]\nPublicKey = {server.public_key}\n"
        f"Endpoint = {address}:4500\nAllowedIPs = 10.99.0.0/24\n"
    )
    file.chmod(0o600)
    anna.run("import", str(file))
    assert anna.answers("10.99.0.1", within=10)
