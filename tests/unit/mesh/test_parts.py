"""The parts of a node belong together, or the node is not made."""

import random
from dataclasses import replace

import pytest

from meshnode.errors import ConfigError
from meshnode.mesh.parts import NodeParts
from meshnode.mesh.ports import StoredState
from meshnode.types import Prefix
from tests.unit.mesh.node_parts import SETTINGS, Wires, World


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founded network."""
    return World(rng)


def make(world: World, *, stored: StoredState | None = None) -> NodeParts:
    """Return the founder's parts."""
    identity = world.founder.identity
    assert identity is not None
    return NodeParts(
        identity,
        SETTINGS,
        stored or StoredState(),
        tunnels=Wires(world, world.founder.key),
        entropy=world.rng.randbytes,
        now=world.now,
    )


def test_issuer_has_an_office_and_others_have_none(world: World) -> None:
    """By whether there is an issuing key."""
    parts = make(world)
    assert parts.office is not None
    assert parts.office.issuer.issuing_key == world.issuing.public
    assert world.founder.identity is not None
    world.founder.identity = replace(world.founder.identity, issuing=None)
    assert make(world).office is None


def test_all_parts_speak_of_one_network(world: World) -> None:
    """Its charter gives name and overlay."""
    parts = make(world)
    assert parts.key == world.founder.key
    assert parts.trust.charter.name == "home"
    assert parts.roads.overlay[0] == Prefix.parse("10.9.0.0/16")
    assert parts.roads.overlay[1].length == 48
    assert parts.own.certificate.name == "founder"


def test_revocation_is_known_whoever_made_it(world: World) -> None:
    """An authority's takes the record out of the set, an issuer's does not."""
    alpha, beta, gamma = (world.add(name) for name in ("alpha", "beta", "gamma"))
    node = world.founder.node
    office = node.office
    assert office is not None
    by_issuer = office.issuing.revoke(alpha.key, "lost", wall=int(world.wall))
    node.publish(by_issuer, now=world.now, wall=world.wall)
    assert node.is_revoked(alpha.key)
    assert not node.is_revoked(beta.key)
    assert not node.is_revoked(gamma.key)
    assert not node.is_revoked(bytes(32))


@pytest.mark.parametrize("charters", [(b"rubbish",), ()])
def test_network_without_a_sound_charter_is_refused(
    world: World, charters: tuple[bytes, ...]
) -> None:
    """With an error for the user, not a traceback."""
    assert world.founder.identity is not None
    world.founder.identity = replace(world.founder.identity, charters=charters)
    with pytest.raises(ConfigError):
        make(world)


def test_charters_of_papers_and_of_the_store_may_overlap(world: World) -> None:
    """The papers hold what was known when the node joined."""
    stored = StoredState(charters=(world.founding.charter,))
    assert len(make(world, stored=stored).trust.chain()) == 1
    with pytest.raises(ConfigError, match="charter is no good"):
        make(world, stored=StoredState(charters=(b"rubbish",)))
