"""What a node knows, as plain values: complete, and fit for JSON."""

import json
import random
from dataclasses import replace

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.records import Role, Route
from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.mesh.describe import (
    complaints,
    count_paths,
    describe_event,
    describe_path,
    describe_peers,
    describe_routes,
    describe_status,
    find_member,
    name_of,
    role_names,
)
from meshnode.mesh.events import HealthChanged, MemberJoined, PolicyChanged
from meshnode.mesh.invites import Grant
from meshnode.mesh.routes import ACCEPT_ALL
from meshnode.types import Cipher, Endpoint, Prefix
from meshnode.wireguard.config import PeerStatus
from tests.unit.mesh.node_parts import DAY, NOTHING, SETTINGS, YEAR, World

LAN = Prefix.parse("192.168.7.0/24")
OTHER = Prefix.parse("192.168.8.0/24")
OURS = Prefix.parse("192.168.1.0/24")


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founder that accepts all routes."""
    world = World(rng)
    settings = replace(SETTINGS, accept=ACCEPT_ALL)
    world.do(
        world.founder,
        lambda node: node.configure(settings, now=world.now, wall=world.wall),
    )
    return world


def gateway(world: World, name: str, *routes: Route) -> bytes:
    """Add a member that announces routes; return its key."""
    subnets = tuple(route.prefix for route in routes)
    return world.add(name, Grant("", ("staff",), subnets, Role.NONE, YEAR), routes).key


def test_status_has_who_we_are(world: World) -> None:
    """It goes through JSON as it is."""
    gateway(world, "alpha")
    status = describe_status(world.founder.node, wall=world.wall)
    assert json.loads(json.dumps(status)) == status
    assert status["name"] == "founder"
    assert status["network"] == "home"
    assert status["ipv4"] == "10.9.0.1"
    assert status["members"] == 2
    assert status["isIssuer"]
    assert set(status["roles"]) == {"rendezvous", "relay", "issuer", "policy"}
    assert status["neighbours"] == ["alpha"]
    assert status["health"] == []


def test_peers_are_all_others_by_name(world: World) -> None:
    """With what the tunnels know of them, if they know anything."""
    gateway(world, "beta")
    key = gateway(world, "alpha", Route(LAN, 5, 1))
    status = PeerStatus(
        public_key=PublicKey(key),
        preshared_key=PresharedKey.none(),
        endpoint=Endpoint("192.0.2.1", 5),
        last_handshake=(7, 0),
        persistent_keepalive=0,
        received_bytes=3,
        sent_bytes=4,
        allowed_ips=[],
        cipher=Cipher.AES_256_GCM,
    )
    world.founder.wires.sessions.add(key)
    peers = describe_peers(
        world.founder.node, {key: status}, now=world.now, wall=world.wall
    )
    assert json.loads(json.dumps(peers)) == peers
    alpha, beta = peers
    assert (alpha["name"], beta["name"]) == ("alpha", "beta")
    assert alpha["endpoint"] == "192.0.2.1:5"
    assert (alpha["receivedBytes"], alpha["sentBytes"]) == (3, 4)
    assert alpha["lastHandshake"] == 7
    assert (alpha["cipher"], beta["cipher"]) == ("aes-256-gcm", "")
    assert alpha["routes"] == [str(LAN)]
    assert alpha["groups"] == ["staff"]
    assert alpha["isNeighbour"]
    assert beta["endpoint"] is None
    assert (alpha["path"]["kind"], beta["path"]["kind"]) == ("none", "none")
    world.founder.wires.paths[key] = Endpoint("192.0.2.1", 5)
    path = describe_path(world.founder.node, key, now=world.now, wall=world.wall)
    assert (path["kind"], path["endpoint"]) == ("direct", "192.0.2.1:5")
    assert count_paths(world.founder.node) == {"direct": 1}
    world.founder.wires.paths[key] = endpoint_of(7)
    path = describe_path(world.founder.node, key, now=world.now, wall=world.wall)
    assert (path["kind"], path["endpoint"]) == ("relayed", None)
    assert beta["receivedBytes"] == 0


def test_routes_say_what_became_of_them(world: World) -> None:
    """Accepted, shared, refused, offered, and our own."""
    one = gateway(world, "one", Route(LAN, 5, 1), Route(OTHER, 5, 1))
    gateway(world, "two", Route(LAN, 5, 3))
    routes = {r["prefix"]: r for r in describe_routes(world.founder.node)}
    assert routes[str(LAN)]["state"] == "accepted"
    owners = {owner["name"]: owner for owner in routes[str(LAN)]["owners"]}
    assert owners["one"]["forwards"]
    assert owners["two"]["forwards"]
    assert owners["two"]["weight"] == 3
    assert [o["name"] for o in routes[str(OTHER)]["owners"]] == ["one"]
    assert routes[str(OTHER)]["owners"][0]["forwards"]
    settings = replace(SETTINGS, routes=(Route(OURS, 1, 1),))
    world.do(
        world.founder,
        lambda node: node.configure(settings, now=world.now, wall=world.wall),
    )
    routes = {r["prefix"]: r for r in describe_routes(world.founder.node)}
    assert routes[str(LAN)]["state"] == "not accepted"
    assert not routes[str(LAN)]["owners"][0]["forwards"]
    assert routes[str(OURS)]["state"] == "announced"
    assert not routes[str(OURS)]["owners"][0]["forwards"]
    assert one in world.founder.wires.peers


def test_members_are_found_by_all_their_names(world: World) -> None:
    """Name, both addresses, key; and nobody by anything else."""
    key = gateway(world, "alpha")
    node = world.founder.node
    member = node.membership.by_key(key)
    assert member is not None
    v4, v6 = (str(one).partition("/")[0] for one in member.addresses)
    for text in ("alpha", v4, v6, str(PublicKey(key))):
        assert find_member(node, text) is member
    for text in ("", "omega", "10.9.9.9", "::1", str(PublicKey(bytes(32))), "x" * 44):
        assert find_member(node, text) is None


def test_name_of_a_stranger_is_its_key(world: World) -> None:
    """So there is always something to show."""
    key = gateway(world, "alpha")
    assert name_of(world.founder.node, key) == "alpha"
    stranger = bytes(32)
    assert name_of(world.founder.node, stranger) == str(PublicKey(stranger))


def test_events_have_their_name_and_facts() -> None:
    """Keys are text, names camel case."""
    key = bytes(32)
    assert describe_event(MemberJoined("alpha", key)) == {
        "event": "memberJoined",
        "name": "alpha",
        "key": str(PublicKey(key)),
    }
    assert describe_event(PolicyChanged(3)) == {"event": "policyChanged", "version": 3}
    assert describe_event(HealthChanged("a", "b"))["event"] == "healthChanged"


def test_roles_have_names() -> None:
    """None has none."""
    assert role_names(Role.NONE) == []
    assert role_names(Role.EXIT | Role.STOCK) == ["exit", "stock"]


def test_end_of_papers_is_complained_of_in_time(world: World) -> None:
    """Four weeks before, or when a third of a short life is left."""
    alpha = world.add("alpha", replace(NOTHING, lifetime=3 * DAY))
    end = alpha.node.own.certificate.not_after
    assert complaints(alpha.node, wall=end - 1.5 * DAY) == []
    assert complaints(alpha.node, wall=end - 0.5 * DAY) == [
        "our certificate ends in 0 days"
    ]
    assert complaints(alpha.node, wall=end + 1) == ["our certificate has ended"]
    node = world.founder.node
    assert node.office is not None
    until = node.office.issuer.not_after
    node.tell_health("host", "broken", now=world.now)
    assert complaints(node, wall=until - 27 * DAY) == [
        "broken",
        "our certificate has ended",
        "our permission to issue ends in 27 days",
    ]
