"""`meshnode cert`, over the verbs of a real node without a network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.manage.identity import load_identity
from meshnode.manage.network_config import load_config
from meshnode.manage.paths import Directories
from tests.founded_node import RunningNode, directories_in

Run = Callable[..., Any]


def at(host: Directories) -> list[str]:
    """Return the options for the directories of another host."""
    return [
        *("--config-dir", str(host.config), "--state-dir", str(host.state)),
        *("--run-dir", str(host.run), "--uapi-dir", str(host.uapi)),
    ]


@pytest.fixture
def laptop(tmp_path: Path) -> Directories:
    """The directories of a host that is no member yet."""
    return directories_in(tmp_path / "laptop")


def issue(meshnode: Run, laptop: Directories, *options: str) -> str:
    """Request at the laptop, issue at the gate; return the bundle."""
    asked = meshnode("cert", "request", "laptop", "--network-name", "home", *at(laptop))
    assert asked.code == 0
    issued = meshnode("cert", "issue", "-", *options, stdin=asked.out.encode())
    assert (issued.code, issued.err) == (0, "")
    return str(issued.out)


def test_a_host_joins_by_files_alone(
    meshnode: Run, gate: RunningNode, laptop: Directories, tmp_path: Path
) -> None:
    """Request there, bundle back, and it is a member that knows whom to ask."""
    bundle = tmp_path / "laptop.bundle"
    bundle.write_text(issue(meshnode, laptop))
    verified = meshnode("cert", "verify", str(bundle), *at(laptop))
    assert verified.code == 0
    assert gate.node.trust.network_id.hex() in verified.out
    joined = meshnode(
        *("join", "--certificate", str(bundle), "--bootstrap", "192.0.2.1:4500"),
        *("--no-up", "--json", *at(laptop)),
    )
    assert (joined.code, joined.err) == (0, "")
    told = json.loads(joined.out)
    identity = load_identity(laptop.state_dir("home"))
    assert told["key"] == str(identity.private_key.public_key())
    assert (told["network"], told["name"]) == ("home", "laptop")
    config = load_config(laptop.config_file("home"))
    assert [str(place) for place in config.bootstrap] == ["192.0.2.1:4500"]
    shown = meshnode("cert", "show", *at(laptop), "-n", "home")
    assert shown.code == 0  # the gate answers in the place of the laptop's node
    # Doing it again is harmless.
    again = meshnode("join", "--certificate", str(bundle), "--no-up", *at(laptop))
    assert again.code == 0


def test_only_what_is_named_is_granted(
    meshnode: Run, gate: RunningNode, laptop: Directories, tmp_path: Path
) -> None:
    """What the request asks for is a proposal."""
    asked = meshnode(
        *("cert", "request", "laptop", "--network-name", "home", "--role", "exit"),
        *("--group", "root", *at(laptop)),
    )
    request = tmp_path / "request"
    request.write_text(asked.out)
    told = json.loads(meshnode("cert", "show", str(request), "--json").out)
    assert (told["roles"], told["groups"]) == (["exit"], ["root"])
    bundle = meshnode(
        *("cert", "issue", str(request), "--name", "notebook", "--role", "relay"),
        *("--route", "192.168.9.0/24", "--lifetime", "30d", "--json"),
    )
    assert json.loads(bundle.out)["name"] == "notebook"
    text = json.loads(bundle.out)["bundle"]
    said = meshnode("cert", "show", "-", "--json", stdin=text.encode())
    paper = json.loads(said.out)
    assert (paper["name"], paper["roles"], paper["groups"]) == (
        "notebook",
        ["relay"],
        [],
    )
    assert paper["routes"] == ["192.168.9.0/24"]
    assert paper["notAfter"] - paper["notBefore"] == 30 * 86400
    assert paper["contacts"][0]["places"] == ["gate.example.org:51820"]


def test_a_request_is_the_same_when_asked_again(
    meshnode: Run, laptop: Directories
) -> None:
    """And as JSON; the name is the host's by default."""
    arguments = ("cert", "request", "--network-name", "home", *at(laptop))
    first = meshnode(*arguments)
    assert first.code == 0
    assert "meshnode join --certificate" in first.err
    told = json.loads(meshnode(*arguments, "--json").out)
    assert told["request"] == first.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["request", "laptop"],
        ["request", "No Name", "--network-name", "home"],
        ["request", "laptop", "--network-name", "No Net"],
        ["request", "laptop", "--network-name", "home", "--route", "lan"],
        ["issue"],
        ["grant", "gate"],
        ["revoke"],
        ["verify"],
    ],
    ids=" ".join,
)
def test_wrong_usage(meshnode: Run, laptop: Directories, arguments: list[str]) -> None:
    """Something is said, and no keys are made."""
    result = meshnode("cert", *arguments, *at(laptop))
    assert result.code in (1, 2)
    assert result.out == ""
    assert result.err
    assert list(laptop.state.iterdir()) == []


def test_a_damaged_bundle_is_refused(
    meshnode: Run, gate: RunningNode, laptop: Directories
) -> None:
    """With the reason, also as JSON; exit code 1."""
    good = issue(meshnode, laptop)
    lines = good.splitlines()
    bad = "\n".join([lines[0], *reversed(lines[1:-1]), lines[-1]]).encode()
    plain = meshnode("cert", "verify", "-", stdin=bad)
    assert plain.code == 1
    assert plain.err.startswith("meshnode: the bundle is")
    told = meshnode("cert", "verify", "-", "--json", stdin=bad)
    assert told.code == 1
    assert json.loads(told.out)["isValid"] is False
    fine = meshnode("cert", "verify", "-", "--json", stdin=good.encode())
    assert json.loads(fine.out)["isValid"] is True


def test_a_bundle_for_another_host_is_refused(
    meshnode: Run, gate: RunningNode, laptop: Directories, tmp_path: Path
) -> None:
    """Nothing of it is taken."""
    bundle = tmp_path / "bundle"
    bundle.write_text(issue(meshnode, laptop))
    other = directories_in(tmp_path / "other")
    without = meshnode("join", "--certificate", str(bundle), "--no-up", *at(other))
    assert without.code == 1
    assert "meshnode cert request" in without.err
    meshnode("cert", "request", "x", "--network-name", "home", *at(other))
    wrong = meshnode("join", "--certificate", str(bundle), "--no-up", *at(other))
    assert wrong.code == 1
    assert "is not that of" in wrong.err


def test_a_member_is_granted_more(meshnode: Run, gate: RunningNode) -> None:
    """What it has stays."""
    result = meshnode("cert", "grant", "gate", "--route", "10.9.0.0/16", "--json")
    assert (result.code, json.loads(result.out)["name"]) == (0, "gate")
    subnets = [str(subnet) for subnet in gate.node.own.certificate.subnets]
    assert subnets == ["192.168.7.0/24", "10.9.0.0/16"]
    assert meshnode("cert", "grant", "nobody", "--role", "relay").code == 3


def test_certificates_are_shown(meshnode: Run, gate: RunningNode) -> None:
    """Ours, and a member's by name, address or key."""
    ours = json.loads(meshnode("cert", "show", "--json").out)
    for name in ("gate", "10.77.0.1", ours["ipv6"], ours["key"]):
        assert json.loads(meshnode("cert", "show", name, "--json").out) == ours
    lines = meshnode("cert", "show").out.splitlines()
    assert lines[0].split() == ["paper", "certificate"]
    assert any(line.startswith("valid") and "ends in" in line for line in lines)
    assert meshnode("cert", "show", "paris").code == 3
    assert meshnode("cert", "show", "./nowhere").code == 1


def test_our_certificate_is_shown_while_the_node_is_down(
    meshnode: Run, gate: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its file; a member's cannot be."""
    up = json.loads(meshnode("cert", "show", "--json").out)
    monkeypatch.undo()  # now nobody answers
    host = at(gate.directories)
    told = json.loads(meshnode("cert", "show", "--json", *host).out)
    assert {**told, "gatewayNames": []} == up
    other = meshnode("cert", "show", "paris", *host)
    assert other.code == 1
    assert "not up" in other.err


def test_a_member_is_revoked_by_the_issuer_or_the_authority(
    meshnode: Run, gate: RunningNode
) -> None:
    """A node does not revoke itself, but its authority may."""
    key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    gate.call(None, "home", "peer add", name="phone", key=key)
    done = meshnode("cert", "revoke", "phone", "--reason", "lost", "--json")
    assert json.loads(done.out)["key"] == key
    assert meshnode("cert", "revoke", "gate").code == 1
    result = meshnode("cert", "revoke", "gate", "--authority")
    own = str(PublicKey(gate.node.key))
    assert (result.code, result.err) == (0, f"revoked {own}\n")
    assert gate.node.membership.by_key(gate.node.key) is None


def test_a_renewal_is_asked_for(meshnode: Run, gate: RunningNode) -> None:
    """The answer comes later."""
    assert meshnode("cert", "renew").code == 0
    told = json.loads(meshnode("cert", "renew", "--json").out)
    assert told["notAfter"] >= gate.node.own.certificate.not_before
