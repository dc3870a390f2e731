"""Random sets on random networks become one, whatever the mailboxes do."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.mesh.trust import VerifiedMember, VerifiedRevocation
from meshnode.simulation.gossip import GossipWorld, troubled

PEOPLE = 30
REVOKED = 6


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(2, 6),
    placed=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, PEOPLE - 1), st.integers(0, 2)),
        max_size=80,
    ),
    revoked=st.lists(st.tuples(st.integers(0, 5), st.integers(0, REVOKED - 1))),
)
def test_sets_become_equal(
    seed: int,
    size: int,
    placed: list[tuple[int, int, int]],
    revoked: list[tuple[int, int]],
) -> None:
    """Each node gets records of its own, while they are apart; then they meet.

    Of everybody the greatest version that was placed is there in the end, unless an
    authority revoked it; an issuer's revocation is there with its member.
    """
    world = GossipWorld(seed, fate=troubled)
    nodes = world.populate(size)
    population = world.population
    people = [population.add() for _ in range(PEOPLE)]
    words = [[population.word(person) for _ in range(3)] for person in people]
    world.blocks = lambda sender, receiver: True
    best: dict[bytes, int] = {}
    for node, number, version in placed:
        nodes[node % size].publish(words[number][version])
        key = people[number].key
        best[key] = max(best.get(key, 0), version + 1)
    by_issuer = set()
    for node, number in revoked:
        key = people[number].key
        # Odd ones by the issuer, which counts only where the member is known.
        signer = population.issuing if number % 2 else None
        nodes[node % size].publish(population.revocation(key, signer))
        if signer is None:
            best.pop(key, None)
        elif key in best:
            by_issuer.add(key)
    world.heal()
    # Ten Hellos of everybody, with a tenth of all messages lost.
    assert world.run_until(lambda: len(world.roots()) == 1, within=250.0)
    keys = {person.key for person in people}
    for node in nodes:
        members = [r for r in node.records if isinstance(r, VerifiedMember)]
        assert {m.key: m.version for m in members if m.key in keys} == best
        signers = [r for r in node.records if isinstance(r, VerifiedRevocation)]
        assert by_issuer >= {
            r.revocation.subject for r in signers if not r.by_authority
        }
