"""How members are reached and what our network lets through, as plain values."""

import json
import random
from typing import Any

import pytest

from meshnode.codec.records import Mapping, NatHint
from meshnode.mesh.describe_paths import describe_netcheck, describe_why
from meshnode.mesh.mapping_lifetime import USUAL
from meshnode.types import Endpoint
from tests.unit.mesh.node_parts import Computer, World

PORT = 51820
PLACE = Endpoint("192.0.2.9", 40000)


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founder."""
    return World(rng)


def why(world: World, other: Computer) -> dict[str, Any]:
    """Return what the founder says of how it reaches *other*."""
    node = world.founder.node
    member = node.membership.by_key(other.key)
    assert member is not None
    found = describe_why(node, member, port=PORT, now=world.now, wall=world.wall)
    assert json.loads(json.dumps(found)) == found
    return found


def test_who_has_no_session_does_not_answer(world: World) -> None:
    """There is no path, and nothing was tried."""
    alpha = world.add("alpha")
    world.founder.wires.sessions.clear()
    found = why(world, alpha)
    assert found["name"] == "alpha"
    assert not found["isDirect"]
    assert found["path"]["kind"] == "none"
    assert "does not answer" in found["reason"]
    assert found["remedies"] == ["see whether its node runs: meshnode status, there"]
    assert (found["relays"], found["attempts"]) == ([], [])
    assert found["theirs"] == {"mapping": "not seen yet", "ports": None}


def test_a_session_that_nothing_was_measured_of_is_direct(world: World) -> None:
    """As after a restart of control: the tunnels know where it is."""
    alpha = world.add("alpha")
    world.founder.wires.paths[alpha.key] = PLACE
    found = why(world, alpha)
    assert found["isDirect"]
    assert found["reason"] == "directly"
    assert found["path"]["endpoint"] == str(PLACE)


def test_what_our_nat_was_seen_to_do_is_told(world: World) -> None:
    """In words, and the range of its ports."""
    node = world.founder.node
    node.nat_view.hint = NatHint(Mapping.ENDPOINT_DEPENDENT, 2000, 2063)
    node.nat_view.seen = PLACE
    found = describe_netcheck(node, port=PORT)
    assert json.loads(json.dumps(found)) == found
    assert found["seen"] == str(PLACE)
    assert found["nat"]["mapping"] == "another port for every destination"
    assert found["nat"]["ports"] == [2000, 2063]
    alpha = world.add("alpha")
    assert why(world, alpha)["ours"]["ports"] == [2000, 2063]


def test_how_long_mappings_live_is_told(world: World) -> None:
    """And what keepalives follow from it, which the tunnels to homes get."""
    alpha = world.add("alpha")
    world.run(5.0)
    life = alpha.node.lifetime
    life.lived, life.died, life.hairpin = 55.0, 110.0, True
    found = describe_netcheck(alpha.node, port=PORT)
    assert json.loads(json.dumps(found)) == found
    assert found["nat"]["lifetime"] == {"atLeast": 55.0, "below": 110.0}
    assert found["nat"]["hairpin"] is True
    assert found["keepalive"] == 49
    alpha.node.handle_deadline(now=world.now, wall=world.wall)
    assert alpha.wires.peers[world.founder.key].keepalive == 49


def test_who_is_in_touch_knows_that_udp_works(world: World) -> None:
    """Before, nothing is known; the relays near to us are named."""
    found = describe_netcheck(world.founder.node, port=PORT)
    assert (found["udp"], found["relays"]) == ("not known yet", [])
    assert found["keepalive"] == USUAL
    assert found["nat"]["hairpin"] is None
    assert found["nat"]["lifetime"] == {"atLeast": None, "below": None}
    alpha = world.add("alpha")
    world.run(5.0)
    found = describe_netcheck(alpha.node, port=PORT)
    assert found["udp"] == "works"
    assert [relay["name"] for relay in found["relays"]] == ["founder"]
