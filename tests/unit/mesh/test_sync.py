"""Gossip of one node: what it pushes, answers, fetches and keeps."""

import pytest

from meshnode.codec.messages import Chunk, Digests, Fetch, Hello, Leaf, Ping, Push
from meshnode.codec.records import Charter, Kind, Policy
from meshnode.mesh.documents import create_policy, next_charter
from meshnode.mesh.ports import KeepRecord, StoredState
from meshnode.mesh.record_set import Merge
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.sync import COLLECT_INTERVAL
from meshnode.simulation.population import EPOCH
from tests.unit.mesh.gossip_parts import WALL, Site, make_population

FRIENDS = tuple(bytes((n,)) * 32 for n in range(1, 5))
ONE = FRIENDS[0]


@pytest.fixture
def site() -> Site:
    """A node with four neighbours and no records."""
    site = Site(make_population())
    site.befriend(*FRIENDS)
    return site


def greeting(digest: bytes = bytes(8), *, wants_answer: bool = True) -> Hello:
    """Return a Hello of somebody with the same charter."""
    return Hello(digest, 0, 1, 0, wants_answer)


def test_what_is_new_goes_to_all_neighbours_but_its_source(site: Site) -> None:
    """In one message each."""
    data = tuple([site.population.word(site.population.add()) for _ in range(2)])
    (first, second) = site.receive(ONE, Push(data))
    assert isinstance(first, Merge)
    assert isinstance(second, Merge)
    assert sorted(site.mailbox.taken()) == [(key, Push(data)) for key in FRIENDS[1:]]


def test_what_is_known_is_taken_in_silence(site: Site) -> None:
    """Whoever says it again, and whatever is old."""
    person = site.population.add()
    old, new = site.population.word(person), site.population.word(person)
    site.receive(ONE, Push((new,)))
    site.mailbox.taken()
    site.kept()
    for key in FRIENDS:
        assert site.receive(key, Push((new, old))) == ()
    assert site.mailbox.taken() == []
    assert site.kept() == []


def test_records_of_a_revoked_member_are_not_pushed(site: Site) -> None:
    """Else it could make work for everybody by signing versions for ever."""
    population, person = site.population, site.population.add()
    word = population.revocation(person.key, population.issuing)
    site.receive(ONE, Push((population.word(person), word)))
    assert len(site.mailbox.taken()) == 3
    site.receive(ONE, Push((population.word(person),)))
    assert site.mailbox.taken() == []


def test_who_has_yet_to_learn_most_does_not_teach(site: Site) -> None:
    """What a newcomer gets from one neighbour the others have; its own word is news."""
    for key in FRIENDS[:2]:
        site.receive(key, Hello(b"\1" * 8, 1000, 1, 0, wants_answer=False))
    data = site.population.word(site.population.add())
    site.receive(FRIENDS[2], Push((data,)))
    assert site.mailbox.taken() == [(FRIENDS[3], Push((data,)))]
    site.publish(site.population.word(site.me))
    assert len(site.mailbox.taken()) == 4


def test_our_own_record_goes_to_all_neighbours(site: Site) -> None:
    """And is kept; again it is no news."""
    data = site.population.word(site.me)
    assert len(site.publish(data)) == 1
    assert sorted(site.mailbox.taken()) == [(key, Push((data,))) for key in FRIENDS]
    assert any(isinstance(c, KeepRecord) and c.data == data for c in site.kept())
    assert site.publish(data) == ()
    assert site.mailbox.taken() == []
    with pytest.raises(RecordRefused):
        site.publish(b"\x93")


def test_an_introduced_record_spreads_at_the_pace_of_others(site: Site) -> None:
    """Anybody may introduce a member; a refused or known record is no news."""
    person = site.population.add()
    words = [site.population.word(person) for _ in range(20)]
    news = [site.sync.take_introduction(w, now=site.now, wall=WALL) for w in words]
    assert 2 <= len([one for one in news if one]) <= 6
    assert len(site.mailbox.taken()) >= 8
    for data in (words[0], b"\x93"):
        assert site.sync.take_introduction(data, now=site.now, wall=WALL) == ()
    assert site.mailbox.taken() == []


def test_a_record_about_us_from_a_lost_state_is_told(site: Site) -> None:
    """So that the node raises its own version above."""
    site.publish(site.population.word(site.me, version=2))
    site.receive(ONE, Push((site.population.word(site.me, version=40),)))
    assert site.sync.own_version_heard == 40


def test_a_hello_is_answered_if_it_wants_to_be(site: Site) -> None:
    """With the same digests nothing else is said."""
    site.receive(ONE, greeting())
    assert site.mailbox.taken() == [(ONE, greeting(wants_answer=False))]
    site.receive(ONE, greeting(wants_answer=False))
    assert site.mailbox.taken() == []


def test_a_member_with_our_records_agrees_with_us(site: Site) -> None:
    """Another digest says nothing; having agreed once is enough."""
    site.receive(ONE, greeting(b"\1" * 8))
    assert not site.sync.has_agreed
    site.receive(ONE, greeting(wants_answer=False))
    assert site.sync.has_agreed
    site.receive(ONE, greeting(b"\1" * 8))
    assert site.sync.has_agreed


def test_who_is_greeted_begins_the_walk(site: Site) -> None:
    """An answer with another digest is the other's business: it began already."""
    site.receive(ONE, greeting(b"\1" * 8))
    assert [type(m) for _, m in site.mailbox.taken()] == [Hello, Leaf]
    site.receive(ONE, greeting(b"\1" * 8, wants_answer=False))
    assert site.mailbox.taken() == []


def test_a_walk_that_brought_something_goes_on_soon(site: Site) -> None:
    """Who sent it is greeted again within a second."""
    site.pass_time(3.0)
    for key in FRIENDS:
        site.receive(key, greeting(wants_answer=False))
    site.receive(ONE, greeting(b"\1" * 8))
    site.receive(ONE, Push((site.population.word(site.population.add()),)))
    site.mailbox.taken()
    site.pass_time(1.0)
    assert [key for key, m in site.mailbox.taken() if isinstance(m, Hello)] == [ONE]


def test_greetings_tell_what_we_have(site: Site) -> None:
    """Digest, count and versions."""
    site.publish(site.population.word(site.me))
    site.mailbox.taken()
    site.pass_time(30.0)
    greetings = [message for _, message in site.mailbox.taken()]
    digest, count = site.records.tree.root
    assert Hello(digest, count, 1, 0, wants_answer=True) in greetings
    assert set(site.neighbours.chosen) <= set(FRIENDS)


def test_any_message_is_a_proof_of_life(site: Site) -> None:
    """One that did not answer is a neighbour again, whatever it says."""
    site.pass_time(60.0)
    assert set(site.neighbours.silent) == set(FRIENDS)
    site.receive(ONE, Ping(bytes(8)))
    site.pass_time(0.1)
    assert ONE in site.neighbours.chosen


def test_a_flood_is_cut_off_at_the_budget_and_others_are_not(site: Site) -> None:
    """A thousand forged records cost a few signatures."""
    good = site.population.word(site.population.add())
    for number in range(1000):
        data = bytearray(good)
        data[-2:] = number.to_bytes(2, "big")
        site.receive(ONE, Push((bytes(data),)))
    assert sum(site.sync.intake.refused.values()) <= 40
    assert site.sync.answers.over_budget >= 900
    site.receive(FRIENDS[1], Push((good,)))
    assert len(site.records) == 1


def test_no_message_causes_more_than_its_budget(site: Site) -> None:
    """A flood of Hellos with changing digests gets no flood of walks."""
    for _ in range(200):
        site.publish(site.population.word(site.population.add()))
    site.mailbox.taken()
    for number in range(5000):
        site.receive(ONE, greeting(number.to_bytes(8, "big")))
        site.receive(ONE, Digests(b"", (number.to_bytes(8, "big"),) * 16))
    assert len(site.mailbox.taken()) <= 512


def test_a_charter_and_a_policy_are_fetched_and_told_on(site: Site) -> None:
    """From who offers them; the neighbours hear of the new versions at once."""
    population = site.population
    charter = next_charter(
        population.trust.charter,
        population.authority,
        name="later",
        authorities=(population.authority.public,),
        created=EPOCH,
    )
    policy = create_policy(population.authority, population.network_id, Policy(5, "p"))
    site.receive(ONE, Hello(bytes(8), 0, 2, 5, wants_answer=False))
    assert site.mailbox.taken() == [(ONE, Fetch(Kind.CHARTER, 2, 0))]
    news = site.receive(ONE, Chunk(Kind.CHARTER, 2, 0, len(charter), charter))
    assert [type(one) for one in news] == [Charter]
    told = [
        key for key, m in site.mailbox.taken() if m == Hello(bytes(8), 0, 2, 0, False)
    ]
    assert sorted(told) == sorted(FRIENDS)
    site.receive(ONE, Hello(bytes(8), 0, 2, 5, wants_answer=False))
    assert site.mailbox.taken() == [(ONE, Fetch(Kind.POLICY, 5, 0))]
    news = site.receive(ONE, Chunk(Kind.POLICY, 5, 0, len(policy), policy))
    assert [type(one) for one in news] == [Policy]
    assert site.sync.policy == Policy(5, "p")
    site.receive(ONE, Fetch(Kind.POLICY, 5, 0))
    assert (ONE, Chunk(Kind.POLICY, 5, 0, len(policy), policy)) in site.mailbox.taken()


def test_charter_and_policy_of_our_own_are_published(site: Site) -> None:
    """Once; what does not verify is refused."""
    population = site.population
    policy = create_policy(population.authority, population.network_id, Policy(1, "p"))
    assert site.sync.publish_policy(policy, now=site.now) == (Policy(1, "p"),)
    assert len(site.mailbox.taken()) == 4
    assert site.sync.publish_policy(policy, now=site.now) == ()
    assert site.sync.publish_charter(population.charter, now=site.now) == ()
    with pytest.raises(RecordRefused):
        site.sync.publish_charter(policy, now=site.now)


def test_what_was_stored_is_loaded(site: Site) -> None:
    """Records and policy; a policy that does not verify is left out."""
    population = site.population
    record = population.word(population.add())
    policy = create_policy(population.authority, population.network_id, Policy(1, "p"))
    state = StoredState(records=((Kind.MEMBER, record),), policy=policy)
    assert [type(one) for one in site.sync.load(state, now=0.0)] == [Merge, Policy]
    assert site.sync.load(StoredState(policy=b"bad"), now=0.0) == ()
    assert site.mailbox.taken() == []


def test_what_ended_long_ago_is_dropped_within_an_hour(site: Site) -> None:
    """And told as news, so that the view follows."""
    site.publish(site.population.word(site.me))
    site.pass_time(COLLECT_INTERVAL + 60.0)
    site.now += 200 * 86400
    (merge,) = [one for one in site.pass_time(60.0) if isinstance(one, Merge)]
    assert len(merge.dropped) == 1
    assert len(site.records) == 0


def test_a_forgotten_peer_is_not_greeted_for_a_walk(site: Site) -> None:
    """It is no member any more."""
    stranger = b"s" * 32
    site.receive(stranger, greeting(b"\1" * 8))
    site.receive(stranger, Push((site.population.word(site.population.add()),)))
    site.mailbox.taken()
    site.sync.forget(stranger)
    site.pass_time(10.0)
    assert stranger not in [key for key, _ in site.mailbox.taken()]
