"""Verbs about papers over a node that is alone."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.codec.record_bytes import decode_charter, parse_envelope
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.manage.api_client import RemoteError
from meshnode.manage.identity import load_authority
from meshnode.manage.paths import Directories
from meshnode.mesh.delegation import revoke_by_authority, succeed_charter
from meshnode.mesh.trust import Trust
from meshnode.node.mesh_papers import describe_charter
from tests.founded_node import RunningNode, directories_in, found_home

PHONE = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


@pytest.fixture
def host(tmp_path: Path) -> Directories:
    """A founder's directories."""
    directories = directories_in(tmp_path)
    found_home(directories)
    return directories


@pytest.fixture
def node(host: Directories) -> Iterator[RunningNode]:
    """The founder of `home`."""
    running = RunningNode(host)
    yield running
    running.close()


def authority_of(host: Directories) -> SigningKey:
    """Return the authority's key, which is in clear."""
    key = load_authority(host.state_dir("home"))
    assert isinstance(key, SigningKey)
    return key


def trust_of(node: RunningNode) -> Trust:
    """Return a copy of what the node believes."""
    trust = Trust(node.node.trust.network_id)
    for envelope in node.node.trust.chain():
        trust.add_charter(envelope)
    return trust


def test_our_certificate_is_shown(node: RunningNode) -> None:
    """Without a name, or by ours."""
    found = node.call(None, "home", "cert show")
    assert found == node.call(None, "home", "cert show", member="gate")
    assert (found["name"], found["ipv4"]) == ("gate", "10.77.0.1")
    assert "issuer" in found["roles"]
    assert found["issuer"]["name"] == "gate"
    assert found["issuer"]["pools"] == ["10.77.0.0/16"]


def test_our_certificate_is_shown_when_we_are_no_member(
    host: Directories, node: RunningNode
) -> None:
    """That is when one wants to look."""
    before = node.call(None, "home", "cert show")
    wall = int(time.time())
    envelope = revoke_by_authority(
        trust_of(node),
        authority_of(host),
        node.node.key,
        reason="",
        until=before["notAfter"],
        wall=wall,
    )
    data = base64.b64encode(envelope).decode()
    assert node.call(None, "home", "revocation publish", revocation=data) == {}
    assert node.node.membership.by_key(node.node.key) is None
    assert node.call(None, "home", "cert show") == before


def test_a_devices_certificate_names_its_gateways(node: RunningNode) -> None:
    """By name, beside their keys."""
    node.call(None, "home", "peer add", name="phone", key=PHONE)
    found = node.call(None, "home", "cert show", member="phone")
    assert found["gatewayNames"] == ["gate"]
    assert found["gateways"] == [str(PublicKey(node.node.key))]
    assert found["roles"] == ["stock"]


def test_an_unknown_member_has_an_exit_code(node: RunningNode) -> None:
    """As everywhere."""
    with pytest.raises(RemoteError, match="no member 'paris'") as no:
        node.call(None, "home", "cert show", member="paris")
    assert no.value.exit_code == 3


def test_the_charter_is_shown(node: RunningNode) -> None:
    """With the chain, by which everything is verified."""
    found = node.call(None, "home", "charter show")
    assert (found["network"], found["version"]) == ("home", 1)
    assert found["networkId"] == node.node.trust.network_id.hex()
    (data,) = map(base64.b64decode, found["chain"])
    charter = decode_charter(parse_envelope(data).body)
    assert [one["key"] for one in found["authorities"]] == [
        str(PublicKey(key)) for key in charter.authorities
    ]
    assert found["authorities"][0]["issuers"] == ["gate"]
    assert found == describe_charter(node.node.trust.chain(), [(4, node.node.own.data)])


def test_the_next_charter_is_put_in_force(host: Directories, node: RunningNode) -> None:
    """Once; nonsense never."""
    trust = trust_of(node)
    key = authority_of(host)
    other = SigningKey(bytes(32)).public
    envelope = succeed_charter(trust, key, authorities=(key.public, other), wall=1)
    data = base64.b64encode(envelope).decode()
    for _ in range(2):
        done = node.call(None, "home", "charter publish", charter=data)
        assert done == {"version": 2}
    assert node.node.trust.charter.authorities == (key.public, other)


@pytest.mark.parametrize(
    ("verb", "key", "value", "problem"),
    [
        ("charter publish", "charter", "AAAA", "charter is refused: not the canonical"),
        ("charter publish", "charter", "not base64!", "is not base64"),
        ("charter publish", "charter", "A" * 5000, "of bounded length"),
        ("charter publish", "charter", 7, "of bounded length"),
        ("revocation publish", "revocation", "AAAA", "revocation is refused"),
    ],
)
def test_what_no_authority_signed_is_refused(
    node: RunningNode, verb: str, key: str, value: object, problem: str
) -> None:
    """And changes nothing."""
    before = node.node.records.tree.root
    with pytest.raises(RemoteError, match=problem):
        node.call(None, "home", verb, **{key: value})
    assert node.node.trust.charter.version == 1
    assert node.node.records.tree.root == before
