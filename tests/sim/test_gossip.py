"""Networks that gossip: partitions, restarts, joins in crowds, hostile members."""

from collections.abc import Callable
from itertools import count

import pytest

from meshnode.codec.messages import Digests, Hello, Leaf, Push, Want
from meshnode.codec.records import Certificate
from meshnode.mesh.trust import VerifiedMember
from meshnode.simulation.gossip import Fate, GossipWorld, Node, steady, troubled
from meshnode.simulation.population import EPOCH

SEEDS = range(4)
HALF = 25


def views(world: GossipWorld) -> set[tuple[bytes, ...]]:
    """Return the different views of who is a member."""
    return {
        tuple(sorted(member.data for member in node.membership))
        for node in world.nodes.values()
    }


def agree(world: GossipWorld) -> bool:
    """Whether all sets are equal, and all views."""
    return len(world.roots()) == 1 and len(views(world)) == 1


def settles(world: GossipWorld, *, within: float) -> bool:
    """Let time pass until all agree; return whether they do in so many seconds."""
    end = world.now + within
    while not agree(world):
        if world.now >= end:
            return False
        world.run(0.1)
    return True


def change(world: GossipWorld, node: Node) -> None:
    """Let a node say something new about itself."""
    node.publish(world.population.word(world.people[node.key]))


def revoke(world: GossipWorld, victim: Node, teller: Node) -> None:
    """Let *teller* publish that the authority revokes *victim*."""
    teller.publish(world.population.revocation(victim.key))


def join(world: GossipWorld, introducer: Node) -> Node:
    """Let somebody join whom *introducer* certified: the two know each other."""
    person = world.population.add()
    world.people[person.key] = person
    node = world.add_node(person.key)
    ours = next(
        record.data
        for record in introducer.records
        if isinstance(record, VerifiedMember) and record.key == introducer.key
    )
    for one in (node, introducer):
        one.publish(world.population.word(person, version=1))
    node.publish(ours)
    return node


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fate", [steady, troubled])
def test_a_change_reaches_everybody(seed: int, fate: Fate) -> None:
    """Within a second where nothing is lost, and within a minute where much is."""
    world = GossipWorld(seed, fate=fate)
    nodes = world.populate(50)
    world.run(60.0)
    change(world, nodes[0])
    within = 1.0 if fate is steady else 60.0
    assert settles(world, within=within), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_nodes_agree_ten_seconds_after_ten_minutes_apart(seed: int) -> None:
    """Both halves went on changing, revoking and being joined."""
    world = GossipWorld(seed)
    nodes = world.populate(2 * HALF)
    world.run(60.0)
    here, there = nodes[:HALF], nodes[HALF:]
    world.partition(frozenset(node.key for node in here))
    world.run(300.0)
    for node in (*here[::4], *there[::4]):
        change(world, node)
    revoke(world, victim=there[1], teller=here[2])
    revoke(world, victim=here[1], teller=there[2])
    world.run(300.0)
    assert len(world.roots()) == 2
    for node in (here[1], there[1]):
        world.stop(node)
    world.heal()
    assert settles(world, within=10.0), f"seed {seed}"
    (view,) = views(world)
    assert len(view) == 2 * HALF - 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_with_one_way_links_agrees(seed: int) -> None:
    """Half of the network hears the other half, and is not heard by it."""
    world = GossipWorld(seed)
    nodes = world.populate(30)
    world.run(60.0)
    deaf = frozenset(node.key for node in nodes[:15])
    world.blocks = lambda sender, receiver: sender not in deaf and receiver in deaf
    world.run(300.0)
    for node in nodes[::3]:
        change(world, node)
    world.run(300.0)
    world.heal()
    assert settles(world, within=10.0), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flapping_link_between_halves_is_enough(seed: int) -> None:
    """A second open, a second shut, for two minutes: all agree in the end."""
    world = GossipWorld(seed)
    nodes = world.populate(30)
    world.run(60.0)
    half = frozenset(node.key for node in nodes[:15])
    for second, node in zip(range(60), nodes * 2, strict=True):
        if second % 10 == 0:
            change(world, node)
        world.partition(half)
        world.run(1.0)
        world.heal()
        world.run(1.0)
    assert settles(world, within=30.0), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mass_restart_is_no_storm(seed: int) -> None:
    """All at once: ten Hellos a node in the first seconds, and all agree after it."""
    world = GossipWorld(seed)
    nodes = world.populate(100)
    world.run(60.0)
    before = [node.meter.messages for node in nodes]
    for node in nodes:
        node.restart(1_700_000_060.0)
        world.arm(node)
    change(world, nodes[0])
    assert settles(world, within=5.0), f"seed {seed}"
    sent = [node.meter.messages - b for node, b in zip(nodes, before, strict=True)]
    assert sum(sent) / len(sent) <= 40
    assert max(sent) <= 100


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_that_join_at_once_know_everybody_soon(seed: int) -> None:
    """Each begins with one introducer, and a network of fifty knows them all."""
    world = GossipWorld(seed)
    nodes = world.populate(50)
    world.run(60.0)
    for number in range(100):
        join(world, nodes[number % 5])
    assert settles(world, within=30.0), f"seed {seed}"
    (view,) = views(world)
    assert len(view) == 150


def hostile_old_versions(world: GossipWorld, us: Node, numbers: count) -> None:
    """Push all that was ever said, again and again."""
    for data in world.said:
        for key in list(world.nodes)[:10]:
            us.send(key, Push((data,)), now=world.now)


def hostile_equivocation(world: GossipWorld, us: Node, numbers: count) -> None:
    """Say something else to everybody, with the same version."""
    person = world.people[us.key]
    for key in list(world.nodes)[:20]:
        word = world.population.word(
            person, version=1000, has_left=next(numbers) % 2 == 0
        )
        us.send(key, Push((word,)), now=world.now)


def hostile_versions(world: GossipWorld, us: Node, numbers: count) -> None:
    """Sign one version after the other, for everybody."""
    person = world.people[us.key]
    words = [world.population.word(person) for _ in range(20)]
    for key in list(world.nodes)[:10]:
        for word in words:
            us.send(key, Push((word,)), now=world.now)


def hostile_flood(world: GossipWorld, us: Node, numbers: count) -> None:
    """Ask for everything, claim everything, all the time."""
    for key in list(world.nodes)[:10]:
        digest = next(numbers).to_bytes(8, "big")
        for message in (
            Hello(digest, 9, 2**32 - 1, 2**32 - 1, wants_answer=True),
            Digests(b"", (digest,) * 16),
            Leaf(b"", ((digest, digest),) * 20),
            Want((digest,) * 20),
        ):
            us.send(key, message, now=world.now)


@pytest.mark.parametrize(
    "attack",
    [hostile_old_versions, hostile_equivocation, hostile_versions, hostile_flood],
)
def test_a_hostile_member_neither_parts_nor_floods_the_network(
    attack: Callable[[GossipWorld, Node, count], None],
) -> None:
    """Nobody comes back, others' changes arrive, and traffic stays in bounds."""
    world = GossipWorld(7)
    nodes = world.populate(30)
    world.run(30.0)
    hostile, victim, others = nodes[0], nodes[1], nodes[2:]
    world.said = [record.data for record in nodes[0].records]
    for node in others[:5]:
        change(world, node)
    revoke(world, victim, teller=others[0])
    world.run(5.0)
    world.stop(victim)
    before = sum(node.meter.bytes for node in others)
    numbers = count()
    for _ in range(60):
        attack(world, hostile, numbers)
        world.run(0.5)
    change(world, others[9])
    world.run(1.0)
    latest = world.people[others[9].key].version
    for node in others:
        heard = node.membership.by_key(others[9].key)
        assert heard is not None
        assert heard.version == latest, "a change of somebody else did not arrive"
        assert node.membership.by_key(victim.key) is None, "a resurrection"
    spent = (sum(node.meter.bytes for node in others) - before) / len(others) / 31
    assert spent <= 16 * 1024, f"{spent:.0f} bytes a second and node"
    world.stop(hostile)
    assert settles(world, within=60.0)


def test_who_is_revoked_never_comes_back() -> None:
    """While old records are replayed, nodes restart and parts meet again."""
    world = GossipWorld(3)
    nodes = world.populate(20)
    world.run(30.0)
    said = [record.data for record in nodes[0].records]
    victims = nodes[:3]
    revoke(world, victims[0], teller=nodes[10])
    issuing = world.population.issuing
    nodes[11].publish(world.population.revocation(victims[1].key, issuing))
    key = world.people[victims[2].key].signing_key.public
    nodes[12].publish(world.population.revocation(key))
    world.run(5.0)
    for victim in victims:
        world.stop(victim)
    rest = nodes[3:]
    for node in rest:
        node.changes.clear()
    for step in range(60):
        node = rest[step % len(rest)]
        node.receive(rest[step * 7 % len(rest)].key, Push(tuple(said[step % 20 :][:2])))
        if step % 20 == 5:
            node.restart(1_700_000_000.0 + world.now)
            world.arm(node)
        if step == 20:
            world.partition(frozenset(node.key for node in rest[:8]))
        if step == 40:
            world.heal()
        world.run(5.0)
    gone = {victim.key for victim in victims}
    for node in rest:
        back = [c for c in node.changes if c.after and c.after.key in gone]
        assert not back, "a resurrection"
    assert agree(world)
    assert len(next(iter(rest)).membership) == 17


def test_an_issuer_gone_bad_cannot_silence_the_members_of_others() -> None:
    """It certifies their keys anew, with great versions; they go on, and it is cut."""
    world = GossipWorld(5)
    nodes = world.populate(10)
    world.run(30.0)
    rogue = GossipWorld(99).population
    population = world.population
    envelope = population.create_issuer(rogue.issuing)
    genuine = nodes[1].membership.by_key(nodes[1].key)
    assert genuine is not None
    forged = Certificate(
        serial=bytes(16),
        name="forged",
        wireguard_key=nodes[1].key,
        signing_key=rogue.authority.public,
        ipv4=bytes((10, 9, 9, 9)),
        subnets=(),
        groups=(),
        roles=genuine.certificate.roles,
        gateways=(),
        not_before=genuine.certificate.not_before,
        not_after=genuine.certificate.not_after,
        member_since=genuine.certificate.member_since + 60,
    )
    issuing, issuer = population.issuing, population.issuer
    population.issuing, population.issuer = rogue.issuing, envelope
    person = population.add(certificate=forged)
    population.issuing, population.issuer = issuing, issuer
    person.signing_key = rogue.authority
    nodes[5].publish(population.word(person, version=2**63 - 1))
    world.run(5.0)
    assert agree(world)
    change(world, nodes[1])
    world.run(5.0)
    for node in nodes:
        known = node.membership.by_key(nodes[1].key)
        assert known is not None
        assert known.version == world.people[nodes[1].key].version
        assert node.membership.by_name("forged") is None
    nodes[5].publish(population.revocation(rogue.issuing.public))
    world.run(5.0)
    assert agree(world)
    assert {len(node.records.members_of(nodes[1].key)) for node in nodes} == {1}


def test_a_mesh_at_rest_costs_next_to_nothing() -> None:
    """In an hour: 50 kB a node, handshakes included, and 0.01 messages a second.

    So much, with two homes kept by keepalives, is less than 2 MB a day; and the load
    of five rendezvous members that 10,000 publish to is below 100 messages a second.
    """
    world = GossipWorld(7)
    nodes = world.populate(40)
    world.run(1800.0)
    before = [(node.meter.bytes, node.meter.received) for node in nodes]
    world.run(3600.0)
    for node, (sent, received) in zip(nodes, before, strict=True):
        if node.key in world.rendezvous:
            rate = (node.meter.received - received) / 3600.0
            assert rate * 10_000 / len(nodes) < 100.0
        else:
            assert node.meter.bytes - sent < 50_000
    assert agree(world)


def test_records_at_rest_are_kept_and_come_back_after_a_storm() -> None:
    """Each member's at three of the five; all restart at once, and they are again."""
    world = GossipWorld(8)
    nodes = world.populate(30)

    def kept() -> list[int]:
        servers = [world.nodes[key] for key in world.rendezvous]
        return [
            sum(one.rendezvous.has(node.key, now=world.now) for one in servers)
            for node in nodes
        ]

    world.run(4000.0)
    assert min(kept()) >= 3
    for node in nodes:
        node.restart(EPOCH + world.now)
        node.say_where()
    assert max(kept()) == 0
    world.run(10.0)
    assert min(kept()) >= 3
