"""Requests, bundles and certificates in files: made, told and verified."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.codec.records import Role
from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.identity import (
    NodeKeys,
    PendingJoin,
    load_joining,
    save_joining,
)
from meshnode.manage.papers import (
    describe_own,
    describe_text,
    make_request,
    parse_roles,
    verify_bundle_text,
)
from meshnode.mesh.delegation import (
    IssuerRequest,
    serialise_issuer_request,
    serialise_permission,
)
from meshnode.mesh.requests import Bundle, Contact, parse_request, serialise_bundle
from meshnode.types import Prefix
from tests.certified_network import (
    CERTIFICATE,
    CHARTER,
    DAY,
    ISSUING,
    NETWORK_ID,
    WALL,
    certificate_envelope,
    issuer_envelope,
    signing_key,
    wireguard_key,
)

BUNDLE = Bundle(
    (CHARTER,),
    certificate_envelope(),
    issuer_envelope(),
    (Contact(wireguard_key(9), ("gate.example.org:51820",)),),
)


def test_a_request_names_the_keys_that_are_kept(tmp_path: Path) -> None:
    """So the bundle that comes back is for this host."""
    text = make_request(
        tmp_path / "home",
        "home",
        "laptop",
        groups=("staff",),
        subnets=(Prefix.parse("10.1.0.0/16"),),
        roles=("relay",),
    )
    pending = load_joining(tmp_path / "home")
    assert pending is not None
    assert (pending.name, pending.token) == ("laptop", "")
    request = parse_request(text)
    assert request.wireguard_key == pending.keys.private_key.public_key().raw
    assert request.groups == ("staff",)
    assert request.subnets == (Prefix.parse("10.1.0.0/16"),)
    assert request.roles == Role.RELAY


def test_asking_again_is_for_the_same_keys(tmp_path: Path) -> None:
    """A bundle for the first request still does after the second."""
    first = parse_request(make_request(tmp_path / "home", "home", "laptop"))
    again = parse_request(make_request(tmp_path / "home", "home", "notebook"))
    assert again == replace(first, name="notebook")


def test_a_join_by_invite_is_not_forgotten(tmp_path: Path) -> None:
    """Its keys may be certified already."""
    pending = PendingJoin(NodeKeys.new(), "laptop", "mn1x")
    save_joining(tmp_path / "home", pending)
    with pytest.raises(ConfigError, match="by an invite already"):
        make_request(tmp_path / "home", "home", "laptop")
    assert load_joining(tmp_path / "home") == pending


@pytest.mark.parametrize(("name", "group"), [("No", "staff"), ("laptop", "Staff")])
def test_a_bad_name_makes_no_keys(tmp_path: Path, name: str, group: str) -> None:
    """Nothing is left behind."""
    with pytest.raises(ConfigError):
        make_request(tmp_path / "home", "home", name, groups=(group,))
    assert not (tmp_path / "home").exists()


def test_a_bundle_is_told_and_verified() -> None:
    """Both say the same."""
    text = serialise_bundle(BUNDLE)
    found = describe_text(f"Dear colleague,\n\n{text}\n")
    assert verify_bundle_text(text, wall=WALL) == found
    assert found["paper"] == "bundle"
    assert (found["name"], found["network"]) == ("laptop", "home")
    assert found["networkId"] == NETWORK_ID.hex()
    assert found["ipv4"] == str(ipaddress.IPv4Address(CERTIFICATE.ipv4))
    assert found["key"] == str(PublicKey(CERTIFICATE.wireguard_key))
    assert (found["groups"], found["roles"]) == (["staff"], ["relay"])
    assert found["issuer"]["name"] == "gate"
    assert found["contacts"] == [
        {
            "key": str(PublicKey(wireguard_key(9))),
            "places": ["gate.example.org:51820"],
        }
    ]


@pytest.mark.parametrize(
    ("bundle", "wall", "problem"),
    [
        (BUNDLE, WALL + 31 * DAY, "no longer valid"),
        (BUNDLE, WALL - DAY, "not valid yet"),
        (
            replace(BUNDLE, certificate=certificate_envelope(signing_key(9))),
            WALL,
            "not signed by the issuer",
        ),
        (
            replace(BUNDLE, certificate=certificate_envelope(groups=("root",))),
            WALL,
            "group the issuer may not",
        ),
        (replace(BUNDLE, issuer=issuer_envelope(signing_key(9))), WALL, "no authority"),
        (replace(BUNDLE, charters=(issuer_envelope(),)), WALL, "refused"),
    ],
)
def test_a_bundle_is_refused_for_its_first_fault(
    bundle: Bundle, wall: int, problem: str
) -> None:
    """Telling what it says needs none of this."""
    with pytest.raises(ConfigError, match=problem):
        verify_bundle_text(serialise_bundle(bundle), wall=wall)


def test_every_paper_is_told(tmp_path: Path) -> None:
    """By what stands in its first line."""
    request = make_request(tmp_path / "home", "home", "laptop", roles=("exit",))
    told = describe_text(request)
    assert (told["paper"], told["name"], told["roles"]) == (
        "request",
        "laptop",
        ["exit"],
    )
    asked = serialise_issuer_request(
        IssuerRequest(NETWORK_ID, "paris", ISSUING.public), ISSUING
    )
    assert describe_text(asked) == {
        "paper": "issuer request",
        "name": "paris",
        "networkId": NETWORK_ID.hex(),
        "issuingKey": str(PublicKey(ISSUING.public)),
    }
    permission = describe_text(serialise_permission(issuer_envelope()))
    assert permission["paper"] == "issuer"
    assert permission["pools"] == ["10.20.1.0/24"]
    assert permission["maxLifetime"] == 30 * DAY


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN MESHNODE BUNDLE-----", "-----BEGIN CERTIFICATE"]
)
def test_what_is_no_paper_is_refused(text: str) -> None:
    """Also one that is cut short."""
    with pytest.raises(ConfigError):
        describe_text(text)


def test_roles_are_named() -> None:
    """In lower case; an unknown one is refused."""
    assert parse_roles(("relay", "exit")) == Role.RELAY | Role.EXIT
    with pytest.raises(ConfigError, match="'king' is no role"):
        parse_roles(("king",))


def test_a_host_that_is_no_member_has_nothing_to_show(tmp_path: Path) -> None:
    """With the exit code of it."""
    with pytest.raises(Exception, match="no identity") as no:
        describe_own(tmp_path / "home")
    assert getattr(no.value, "exit_code", 0) == 3
