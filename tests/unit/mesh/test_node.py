"""Whole nodes: who may say what, what a node keeps, and what it does to its host."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from meshnode.codec.messages import (
    Accepts,
    CallMe,
    Chunk,
    Digests,
    Fetch,
    Found,
    Hello,
    JoinReply,
    JoinRequest,
    LargestSize,
    Leaf,
    Lookup,
    Message,
    Ping,
    Pong,
    ProbeKey,
    ProbeMe,
    ProbeThem,
    Publish,
    Published,
    Push,
    Refused,
    Renewed,
    RenewRequest,
    SizeProbe,
    SizeProven,
    Want,
)
from meshnode.codec.record_bytes import MAX_VERSION
from meshnode.codec.records import (
    Kind,
    Member,
    NatHint,
    Policy,
    Revocation,
    Role,
    Route,
)
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.errors import BadPacket, ConfigError, DropReason
from meshnode.mesh.certifier import Subject
from meshnode.mesh.documents import (
    create_certificate,
    create_issuer,
    create_member_record,
    create_policy,
    create_revocation,
    create_stock_record,
    next_charter,
)
from meshnode.mesh.events import (
    CertificateRenewed,
    HealthChanged,
    InviteUsed,
    MemberGone,
    MemberJoined,
    PeerDown,
    PeerUp,
    PolicyChanged,
    RoutesChanged,
)
from meshnode.mesh.introduction import introduce_joiner, introduce_member
from meshnode.mesh.invites import Grant
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.node import MeshNode
from meshnode.mesh.path_size import PathSizes
from meshnode.mesh.ports import KeepIssued, KeepOwn, StoredState
from meshnode.mesh.settings import IssuerIdentity
from meshnode.types import Cipher, Endpoint, Prefix
from tests.unit.mesh.node_parts import (
    DAY,
    NOTHING,
    SETTINGS,
    YEAR,
    Computer,
    Wires,
    World,
)

LAN = Prefix.parse("192.168.7.0/24")
ROUTE = Route(LAN, 10, 1)
PLACE = Endpoint("192.0.2.7", 51820)
OTHER_PLACE = Endpoint("198.51.100.7", 51820)
HELLO = Hello(bytes(8), 0, 9, 9, wants_answer=True)


@pytest.fixture
def world(rng: random.Random) -> World:
    """A founded network whose founder runs."""
    return World(rng)


def names(computer: Computer) -> set[str]:
    """Return the names of the members that count for a node."""
    return {member.certificate.name for member in computer.node.membership}


def revoke(world: World, key: bytes, signer: SigningKey | None = None) -> bytes:
    """Return an authority's revocation of a key."""
    wall = int(world.wall)
    revocation = Revocation(key, wall, wall + 2 * YEAR, "lost")
    return create_revocation(signer or world.authority, world.network_id, revocation)


def publish(world: World, computer: Computer, record: bytes) -> None:
    """Let a node publish a record."""
    world.do(
        computer, lambda node: node.publish(record, now=world.now, wall=world.wall)
    )


# --- members come and go ---


def test_joiner_becomes_a_member_everywhere(world: World) -> None:
    """By invite, certificate, introduction and gossip; each node tells of it."""
    alpha, beta = world.add("alpha"), world.add("beta")
    world.run(30.0)
    for computer in (world.founder, alpha, beta):
        assert names(computer) == {"founder", "alpha", "beta"}
        assert not computer.node.health
        others = {c.key for c in (world.founder, alpha, beta)} - {computer.key}
        assert set(computer.wires.peers) == others
        assert set(computer.node.peer_keys()) == others
    used = [event.name for event in world.founder.told(InviteUsed)]
    assert used == ["alpha", "beta"]
    joined = [event.name for event in alpha.told(MemberJoined)]
    assert joined == ["founder", "beta"]


def test_member_gets_the_first_address_and_its_peers_theirs(world: World) -> None:
    """The tunnels know whose overlay addresses are whose."""
    alpha = world.add("alpha")
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert world.founder.wires.peers[alpha.key].prefixes == member.addresses
    plan = world.founder.plans[-1]
    assert plan.addresses[0] == "10.9.0.1/16"
    assert plan.addresses[1].endswith("/48")


def test_restarted_node_knows_what_it_knew(world: World) -> None:
    """Members, its own word and its version come from its disk."""
    alpha, _ = world.add("alpha"), world.add("beta")
    world.run(30.0)
    word = alpha.node.own.data
    alpha.stop()
    node = alpha.start()
    assert names(alpha) == {"founder", "alpha", "beta"}
    assert node.own.data == word
    assert not node.health


def test_leaver_is_gone_until_it_comes_back(world: World) -> None:
    """Its peers cut it off; a start of its own is a return, with the same address."""
    alpha = world.add("alpha")
    world.founder.events.clear()
    world.do(alpha, lambda node: node.leave(now=world.now, wall=world.wall))
    assert not alpha.node.health
    world.run(1.0)
    gone = world.founder.told(MemberGone)
    assert [(event.name, event.why) for event in gone] == [("alpha", "left")]
    assert alpha.key not in world.founder.wires.peers
    alpha.stop()
    alpha.start()
    world.introduce(alpha, world.founder)
    assert names(world.founder) == {"founder", "alpha"}


def test_revoked_member_is_cut_off_at_once(world: World) -> None:
    """Everywhere, and it says itself what happened to it."""
    alpha, beta = world.add("alpha"), world.add("beta")
    world.run(30.0)
    publish(world, world.founder, revoke(world, alpha.key))
    world.run(1.0)
    for computer in (world.founder, beta):
        assert alpha.key not in computer.wires.peers
        assert alpha.key not in computer.node.neighbours.chosen
        assert names(computer) == {"founder", "beta"}
    publish(world, alpha, revoke(world, alpha.key))
    assert alpha.node.health == {"membership": "this node is no member: revoked"}
    alpha.stop()
    alpha.start()
    assert alpha.node.health == {"membership": "this node is no member: revoked"}


def test_issuer_revokes_what_it_certified(world: World) -> None:
    """Its own word is enough for its own members."""
    alpha = world.add("alpha")
    office = world.founder.node.office
    assert office is not None
    envelope = office.issuing.revoke(alpha.key, "lost", wall=int(world.wall))
    publish(world, world.founder, envelope)
    assert names(world.founder) == {"founder"}
    publish(world, alpha, envelope)
    assert alpha.node.health == {"membership": "this node is no member: revoked"}


def test_revoked_founder_issues_nothing(world: World) -> None:
    """Whoever joined by a revoked issuer would be a member nowhere."""
    publish(world, world.founder, revoke(world, world.issuing.public))
    assert world.founder.node.health["membership"].endswith("revoked")
    invite = world.invite()
    host = world.host("alpha")
    world.admit(host, invite)
    request = JoinRequest(
        invite.public_key().raw, host.signing.public, "alpha", bytes(64)
    )
    answers = world.say(host, world.founder, request)
    assert [type(one) for one in answers] == [Refused]
    office = world.founder.node.office
    assert office is not None
    with pytest.raises(ConfigError, match="this issuer was revoked"):
        office.issuing.issue(
            Subject(host.key, host.signing.public),
            replace(NOTHING, name="alpha"),
            now=world.now,
            wall=int(world.wall),
        )


def test_expired_node_says_so_even_after_a_restart(world: World) -> None:
    """Nobody need look for it in the log."""
    alpha = world.add("alpha", replace(NOTHING, lifetime=DAY))
    world.founder.stop()
    world.run(DAY + 600.0)
    assert alpha.node.health["membership"] == "this node is no member: expired"
    assert "certificate" in alpha.node.health
    alpha.stop()
    alpha.start()
    assert alpha.node.health["membership"] == "this node is no member: expired"


def test_certificate_is_renewed_in_time(world: World) -> None:
    """A member asks its issuer, and stands on what it gets."""
    alpha = world.add("alpha", replace(NOTHING, lifetime=DAY))
    before = alpha.node.own.certificate.not_after
    alpha.events.clear()
    world.run(DAY * 3 / 4)
    assert alpha.node.own.certificate.not_after > before
    assert alpha.told(CertificateRenewed)
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.certificate == alpha.node.own.certificate
    assert not alpha.node.health
    alpha.stop()
    alpha.start()
    assert alpha.node.own.certificate.not_after > before


def test_user_may_renew_at_once(world: World) -> None:
    """The certificate is new enough already: the issuer gives the same again."""
    alpha = world.add("alpha")
    alpha.wires.sent.clear()
    world.do(alpha, lambda node: node.renew_now(now=world.now, wall=world.wall))
    assert [type(message) for _, message in alpha.wires.sent] == [RenewRequest]
    world.deliver()
    assert not alpha.node.health


def test_offered_certificate_is_taken_if_it_is_later(world: World) -> None:
    """An issuer gives a member more than it had."""
    alpha = world.add("alpha")
    office = world.founder.node.office
    assert office is not None
    world.now += 100.0
    reply = office.issuing.issue(
        Subject(alpha.key, alpha.signing.public),
        Grant("alpha", ("staff",), (LAN,), Role.NONE, YEAR),
        now=world.now,
        wall=int(world.wall),
    )
    world.founder.node.offer_certificate(alpha.key, reply, now=world.now)
    world.deliver()
    assert alpha.node.own.certificate.subnets == (LAN,)
    world.run(1.0)
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.certificate.groups == ("staff",)


def test_certificate_of_another_issuer_takes_over(world: World) -> None:
    """Two records speak of the member then; the later one counts, and no war begins."""
    alpha = world.add("alpha")
    other = SigningKey(world.rng.randbytes(32))
    office = world.founder.node.office
    assert office is not None
    issuer = replace(office.issuer, issuing_key=other.public, name="second")
    envelope = create_issuer(world.authority, world.network_id, issuer)
    certificate = create_certificate(
        other,
        world.network_id,
        replace(alpha.node.own.certificate, serial=world.rng.randbytes(16)),
    )
    world.do(
        alpha,
        lambda node: node.use_certificate(
            certificate, envelope, now=world.now, wall=world.wall
        ),
    )
    version = alpha.node.own.version
    world.run(60.0)
    assert alpha.node.own.version == version
    assert len(world.founder.node.records.members_of(alpha.key)) == 2
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.signer == other.public


def test_foreign_certificate_is_refused(world: World) -> None:
    """Neither one for other keys nor none at all."""
    alpha, beta = world.add("alpha"), world.add("beta")
    papers = beta.node.own.envelopes
    version = alpha.node.own.version
    for certificate, issuer in (papers, (b"", b"")):
        with pytest.raises(ConfigError, match="our certificate is"):
            alpha.node.use_certificate(
                certificate, issuer, now=world.now, wall=world.wall
            )
    assert alpha.node.own.version == version


def test_own_word_is_raised_above_a_lost_state(world: World) -> None:
    """Others hold a later one: ours outdoes it, and stays where it is then."""
    alpha = world.add("alpha")
    for _ in range(3):
        world.do(alpha, lambda node: node.leave(now=world.now, wall=world.wall))
        alpha.stop()
        alpha.start()
        world.introduce(alpha, world.founder)
        world.now += 60.0
    lost = alpha.node.own.version
    alpha.stop()
    alpha.disk.forget_own()
    alpha.start()
    assert alpha.node.own.version == 1
    world.do(alpha, lambda node: None)
    publish(world, alpha, world.founder.node.own.data)
    world.run(60.0)
    assert alpha.node.own.version > lost
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.data == alpha.node.own.data


def test_greatest_version_of_all_ends_nothing(world: World) -> None:
    """Who has our signing key can say it; we can go no further, and go on."""
    alpha = world.add("alpha")
    certificate, issuer = alpha.node.own.envelopes
    record = create_member_record(
        alpha.signing,
        world.network_id,
        certificate=certificate,
        issuer=issuer,
        member=Member(MAX_VERSION, ()),
    )
    publish(world, alpha, record)
    world.run(1.0)
    assert alpha.node.membership.by_key(alpha.key) is not None


# --- what of ours is said ---


def test_announced_routes_need_a_grant(world: World) -> None:
    """What the certificate does not hold is said in health, not announced."""
    grant = replace(NOTHING, subnets=(LAN,))
    stranger = Route(Prefix.parse("192.168.8.0/24"), 0, 1)
    alpha = world.add("alpha", grant, (ROUTE, stranger))
    word = world.founder.node.membership.by_key(alpha.key)
    assert word is not None
    assert word.member is not None
    assert word.member.routes == (ROUTE,)
    assert set(alpha.node.health) == {"announced routes"}
    text = alpha.node.health["announced routes"]
    assert "192.168.8.0/24" in text
    assert "192.168.7.0/24" not in text
    settings = replace(alpha.settings, routes=(ROUTE,))
    world.do(
        alpha, lambda node: node.configure(settings, now=world.now, wall=world.wall)
    )
    assert not alpha.node.health
    assert HealthChanged("announced routes", "") in alpha.events


@pytest.mark.parametrize("roles", [Role.NONE, Role.EXIT])
def test_default_route_must_be_granted_itself(world: World, roles: Role) -> None:
    """To be an exit is not enough, and an exit may announce no part of everything."""
    everything = Prefix.parse("0.0.0.0/0")
    subnets = (everything,) if roles else (LAN,)
    routes = (Route(everything, 0, 1), Route(Prefix.parse("10.0.0.0/24"), 0, 1))
    alpha = world.add("alpha", Grant("", (), subnets, roles, YEAR), routes)
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.member is not None
    assert member.member.routes == (routes[:1] if roles else ())
    assert set(alpha.node.health) == {"announced routes"}


def test_more_routes_than_a_record_holds_are_said(world: World) -> None:
    """The first ones are announced, and the node goes on."""
    routes = tuple(
        Route(Prefix(4, LAN.network + 4 * number, 30), 0, 1) for number in range(20)
    )
    alpha = world.add("alpha", replace(NOTHING, subnets=(LAN,)), routes)
    member = world.founder.node.membership.by_key(alpha.key)
    assert member is not None
    assert member.member is not None
    assert 0 < len(member.member.routes) <= 16
    assert member.member.routes == routes[: len(member.member.routes)]
    assert "no room" in alpha.node.health["announced routes"]


def test_equal_configuration_changes_nothing(world: World) -> None:
    """Neither the record nor the plan."""
    alpha = world.add("alpha")
    word, plans = alpha.node.own.data, len(alpha.plans)
    world.do(
        alpha,
        lambda node: node.configure(alpha.settings, now=world.now, wall=world.wall),
    )
    assert alpha.node.own.data == word
    assert len(alpha.plans) == plans


# --- routes and the host ---


def test_routes_follow_those_who_announce_them(world: World) -> None:
    """Accepted ones are in the plan; a plan that is the same is not told again."""
    accept = replace(SETTINGS, accept=(Prefix.parse("192.168.0.0/16"),))
    world.do(
        world.founder,
        lambda node: node.configure(accept, now=world.now, wall=world.wall),
    )
    alpha = world.add("alpha", replace(NOTHING, subnets=(LAN,)), (ROUTE,))
    assert world.founder.plans[-1].routes == (LAN,)
    assert LAN in world.founder.wires.peers[alpha.key].prefixes
    assert world.founder.told(RoutesChanged)
    plans = len(world.founder.plans)
    world.add("beta")
    assert len(world.founder.plans) == plans
    world.do(alpha, lambda node: node.leave(now=world.now, wall=world.wall))
    world.run(1.0)
    assert not world.founder.plans[-1].routes


def test_policy_is_spread_and_compiled(world: World) -> None:
    """It comes to all, and what is let in is part of the plan."""
    alpha = world.add("alpha")
    text = (
        'default = "deny"\n[[rule]]\nfrom=["founder"]\nto=["alpha"]\nallow=["icmp"]\n'
    )
    envelope = create_policy(world.issuing, world.network_id, Policy(1, text))
    world.do(
        world.founder,
        lambda node: node.publish_policy(envelope, now=world.now, wall=world.wall),
    )
    world.run(30.0)
    assert alpha.told(PolicyChanged) == [PolicyChanged(1)]
    found = alpha.plans[-1].filter
    assert found is not None
    assert len(found.allows) == 1
    alpha.stop()
    alpha.start()
    assert alpha.plans[-1].filter == found


def test_policy_that_is_not_understood_lets_nobody_in(world: World) -> None:
    """Least of all after a restart; the one before stays while we run."""
    alpha = world.add("alpha")
    bad = create_policy(world.issuing, world.network_id, Policy(2, "verb = 'new'"))
    world.do(
        alpha,
        lambda node: node.publish_policy(bad, now=world.now, wall=world.wall),
    )
    assert "policy 2 is not understood" in alpha.node.health["policy"]
    for _ in range(2):
        found = alpha.plans[-1].filter
        assert found is not None
        assert found.allows == ()
        alpha.stop()
        alpha.start()


def test_charter_that_ends_an_authority_ends_its_members(world: World) -> None:
    """What it signed counts for nothing from then on, and the node says so."""
    new = SigningKey(world.rng.randbytes(32))
    node = world.founder.node
    charter = next_charter(
        node.trust.charter,
        world.authority,
        name="home",
        authorities=(new.public,),
        created=int(world.wall),
    )
    world.do(
        world.founder,
        lambda node: node.publish_charter(charter, now=world.now, wall=world.wall),
    )
    assert names(world.founder) == set()
    assert "membership" in world.founder.node.health


# --- who may say what ---

GOSSIP: tuple[Message, ...] = (
    HELLO,
    Push((b"x",)),
    Digests(b"", (bytes(8),) * 16),
    Leaf(b"", ()),
    Want((bytes(8),)),
    Fetch(Kind.CHARTER, 1, 0),
    Fetch(Kind.POLICY, 1, 0),
    Chunk(Kind.CHARTER, 2, 0, 1, b"x"),
)
OTHERS: tuple[Message, ...] = (
    Ping(bytes(8)),
    Pong(bytes(8), PLACE),
    Publish(b"x"),
    Published(1, PLACE),
    Lookup(bytes(32)),
    Found(bytes(32), b""),
    JoinRequest(bytes(32), bytes(32), "evil", bytes(64)),
    JoinReply(b"x", b""),
    RenewRequest(bytes(8)),
    Renewed(b"x", b""),
    Refused("no", "no"),
    Accepts((8,), (1, 2)),
    LargestSize(8920),
    SizeProbe(bytes(8), 8920),
    SizeProven(bytes(8), 8920),
    CallMe(7, False, bytes(31) + b"k", (PLACE,), PLACE, NatHint(), (PLACE,)),
    CallMe(7, True, bytes(32), (), None, NatHint(), ()),
    ProbeMe(bytes(31) + b"k", PLACE),
    ProbeThem(bytes(32), bytes(31) + b"k", PLACE),
    ProbeKey(bytes(31) + b"k", True),
)


@pytest.mark.parametrize("message", [*GOSSIP, *OTHERS], ids=lambda m: type(m).__name__)
def test_frame_of_a_stranger_is_dropped(world: World, message: Message) -> None:
    """Nothing is answered, kept or told."""
    stranger = world.host("stranger")
    version = world.founder.node.own.version
    assert world.say(stranger, world.founder, message) == []
    assert world.founder.wires.sent == []
    assert world.founder.node.own.version == version


@pytest.mark.parametrize("message", [*GOSSIP, *OTHERS], ids=lambda m: type(m).__name__)
def test_no_frame_of_a_member_raises(world: World, message: Message) -> None:
    """Whatever it says: it is handled or ignored."""
    alpha = world.add("alpha")
    world.say(alpha, world.founder, message)
    world.run(1.0)
    assert names(world.founder) == {"founder", "alpha"}


def test_admitted_stranger_learns_charters_only(world: World) -> None:
    """Anybody who knows our key can make an invite of its own and be let in so far.

    It gets the charters, which are public, and neither the policy nor a hint of who
    the members are; and it makes us fetch nothing.
    """
    world.add("alpha")
    envelope = create_policy(world.issuing, world.network_id, Policy(1, ""))
    world.do(
        world.founder,
        lambda node: node.publish_policy(envelope, now=world.now, wall=world.wall),
    )
    stranger = world.host("stranger")
    world.admit(stranger, PrivateKey(world.rng.randbytes(32)))
    assert stranger.key in world.founder.wires.peers
    answers = world.say(stranger, world.founder, HELLO)
    assert [type(one) for one in answers] == [Hello]
    assert isinstance(answers[0], Hello)
    assert not answers[0].wants_answer
    answers = world.say(stranger, world.founder, Fetch(Kind.CHARTER, 1, 0))
    assert [type(one) for one in answers] == [Chunk]
    for message in (*GOSSIP[1:5], *GOSSIP[6:], *OTHERS):
        answers = world.say(stranger, world.founder, message)
        assert [type(one) for one in answers if not isinstance(one, Refused)] == []
    assert world.founder.wires.sent == []
    assert len(world.founder.node.sync._repair._tried) <= 2  # members only


def test_session_with_a_stranger_leaves_no_trace(world: World) -> None:
    """Else each of its keys would take a place, on disk and in memory, for ever."""
    stranger = world.host("stranger")
    world.admit(stranger, PrivateKey(world.rng.randbytes(32)))
    world.founder.wires.paths[stranger.key] = PLACE
    node, before = world.founder.node, world.founder.disk.state
    node.session_started(stranger.key, now=world.now, wall=world.wall)
    node.handshake_begun(stranger.key, now=world.now, wall=world.wall)
    node.endpoint_wanted(stranger.key, now=world.now, wall=world.wall)
    assert node.outbox.changes == []
    assert node.outbox.datagrams == []
    world.founder.carry_out()
    assert world.founder.disk.state == before
    world.run(61.0)
    assert stranger.key not in world.founder.wires.peers


def test_joiner_is_refused_where_nobody_issues(world: World) -> None:
    """And a node without an issuing key lets no joiner in."""
    alpha, stranger = world.add("alpha"), world.host("stranger")
    data = introduce_joiner(
        network_id=world.network_id,
        invite_private=PrivateKey(world.rng.randbytes(32)),
        issuer_key=alpha.key,
        joiner_key=stranger.key,
        until=int(world.wall) + 60,
        ephemeral=world.rng.randbytes(32),
    )
    with pytest.raises(BadPacket) as raised:
        alpha.node.receive_introduction(data, now=world.now, wall=world.wall)
    assert raised.value.reason is DropReason.UNKNOWN_PEER
    assert stranger.key not in alpha.wires.peers
    request = JoinRequest(bytes(32), bytes(32), "x", bytes(64))
    assert world.say(world.founder, alpha, request) == []


def test_joiner_key_of_low_order_harms_nobody(world: World) -> None:
    """Whoever has an invite may claim any key."""
    data = introduce_joiner(
        network_id=world.network_id,
        invite_private=world.invite(),
        issuer_key=world.founder.key,
        joiner_key=bytes(32),
        until=int(world.wall) + 60,
        ephemeral=world.rng.randbytes(32),
    )
    world.do(
        world.founder,
        lambda node: node.receive_introduction(data, now=world.now, wall=world.wall),
    )
    world.run(61.0)
    assert world.founder.wires.peers == {}


@pytest.mark.parametrize("record", [b"x", b"\x93\xc0\xc0\xc0", bytes(900)])
def test_introduction_with_a_bad_record_changes_nothing(
    world: World, record: bytes
) -> None:
    """It is sealed to us, and worth nothing."""
    data = introduce_member(
        record, world.founder.key, ephemeral=world.rng.randbytes(32)
    )
    world.do(
        world.founder,
        lambda node: node.receive_introduction(data, now=world.now, wall=world.wall),
    )
    assert names(world.founder) == {"founder"}
    assert world.founder.wires.peers == {}


def test_introductions_change_a_record_no_faster_than_gossip(world: World) -> None:
    """Anybody may send them: a flood of versions is not spread through the mesh."""
    alpha = world.add("alpha")
    certificate, issuer = alpha.node.own.envelopes
    taken = set()
    for version in range(10, 40):
        record = create_member_record(
            alpha.signing,
            world.network_id,
            certificate=certificate,
            issuer=issuer,
            member=Member(version, ()),
        )
        data = introduce_member(
            record, world.founder.key, ephemeral=world.rng.randbytes(32)
        )
        world.founder.node.receive_introduction(data, now=world.now, wall=world.wall)
        member = world.founder.node.membership.by_key(alpha.key)
        assert member is not None
        taken.add(member.version)
    assert len(taken) < 10


def test_pong_that_nobody_asked_for_moves_us_nowhere(world: World) -> None:
    """Else a member could make all others dial whom it likes."""
    alpha = world.add("alpha")
    node = alpha.node
    world.say(world.founder, alpha, Pong(bytes(8), PLACE))
    world.say(world.founder, alpha, Published(1, OTHER_PLACE))
    assert node.reach.own_candidates() == ()
    node.pings.ask(world.founder.key, timeout=5.0, now=world.now)
    ping = alpha.wires.sent[-1][1]
    assert isinstance(ping, Ping)
    world.say(world.founder, alpha, Pong(ping.nonce, PLACE))
    assert node.reach.own_candidates() == (PLACE,)


def test_ping_is_answered_with_where_it_came_from(world: World) -> None:
    """But not with a zone, which means nothing to others."""
    alpha = world.add("alpha")
    world.founder.wires.paths[alpha.key] = PLACE
    answers = world.say(alpha, world.founder, Ping(b"12345678"))
    assert answers == [Pong(b"12345678", PLACE)]
    world.founder.wires.paths[alpha.key] = Endpoint("fe80::1", 1, 3)
    answers = world.say(alpha, world.founder, Ping(b"12345678"))
    assert answers == [Pong(b"12345678", None)]


def test_any_frame_shows_that_a_member_is_alive(world: World) -> None:
    """A member that was silent is a neighbour again as soon as it says something."""
    alpha = world.add("alpha")
    alpha.stop()
    world.run(60.0)
    assert world.founder.node.neighbours.silent == (alpha.key,)
    world.say(alpha, world.founder, Lookup(bytes(32)))
    assert not world.founder.node.neighbours.silent


def test_who_joined_is_in_touch_within_a_second(world: World) -> None:
    """Somebody knows what it knows, and two have answered, or all there are."""
    assert not world.founder.node.is_in_touch
    for name in ("alpha", "beta", "gamma"):
        joined = world.add(name)
        world.run(1.0)
        assert joined.node.is_in_touch
        assert joined.node.neighbours.answering >= min(2, len(names(joined)) - 1)


def test_one_that_answers_is_not_enough_where_there_are_more(world: World) -> None:
    """If it fails next, nobody knows where we are; who is silent does not count."""
    alpha, beta = world.add("alpha"), world.add("beta")
    world.run(5.0)
    beta.stop()
    alpha.stop()
    alpha.start()
    world.run(1.0)
    assert alpha.node.neighbours.answering == 1
    assert alpha.node.sync.has_agreed
    assert not alpha.node.is_in_touch
    world.run(20.0)
    assert alpha.node.is_in_touch


# --- contacts ---


def contact(world: World) -> tuple[Computer, Computer]:
    """Return a member by bundle, which knows nobody, and the founder as its contact."""
    alpha = world.host("alpha")
    world.join(alpha)
    alpha.disk.forget_own()
    alpha.start()
    assert names(alpha) == {"alpha"}
    return alpha, world.founder


def meet(
    world: World, alpha: Computer, keys: dict[bytes, tuple[Endpoint, ...]]
) -> None:
    """Name contacts to a node."""
    world.do(
        alpha, lambda node: node.set_contacts(keys, now=world.now, wall=world.wall)
    )


def test_contact_without_record_is_met(world: World) -> None:
    """Its record, and all others, come from it; then it is a member like all."""
    world.add("beta")
    alpha, founder = contact(world)
    meet(world, alpha, {founder.key: (PLACE,)})
    assert alpha.wires.candidates[founder.key] == (PLACE,)
    assert alpha.node.peer_keys() == [founder.key]
    world.run(10.0)
    assert names(alpha) == {"founder", "alpha", "beta"}
    assert alpha.wires.peers[founder.key].prefixes


def test_contact_that_is_down_is_greeted_until_it_is_up(world: World) -> None:
    """A host that starts before its only contact must not stay alone for ever."""
    alpha, founder = contact(world)
    founder.stop()
    meet(world, alpha, {founder.key: (PLACE,)})
    world.run(600.0)
    founder.start()
    world.run(200.0)
    assert names(alpha) == {"founder", "alpha"}


def test_contact_may_only_gossip_until_it_is_known(world: World) -> None:
    """Nothing else it says is of use, or for the ears of who is no member."""
    alpha, founder = contact(world)
    meet(world, alpha, {founder.key: ()})
    for message in OTHERS:
        assert world.say(founder, alpha, message) == []


def test_revoked_contact_is_no_peer(world: World) -> None:
    """Neither when its revocation comes, nor when we start again."""
    alpha = world.add("alpha")
    meet(world, alpha, {world.founder.key: (PLACE,)})
    publish(world, alpha, revoke(world, world.founder.key))
    assert world.founder.key not in alpha.wires.peers
    assert world.say(world.founder, alpha, HELLO) == []
    alpha.stop()
    alpha.start()
    meet(world, alpha, {world.founder.key: (PLACE,)})
    assert world.founder.key not in alpha.wires.peers
    assert alpha.node.peer_keys() == []


def test_contact_whose_certificate_ended_may_come_back(world: World) -> None:
    """It stays a peer, without addresses: it may have a new certificate already."""
    alpha, beta = world.add("alpha", replace(NOTHING, lifetime=DAY)), world.add("beta")
    meet(world, beta, {alpha.key: (PLACE,)})
    alpha.stop()
    world.run(DAY + 600.0)
    assert names(beta) == {"founder", "beta"}
    assert beta.wires.peers[alpha.key].prefixes == ()
    assert alpha.key in beta.node.peer_keys()


def test_contact_that_is_named_no_more_is_no_peer(world: World) -> None:
    """Unless it is a member."""
    alpha, founder = contact(world)
    stranger = world.host("stranger")
    meet(world, alpha, {founder.key: (), stranger.key: (), alpha.key: ()})
    assert set(alpha.wires.peers) == {founder.key, stranger.key}
    world.run(10.0)
    meet(world, alpha, {})
    assert set(alpha.wires.peers) == {founder.key}


def test_member_whose_introduction_was_lost_comes_in_all_the_same(
    world: World,
) -> None:
    """It shook hands as a joiner, so it takes itself for known; that ends."""
    alpha = world.host("alpha")
    world.join(alpha)
    node = alpha.start()
    alpha.wires.paths[world.founder.key] = PLACE
    node.session_started(world.founder.key, now=world.now, wall=world.wall)
    node.handshake_begun(world.founder.key, now=world.now, wall=world.wall)
    assert node.outbox.datagrams == []
    node.handshake_begun(world.founder.key, now=world.now + 5, wall=world.wall)
    assert [one.path.remote for one in node.outbox.datagrams] == [PLACE]


# --- events of the tunnels ---


def test_sessions_are_told_of_once(world: World) -> None:
    """Up when it is confirmed, down when the peer does not answer."""
    alpha = world.add("alpha")
    node = world.founder.node
    world.founder.events.clear()
    for _ in range(2):
        node.session_started(alpha.key, now=world.now, wall=world.wall)
        node.handshake_given_up(alpha.key, now=world.now, wall=world.wall)
        node.handshake_given_up(alpha.key, now=world.now, wall=world.wall)
    world.founder.carry_out()
    kinds = [type(event) for event in world.founder.events]
    assert kinds == [PeerDown, PeerUp, PeerDown]


def test_handshake_is_preceded_by_an_introduction(world: World) -> None:
    """To members that may not know us; not to stock members, nor to who is none."""
    alpha = world.add("alpha")
    node = alpha.node
    office = world.founder.node.office
    assert office is not None
    phone = world.host("phone")
    reply = office.issuing.issue(
        Subject(phone.key, bytes(32), (alpha.key,)),
        Grant("phone", (), (), Role.STOCK, YEAR),
        now=world.now,
        wall=int(world.wall),
    )
    record = create_stock_record(certificate=reply.certificate, issuer=reply.issuer)
    publish(world, alpha, record)
    node.reach.dialler._knows_us.clear()
    for key in (phone.key, world.rng.randbytes(32), world.founder.key):
        alpha.wires.paths[key] = PLACE
        node.handshake_begun(key, now=world.now, wall=world.wall)
        assert len(node.outbox.datagrams) == (key == world.founder.key)


def accepts(computer: Computer) -> list[bytes]:
    """Return to whom a node said what it takes, and forget what was sent."""
    sent, computer.wires.sent = computer.wires.sent, []
    return [key for key, message in sent if isinstance(message, Accepts)]


def test_members_are_told_which_ciphers_we_take(world: World) -> None:
    """Once a session; nobody else, who would have no use for it."""
    alpha, phone = world.add("alpha"), world.host("phone")
    node, office = world.founder.node, world.founder.node.office
    assert office is not None
    reply = office.issuing.issue(
        Subject(phone.key, bytes(32), (alpha.key,)),
        Grant("phone", (), (), Role.STOCK, YEAR),
        now=world.now,
        wall=int(world.wall),
    )
    record = create_stock_record(certificate=reply.certificate, issuer=reply.issuer)
    publish(world, world.founder, record)
    chosen = replace(SETTINGS, ciphers=(Cipher.AES_256_GCM,))
    stranger = world.rng.randbytes(32)
    keys = (phone.key, stranger, alpha.key)
    world.founder.wires.indices = dict.fromkeys(keys, (7,))
    told = []
    for settings in (SETTINGS, chosen, SETTINGS):
        node.configure(settings, now=world.now, wall=world.wall)
        for key in keys:
            node.session_started(key, now=world.now, wall=world.wall)
        told.append(accepts(world.founder))
    assert told == [[], [alpha.key], []]


def test_a_member_says_under_what_it_may_be_sent(world: World) -> None:
    """If we have that too; a stranger says nothing."""
    alpha, stranger = world.add("alpha"), world.host("stranger")
    node, wires = world.founder.node, world.founder.wires
    settings = replace(SETTINGS, ciphers=(Cipher.AES_256_GCM,))
    node.configure(settings, now=world.now, wall=world.wall)
    world.say(stranger, world.founder, Accepts((8,), (1,)))
    assert wires.ciphers == {}
    world.say(alpha, world.founder, Accepts((8, 99), (1, 2)))
    aes = Cipher.AES_256_GCM
    assert wires.ciphers == {(alpha.key, 1): aes, (alpha.key, 2): aes}


def test_members_prove_to_each_other_how_large_packets_may_be(world: World) -> None:
    """Strangers are told nothing, and what they say does not count."""
    alpha, stranger = world.add("alpha"), world.host("stranger")
    node, wires = world.founder.node, world.founder.wires
    times = {"now": world.now, "wall": world.wall}
    node.sizes = PathSizes(wires, world.rng.randbytes, base=1420, largest=8920)
    wires.paths[alpha.key] = PLACE
    wires.sessions.add(alpha.key)
    wires.sent.clear()
    for key in (stranger.key, alpha.key):
        node.session_started(key, **times)
    said = [sent for sent in wires.sent if isinstance(sent[1], LargestSize)]
    assert said == [(alpha.key, LargestSize(8920))]
    world.say(stranger, world.founder, LargestSize(8920))
    world.say(alpha, world.founder, LargestSize(4000))
    node.handle_deadline(**times)
    [(key, probe)] = wires.probes
    assert isinstance(probe, SizeProbe)
    assert (key, probe.size) == (alpha.key, 3992)
    answer = SizeProven(probe.nonce, probe.size)
    world.say(stranger, world.founder, answer)
    assert node.sizes.proven() == {}
    world.say(alpha, world.founder, answer)
    assert node.sizes.proven() == {alpha.key: 3992}
    wires.paths[alpha.key] = Endpoint("192.0.2.77", 1)
    node.path_changed(alpha.key, **times)
    assert node.sizes.proven() == {}
    wires.sent.clear()
    for who in (stranger, alpha):
        world.say(who, world.founder, SizeProbe(bytes(8), 2000))
    assert wires.sent == [(alpha.key, SizeProven(bytes(8), 2000))]
    node.handshake_given_up(alpha.key, **times)
    assert node.sizes.next_deadline() is None


def test_wanted_member_is_looked_for(world: World) -> None:
    """By asking; an unknown one is not."""
    alpha, beta = world.add("alpha"), world.add("beta")
    alpha.wires.sessions.clear()
    alpha.wires.sent.clear()
    for key in (world.rng.randbytes(32), beta.key):
        world.do(
            alpha,
            lambda node, key=key: node.endpoint_wanted(  # type: ignore[misc]
                key, now=world.now, wall=world.wall
            ),
        )
    assert {m for _, m in alpha.wires.sent} == {Lookup(beta.key)}


def test_endpoints_are_published_to_a_rendezvous(world: World) -> None:
    """The founder is one: others find us by it."""
    alpha, beta = world.add("alpha"), world.add("beta")
    world.do(
        alpha,
        lambda node: node.set_addresses((PLACE,), now=world.now, wall=world.wall),
    )
    world.run(5.0)
    assert alpha.node.has_session(world.founder.key)
    beta.wires.sessions.clear()
    world.do(
        beta,
        lambda node: node.endpoint_wanted(alpha.key, now=world.now, wall=world.wall),
    )
    world.run(2.0)
    dialler = beta.node.reach.dialler
    assert dialler.candidates_of(alpha.key, now=world.now) == (PLACE,)
    # A relay comes first.
    assert PLACE not in beta.wires.candidates[alpha.key]


# --- time, and what it costs ---


def test_idle_node_wakes_for_hellos_and_little_else(world: World) -> None:
    """Three nodes have two neighbours each: about one Hello in ten seconds."""
    world.add("alpha")
    world.add("beta")
    world.run(300.0)
    woken = world.run(600.0)
    # Two Hellos in 20 s and a publication in 60 s for each of three.
    assert woken < 3 * 600 * (2 / 20 + 1 / 60) * 1.4


def test_deadline_is_by_the_time_believed(world: World) -> None:
    """A clock that was set back must not let us sleep past the end of a certificate."""
    alpha = world.add("alpha", replace(NOTHING, lifetime=DAY))
    world.founder.stop()
    world.run(DAY - 3600.0)
    world.skew = -10 * DAY
    deadline = alpha.node._time_alone(world.wall, world.now)
    assert deadline is not None
    assert deadline.at - world.now < 2 * 3600.0
    world.run(2 * 3600.0)
    assert names(alpha) == {"founder"}


def test_many_members_let_routes_wait_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a set that is being filled does not compute them with each message.

    Who is introduced can shake hands at once all the same, and who is revoked is cut
    off at once.
    """
    alpha = world.add("alpha")
    world.run(10.0)
    monkeypatch.setattr("meshnode.mesh.steps.FEW_MEMBERS", 1)
    monkeypatch.setattr("meshnode.mesh.steps.PAUSE_PER_MEMBER", 5.0)
    beta = world.host("beta")
    world.join(beta)
    beta.start()
    world.founder.node._refresh(world.now)
    world.introduce(beta, world.founder)
    peer = world.founder.wires.peers[beta.key]
    assert peer.prefixes == ()
    publish(world, world.founder, revoke(world, alpha.key))
    assert alpha.key not in world.founder.wires.peers
    world.run(20.0)
    assert world.founder.wires.peers[beta.key].prefixes != ()
    deadline = world.founder.node.next_deadline(now=world.now, wall=world.wall)
    assert deadline is not None
    assert deadline.at > world.now


def test_conflicts_are_said(world: World) -> None:
    """Of two with one name the newer member is left out, and its key named."""
    alpha, beta = world.add("alpha"), world.add("beta")
    certificate = create_certificate(
        world.issuing,
        world.network_id,
        replace(
            beta.node.own.certificate,
            name="alpha",
            not_before=int(world.wall) + 1,
            member_since=int(world.wall) + 1,
        ),
    )
    world.now += 10.0
    world.do(
        beta,
        lambda node: node.use_certificate(
            certificate, world.founding.issuer, now=world.now, wall=world.wall
        ),
    )
    world.introduce(beta, world.founder)
    text = world.founder.node.health["conflicts"]
    assert "has its name or address" in text
    assert names(world.founder) == {"founder", "alpha"}
    assert alpha.key in world.founder.wires.peers


# --- what is kept before it is used ---


def test_ledger_is_queued_in_the_step_of_the_reply(world: World) -> None:
    """The shell keeps the outbox before anything leaves."""
    host, invite = world.host("alpha"), world.invite()
    world.admit(host, invite)
    request = create_join_request(
        host.signing,
        world.network_id,
        wireguard_key=host.key,
        invite_key=invite.public_key().raw,
        name="alpha",
    )
    world.founder.node.receive_message(
        host.key, request, now=world.now, wall=world.wall
    )
    kept = [type(change) for change in world.founder.node.outbox.changes]
    assert KeepIssued in kept


def test_own_word_is_queued_before_it_is_spread(world: World) -> None:
    """A version that others hold is never ahead of our disk."""
    alpha = world.add("alpha", replace(NOTHING, subnets=(LAN,)))
    alpha.wires.sent.clear()
    settings = replace(alpha.settings, routes=(ROUTE,))
    alpha.node.configure(settings, now=world.now, wall=world.wall)
    words = [c.data for c in alpha.node.outbox.changes if isinstance(c, KeepOwn)]
    assert words == [alpha.node.own.data]
    assert (world.founder.key, Push((alpha.node.own.data,))) in alpha.wires.sent


# --- what cannot be used at all ---


def make(world: World, computer: Computer, stored: StoredState) -> MeshNode:
    """Make a node of a host from another state."""
    assert computer.identity is not None
    return MeshNode(
        computer.identity,
        SETTINGS,
        stored,
        tunnels=Wires(world, computer.key),
        entropy=world.rng.randbytes,
        now=world.now,
        wall=world.wall,
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: replace(one, charters=(b"x",)),
        lambda one: replace(one, charters=()),
        lambda one: replace(one, certificate=b"x"),
        lambda one: replace(one, issuer=b""),
        lambda one: replace(one, signing_key=SigningKey(bytes(32))),
    ],
)
def test_identity_that_does_not_belong_together_is_refused(
    world: World, spoil: Callable[..., object]
) -> None:
    """With an error for the user."""
    world.founder.identity = spoil(world.founder.identity)  # type: ignore[assignment]
    with pytest.raises(ConfigError):
        make(world, world.founder, StoredState())


def test_damaged_state_of_an_issuer_is_refused(world: World) -> None:
    """Else a name or address could be given twice."""
    with pytest.raises(ConfigError, match="damaged"):
        make(world, world.founder, StoredState(issued=((bytes(16), b"x"),)))
    with pytest.raises(ConfigError, match="damaged"):
        make(world, world.founder, StoredState(invites=((bytes(32), b"x"),)))


def test_damaged_records_are_left_out(world: World) -> None:
    """They come again from others."""
    state = StoredState(records=((4, b"x"), (5, b"")), policy=b"x", own=b"x")
    node = make(world, world.founder, state)
    node.start(now=world.now, wall=world.wall)
    assert len(node.membership) == 1


def test_issuer_for_another_key_is_refused(world: World) -> None:
    """The permission to issue must be for the key that is there."""
    assert world.founder.identity is not None
    wrong = IssuerIdentity(SigningKey(bytes(32)), world.founding.issuer)
    world.founder.identity = replace(world.founder.identity, issuing=wrong)
    with pytest.raises(ConfigError, match="another issuing key"):
        make(world, world.founder, StoredState())


def test_no_secret_is_in_the_repr_of_an_identity(world: World) -> None:
    """It may end in a log."""
    identity = world.founder.identity
    assert identity is not None
    assert identity.issuing is not None
    for secret in (bytes(identity.private_key.reveal()), world.secrets[0]):
        for text in (repr(identity), repr(identity.issuing)):
            assert repr(secret)[2:-1] not in text
            assert secret.hex() not in text


def test_mapped_port_is_found_by_others(world: World) -> None:
    """As every other endpoint of ours."""
    alpha, beta = world.add("alpha"), world.add("beta")
    world.do(
        alpha,
        lambda node: node.set_mapped((PLACE,), now=world.now, wall=world.wall),
    )
    world.run(5.0)
    world.do(
        beta,
        lambda node: node.endpoint_wanted(alpha.key, now=world.now, wall=world.wall),
    )
    world.run(2.0)
    dialler = beta.node.reach.dialler
    assert dialler.candidates_of(alpha.key, now=world.now) == (PLACE,)
    # A relay comes first.
    assert PLACE not in beta.wires.candidates[alpha.key]


def test_only_members_are_near(world: World) -> None:
    """Who was one may still say things on our link."""
    alpha, stranger = world.add("alpha"), bytes(32)
    for key in (alpha.key, stranger):
        world.do(
            world.founder,
            lambda node, key=key: node.set_near(  # type: ignore[misc]
                key, (PLACE,), now=world.now, wall=world.wall
            ),
        )
    assert world.founder.wires.candidates[alpha.key] == (PLACE,)
    assert stranger not in world.founder.wires.candidates
