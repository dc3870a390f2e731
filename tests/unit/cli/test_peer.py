"""`meshnode peer`: devices without meshnode."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.manage.wg_config import parse_wg_config
from tests.founded_node import RunningNode

Run = Callable[..., Any]
KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


def test_a_device_gets_a_file_that_wg_quick_takes(
    meshnode: Run, gate: RunningNode
) -> None:
    """Its key is made here and is nowhere else."""
    result = meshnode("peer", "add", "phone", "--wireguard")
    assert (result.code, result.err) == (0, "")
    config = parse_wg_config(result.out)
    member = gate.node.membership.by_name("phone")
    assert member is not None
    assert config.private_key is not None
    assert config.private_key.public_key().raw == member.key
    assert config.addresses == tuple(str(one) for one in member.addresses)
    (peer,) = config.peers
    assert peer.public_key.raw == gate.node.key
    assert str(peer.endpoint) == "gate.example.org:51820"
    assert peer.keepalive == 25
    assert [str(p) for p in peer.allowed_ips] == [
        str(p) for p in gate.node.roads.overlay
    ]
    for path in gate.directories.state.rglob("*"):
        if path.is_file():
            secret = config.private_key.to_base64().encode()
            assert secret not in path.read_bytes()


def test_the_file_is_written_for_us_alone(
    meshnode: Run, gate: RunningNode, tmp_path: Path
) -> None:
    """Never over another."""
    path = tmp_path / "phone.conf"
    arguments = ("peer", "add", "phone", "--wireguard", "--output", str(path))
    result = meshnode(*arguments, "--group", "staff", "--gateway", "gate")
    assert (result.code, result.out) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_wg_config(path.read_text()).private_key is not None
    assert meshnode(*arguments).code == 2


def test_a_device_may_keep_its_key(meshnode: Run, gate: RunningNode) -> None:
    """Then there is no secret in what is printed."""
    result = meshnode(
        *("peer", "add", "phone", "--wireguard", "--public-key", KEY, "--qr", "--json")
    )
    assert result.code == 0
    told = json.loads(result.out)
    assert (told["name"], told["key"]) == ("phone", KEY)
    assert parse_wg_config(told["config"]).private_key is None
    assert len(result.err.splitlines()) > 15  # the QR code
    member = gate.node.membership.by_name("phone")
    assert member is not None
    assert str(PublicKey(member.key)) == KEY


def test_a_gateway_that_nobody_can_find_is_a_warning(meshnode: Run, node: Any) -> None:
    """The file has no Endpoint then."""
    node.answers["peer add"] = {
        "name": "phone",
        "addresses": ["10.77.0.9/32"],
        "allowedIps": ["10.77.0.0/16"],
        "peerKey": KEY,
        "endpoints": [],
    }
    result = meshnode("peer", "add", "phone", "--wireguard", "--lifetime", "30d")
    assert result.code == 0
    assert "Endpoint" not in result.out
    assert result.err.startswith("warning: nobody knows where the gateway listens")
    args = node.of("peer add")
    assert (args["lifetime"], args["gateways"], args["groups"]) == (30 * 86400, [], [])


def test_devices_are_listed_and_removed(meshnode: Run, node: Any) -> None:
    """Other members are not touched by this."""
    device = {
        "name": "phone",
        "ipv4": "10.77.0.9",
        "roles": ["stock"],
        "gateways": ["gate"],
        "groups": [],
        "notAfter": 2**40,
    }
    other = {**device, "name": "paris", "roles": ["relay"]}
    node.answers["peers"] = {"peers": [device, other]}
    node.answers["cert revoke"] = {"key": KEY}
    lines = meshnode("peer", "list").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["NAME", "ADDRESS", "BEHIND"],
        ["phone", "10.77.0.9", "gate"],
    ]
    assert json.loads(meshnode("peer", "list", "--json").out)["peers"] == [device]
    assert meshnode("peer", "remove", "paris").code == 3
    assert [verb for _, verb, _ in node.asked if verb == "cert revoke"] == []
    assert meshnode("peer", "remove", "phone").code == 0
    assert node.of("cert revoke") == {"member": "phone", "reason": "removed"}
    node.answers["peers"] = {"peers": [other]}
    assert "no devices" in meshnode("peer", "list").err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["phone"], 2),
        (["phone", "--wireguard", "--public-key", "short"], 1),
        (["phone", "--wireguard", "--gateway", "nobody"], 3),
        (["Phone", "--wireguard"], 1),
        (["gate", "--wireguard"], 1),
    ],
    ids=str,
)
def test_what_is_refused_leaves_no_device(
    meshnode: Run, gate: RunningNode, arguments: list[str], code: int
) -> None:
    """And no secret on standard output."""
    result = meshnode("peer", "add", *arguments)
    assert (result.code, result.out) == (code, "")
    assert len(gate.node.membership) == 1
