"""From members to tunnels and host: who owns what, and a plan that says it all."""

import random
from dataclasses import replace

import pytest

from meshnode.codec.messages import JoinReply
from meshnode.codec.records import Policy, Role, Route
from meshnode.errors import ConfigError
from meshnode.hostplan import Announced, Larger
from meshnode.mesh.certifier import Subject
from meshnode.mesh.documents import create_stock_record
from meshnode.mesh.health import OwnerHealth
from meshnode.mesh.invites import Grant
from meshnode.mesh.ports import SharedPrefix, TunnelPeer
from meshnode.mesh.roads import Roads
from meshnode.mesh.routes import ACCEPT_ALL
from meshnode.mesh.trust import ula_prefix
from meshnode.types import Prefix
from tests.unit.mesh.issuing_parts import NOW, WALL, YEAR, FakeTunnels, Host, Office
from tests.unit.mesh.node_parts import SETTINGS

LAN = Prefix.parse("192.168.7.0/24")
ROUTE = Route(LAN, 10, 1)


class NotingTunnels(FakeTunnels):
    """Also notes what is shared, and how often anything was set."""

    def __init__(self) -> None:
        super().__init__()
        self.shared: tuple[SharedPrefix, ...] = ()
        self.removed: list[bytes] = []

    def share_prefixes(self, shared: tuple[SharedPrefix, ...], *, now: float) -> None:
        """Note it."""
        self.shared = shared

    def remove_peer(self, key: bytes, *, now: float) -> None:
        """Note it."""
        self.removed.append(key)
        super().remove_peer(key, now=now)


class Net:
    """The routing of the founder of a network."""

    def __init__(self, rng: random.Random) -> None:
        self.office = Office(rng)
        self.tunnels = NotingTunnels()
        self.sizes: dict[bytes, int] = {}
        self.keepalives: dict[bytes, int] = {}
        self.health = OwnerHealth(self.tunnels, rng.randbytes)
        self.overlay = (
            self.office.trust.charter.cidr,
            ula_prefix(self.office.network_id),
        )
        self.roads = self.of(self.office.founder.key)

    def of(self, key: bytes) -> Roads:
        """Return the routing of the member with this key."""
        return Roads(
            key=key,
            network="home",
            overlay=self.overlay,
            membership=self.office.membership,
            tunnels=self.tunnels,
            health=self.health,
            sizes=lambda: self.sizes,
            keepalive=lambda key: self.keepalives.get(key, 0),
            settings=replace(SETTINGS, accept=ACCEPT_ALL),
        )

    def add(self, name: str, *routes: Route) -> Host:
        """Return a member that announces these routes."""
        host = Host(self.office.rng)
        grant = Grant(name, ("staff",), (LAN,) if routes else (), Role.NONE, YEAR)
        reply = self.office.join(self.office.invite(grant=grant), host, name)
        assert isinstance(reply, JoinReply)
        self.office.enrol(host, reply.certificate, routes=routes)
        return host

    def add_stock(self, name: str, *gateways: bytes) -> Host:
        """Return a stock member that these carry."""
        host = Host(self.office.rng)
        reply = self.office.issuing.issue(
            Subject(host.key, bytes(32), gateways),
            Grant(name, (), (), Role.STOCK, YEAR),
            now=NOW,
            wall=WALL,
        )
        record = create_stock_record(certificate=reply.certificate, issuer=reply.issuer)
        member = self.office.trust.verify_member(record, wall=WALL)
        merge = self.office.records.offer(member, wall=float(WALL))
        self.office.membership.update(merge, wall=float(WALL))
        return host

    def addresses(self, host: Host) -> tuple[Prefix, ...]:
        """Return the overlay addresses of a member."""
        member = self.office.membership.by_key(host.key)
        assert member is not None
        return member.addresses


@pytest.fixture
def net(rng: random.Random) -> Net:
    """A network with its founder."""
    return Net(rng)


def test_members_are_peers_with_what_only_they_own(net: Net) -> None:
    """Ourselves excepted; a second look at the same changes nothing."""
    one, two = net.add("one", ROUTE), net.add("two")
    assert net.roads.refresh(now=NOW)
    assert net.tunnels.peers == {
        one.key: TunnelPeer(one.key, (*net.addresses(one), LAN)),
        two.key: TunnelPeer(two.key, net.addresses(two)),
    }
    assert net.roads.peers == {one.key, two.key}
    assert not net.roads.refresh(now=NOW)


def test_shared_prefix_is_nobodys_own(net: Net) -> None:
    """Two announce it: the tunnels share it, and their health is watched."""
    one, two = net.add("one", ROUTE), net.add("two", replace(ROUTE, weight=3))
    net.roads.refresh(now=NOW)
    (shared,) = net.tunnels.shared
    assert shared.prefix == LAN
    assert {(s.key, s.weight) for s in shared.forward} == {(one.key, 1), (two.key, 3)}
    assert LAN not in net.tunnels.peers[one.key].prefixes
    net.health.traffic_resumed(one.key, now=NOW)
    assert net.health.next_deadline() is not None


def test_who_is_gone_is_no_peer(net: Net) -> None:
    """Once removed it is not removed again: somebody else may have added it."""
    one = net.add("one")
    net.roads.refresh(now=NOW)
    net.office.revoke(net.office.issuing.revoke(one.key, "lost", wall=WALL))
    net.roads.refresh(now=NOW)
    net.roads.refresh(now=NOW)
    assert net.tunnels.removed == [one.key]
    net.roads.part(one.key, now=NOW)
    assert net.tunnels.removed == [one.key]


def test_parting_comes_before_the_routes(net: Net) -> None:
    """Who is revoked is cut off at once; the table follows."""
    one = net.add("one")
    net.roads.refresh(now=NOW)
    net.roads.part(one.key, now=NOW)
    assert net.tunnels.peers == {}


def test_meeting_comes_before_the_routes(net: Net) -> None:
    """A new member can shake hands; one that is there keeps what it owns."""
    one = net.add("one")
    member = net.office.membership.by_key(one.key)
    own = net.office.membership.by_key(net.office.founder.key)
    assert member is not None
    assert own is not None
    net.roads.meet(member, now=NOW)
    net.roads.meet(own, now=NOW)
    assert net.tunnels.peers == {one.key: TunnelPeer(one.key)}
    net.roads.refresh(now=NOW)
    net.roads.meet(member, now=NOW)
    assert net.tunnels.peers[one.key].prefixes == net.addresses(one)


def test_stock_member_is_a_peer_of_its_gateways_only(net: Net) -> None:
    """Of others it is an address of its gateway; it is never sought."""
    founder = net.office.founder
    phone = net.add_stock("phone", founder.key)
    net.roads.refresh(now=NOW)
    assert net.tunnels.peers == {
        phone.key: TunnelPeer(phone.key, net.addresses(phone), is_sought=False)
    }
    plan = net.roads.plan()
    assert plan is not None
    assert plan.forwards
    other = net.add("other")
    net.tunnels.peers.clear()
    roads = net.of(other.key)
    roads.refresh(now=NOW)
    assert set(net.tunnels.peers) == {founder.key}
    assert set(net.addresses(phone)) <= set(net.tunnels.peers[founder.key].prefixes)
    plan = roads.plan()
    assert plan is not None
    assert not plan.forwards


def test_plan_says_everything(net: Net) -> None:
    """Addresses with the network's own length, routes, and what is announced."""
    net.add("one", ROUTE)
    office = Prefix.parse("10.50.0.0/16")
    inside = Prefix.parse("10.9.200.0/24")
    net.roads.settings = replace(
        net.roads.settings,
        announced=(Announced(Prefix.parse("192.168.9.0/24")),),
        imported=(office, inside, LAN),
    )
    net.roads.refresh(now=NOW)
    plan = net.roads.plan()
    assert plan is not None
    ula = str(net.overlay[1]).partition("/")[0]
    assert plan.addresses[0] == "10.9.0.1/16"
    assert plan.addresses[1].startswith(ula.rstrip(":"))
    assert plan.addresses[1].endswith("/48")
    assert plan.routes == (LAN, office)
    assert plan.announced == net.roads.settings.announced
    assert plan.forwards
    assert plan.filter is None
    assert (plan.table, plan.fwmark, plan.mtu) == (10900, 0x6D6E, 1420)
    assert plan.larger is None


def test_plan_has_the_addresses_that_take_more(net: Net) -> None:
    """Of members that are proven to; not what is behind them."""
    one = net.add("one", ROUTE)
    net.add("two")
    net.roads.settings = replace(net.roads.settings, max_mtu=8920)
    net.sizes |= {one.key: 4000, bytes(32): 4000}
    net.roads.refresh(now=NOW)
    plan = net.roads.plan()
    assert plan is not None
    member = net.office.membership.by_key(one.key)
    assert member is not None
    assert plan.larger == Larger(8920, tuple((a, 4000) for a in member.addresses))
    assert (plan.mtu, plan.narrower) == (1420, ())


def test_plan_has_all_that_only_less_reaches(net: Net) -> None:
    """Members' addresses and what is behind them; of shared ones the narrowest way."""
    one = net.add("one", ROUTE)
    two = net.add("two", ROUTE)
    net.add("three")
    net.sizes |= {one.key: 1296, two.key: 1216, bytes(32): 1200}
    net.roads.refresh(now=NOW)
    plan = net.roads.plan()
    assert plan is not None
    found = dict(plan.narrower)
    members = [net.office.membership.by_key(host.key) for host in (one, two)]
    for member, size in zip(members, (1296, 1216), strict=True):
        assert member is not None
        assert [found.pop(address) for address in member.addresses] == [size, size]
    assert found == {LAN: 1216}
    assert (plan.larger, plan.mtu) == (None, 1420)
    assert LAN in plan.routes


def test_who_is_no_member_has_no_plan(net: Net) -> None:
    """Its host is left as it is."""
    assert net.of(bytes(32)).plan() is None


def test_policy_becomes_a_filter(net: Net) -> None:
    """None opens again."""
    text = 'default = "deny"\n[[rule]]\nfrom=["*"]\nto=["founder"]\nallow=["icmp"]\n'
    net.roads.use_policy(Policy(1, text))
    plan = net.roads.plan()
    assert plan is not None
    assert plan.filter is not None
    assert len(plan.filter.allows) == 1
    net.roads.use_policy(None)
    plan = net.roads.plan()
    assert plan is not None
    assert plan.filter is None


def test_policy_that_is_not_understood_never_opens(net: Net) -> None:
    """The one before stays; without one nothing is let in."""
    good = net.roads
    text = 'default = "deny"\n[[rule]]\nfrom=["*"]\nto=["founder"]\nallow=["icmp"]\n'
    good.use_policy(Policy(1, text))
    before = good.policy
    with pytest.raises(ConfigError):
        good.use_policy(Policy(2, "what = 'is this'"))
    assert good.policy == before
    fresh = net.of(net.office.founder.key)
    with pytest.raises(ConfigError):
        fresh.use_policy(Policy(2, "what = 'is this'"))
    assert not fresh.policy.is_open
    assert fresh.policy.rules == ()


def test_policy_is_checked_by_its_own_tests(net: Net) -> None:
    """Among the members there are."""
    net.add("one")
    rule = '[[rule]]\nfrom=["one"]\nto=["founder"]\nallow=["tcp:22"]\n'
    test = '[[test]]\nfrom=["one"]\nto=["founder"]\nallow=["tcp:{}"]\n'
    checked = net.roads.check_policy('default = "deny"\n' + rule + test.format(22))
    assert len(checked.rules) == 1
    with pytest.raises(ConfigError):
        net.roads.check_policy('default = "deny"\n' + rule + test.format(23))
