"""Stories of handshakes: the first, the lost, the crossed and the refused."""

from types import MethodType

import pytest

from meshnode.crypto.keys import PresharedKey
from meshnode.errors import DropReason
from meshnode.simulation import inside
from meshnode.simulation.invariants import Invariant, standard_invariants
from meshnode.simulation.invariants_bounds import ArmedTimers
from meshnode.simulation.links import Link
from meshnode.simulation.story import tell
from meshnode.simulation.trace import Mark
from meshnode.simulation.world import Unreached, World
from meshnode.wireguard.constants import (
    HANDSHAKE_QUEUE,
    MAX_HANDSHAKE_ATTEMPTS,
    MAX_STAGED_PACKETS,
    REKEY_ATTEMPT_TIME,
    REKEY_JITTER,
    REKEY_TIMEOUT,
)
from meshnode.wireguard.handshake import Handshake
from meshnode.wireguard.peer import Peer


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_packet_waits_for_one_handshake(make_pair, version):
    """A packet leaves after one round trip and its answer comes after two."""
    world = make_pair()
    number = world.hosts["a"].request("b", version=version)
    world.run(1)
    labels = [row.label for row in world.trace.rows if row.receiver]
    assert labels[:3] == ["initiation", "response", "data #0"], tell(world)
    assert world.hosts["b"].application.delivered[number] == pytest.approx(0.06)
    assert world.hosts["a"].application.answered[number] == pytest.approx(0.08)


def test_packets_staged_meanwhile_arrive_in_order(make_pair):
    """What was sent while the handshake ran is delivered in the order of sending."""
    world = make_pair()
    numbers = [world.hosts["a"].request("b") for _ in range(50)]
    world.run(1)
    assert list(world.hosts["b"].application.delivered)[:50] == numbers


def test_the_oldest_staged_packets_go_first(make_pair):
    """Beyond 128 waiting packets of one peer the oldest are dropped."""
    world = make_pair()
    numbers = [world.hosts["a"].request("b") for _ in range(MAX_STAGED_PACKETS + 30)]
    world.run(1)
    delivered = set(world.hosts["b"].application.delivered)
    assert delivered >= set(numbers[30:])
    assert not delivered & set(numbers[:30])


def test_a_lost_initiation_is_sent_again_after_five_seconds(make_pair):
    """The retransmission comes 5 s later, plus a random third of a second at most."""
    world = make_pair(link=Link(blackhole=True))
    world.hosts["a"].request("b")
    world.run(6)
    first, second = world.trace.moments("a", "b", "initiation")
    assert 0.0 <= second - first - REKEY_TIMEOUT < REKEY_JITTER, tell(world)


def test_retransmissions_of_two_seeds_differ(make_pair):
    """The delay is random, so that two peers do not stay in step."""
    gaps = set()
    for seed in range(5):
        world = make_pair(seed, link=Link(blackhole=True))
        world.hosts["a"].request("b")
        world.run(6)
        first, second = world.trace.moments("a", "b", "initiation")
        gaps.add(round(second - first, 6))
    assert len(gaps) == 5


def test_after_eighteen_retries_the_packets_are_given_up(make_pair):
    """Nineteen retries follow the first initiation; then the staged packets go."""
    world = make_pair(link=Link(blackhole=True))
    host = world.hosts["a"]
    host.request("b")
    world.run(300)
    sent = world.trace.moments("a", "b", "initiation")
    assert len(sent) == 2 + MAX_HANDSHAKE_ATTEMPTS, tell(world)
    assert sent[-1] - sent[0] >= REKEY_ATTEMPT_TIME
    assert world.trace.notes("a", "gave up")
    assert inside.staged(host.workers) == {}


def test_a_new_packet_starts_over_after_giving_up(make_pair):
    """Giving up ends nothing but the wait: the next packet begins a new cycle."""
    world = make_pair(link=Link(blackhole=True))
    host = world.hosts["a"]
    lost = host.request("b")
    world.run(200)
    world.network.heal(Link())
    number = host.request("b")
    world.run(1)
    assert number in host.application.answered, tell(world)
    assert lost not in host.application.answered


def test_a_packet_at_the_moment_of_giving_up_is_not_forgotten(make_pair):
    """A packet that comes just after the staged ones were dropped gets its cycle."""
    world = make_pair(link=Link(blackhole=True))
    host = world.hosts["a"]
    host.request("b")
    world.run_until(lambda: bool(world.trace.notes("a", "gave up")), within=200)
    world.network.heal(Link())
    number = host.request("b")
    world.run_until(lambda: number in host.application.answered, within=6)


@pytest.mark.parametrize("delay", [0.05, 0.4, 2.0])
@pytest.mark.parametrize("seed", range(20))
def test_two_that_begin_together_converge(make_pair, seed, delay):
    """Crossing initiations resolve within 30 s, whatever the delay of the path."""
    world = make_pair(seed, link=Link(latency=delay))
    numbers = {name: world.hosts[name].request(o) for name, o in ("ab", "ba")}
    world.run_until(
        lambda: all(
            number in world.hosts[name].application.answered
            for name, number in numbers.items()
        ),
        within=30.0,
        what="both requests are answered",
    )


def _rules_without_i9(world: World) -> list[Invariant]:
    return [r for r in standard_invariants(world) if not isinstance(r, ArmedTimers)]


def _send_initiation_as_elsewhere(self: Peer, now: float) -> bool:
    """Behave like the kernel: a refused initiation arms no timer."""
    armed = self._timers.retransmit_at
    sent = _ours(self, now)
    if not sent:
        self._timers.retransmit_at = armed
    return sent


_ours = Peer._send_initiation


def _answer_as_elsewhere(self: Handshake) -> Handshake:
    """Behave like the kernel: who answers an initiation gives up its own."""
    self.clear()
    return self


def _cross(seed: int, delay: float) -> World:
    world = World(seed, link=Link(latency=delay), rules=_rules_without_i9)
    world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    for one, other in ("ab", "ba"):
        world.hosts[one].request(other)
    world.run(60)
    return world


@pytest.fixture
def stock_rule(monkeypatch):
    """Return what makes peers treat crossings as other implementations do."""

    def apply():
        monkeypatch.setattr(Peer, "_send_initiation", _send_initiation_as_elsewhere)
        monkeypatch.setattr(Handshake, "another", _answer_as_elsewhere)

    return apply


def test_why_an_initiation_survives_another(stock_rule):
    """With the stock rule both sides of a crossing stall; with ours they do not."""
    ours = _cross(1, 0.4)
    stock_rule()
    stock = _cross(1, 0.4)
    both = f"--- stock rule ---\n{tell(stock)}\n--- ours ---\n{tell(ours)}"
    for name in "ab":
        assert not stock.hosts[name].application.answered, both
        assert len(ours.hosts[name].application.answered) == 1, both
    assert max(row.at for row in stock.trace.rows) < 10.0, both


@pytest.mark.parametrize("delay", [0.005, 0.05, 0.4, 2.0])
def test_a_crossing_costs_no_time(delay):
    """Both requests are answered after two round trips, as without a crossing."""
    world = _cross(1, delay)
    for name in "ab":
        (answered,) = world.hosts[name].application.answered.values()
        assert answered < 4 * delay + 0.1, tell(world)


@pytest.mark.parametrize("stock", ["a", "b"])
@pytest.mark.parametrize("delay", [0.05, 0.4, 2.0])
def test_one_side_of_ours_is_enough(make_pair, stock, delay):
    """With a stock peer, too, a crossing costs no time."""
    world = make_pair(link=Link(latency=delay), rules=_rules_without_i9)
    (peer,) = inside.peers(world.hosts[stock].control).values()
    peer._send_initiation = MethodType(_send_initiation_as_elsewhere, peer)
    peer._handshake.another = MethodType(_answer_as_elsewhere, peer._handshake)
    for one, other in ("ab", "ba"):
        world.hosts[one].request(other)
    world.run_until(
        lambda: all(host.application.answered for host in world.hosts.values()),
        within=30.0,
        what="both requests are answered",
    )


def test_a_stall_ends_with_new_traffic(stock_rule):
    """Elsewhere, too, a stalled pair recovers when something new is sent."""
    stock_rule()
    stock = _cross(1, 0.4)
    number = stock.hosts["a"].request("b")
    stock.run(10)
    assert number in stock.hosts["a"].application.answered, tell(stock)


def test_under_load_a_cookie_is_asked_for(make_pair):
    """The reply is a cookie; the next retransmission proves the address with it."""
    world = make_pair()
    world.hosts["b"].pretended_queue = HANDSHAKE_QUEUE // 8
    number = world.hosts["a"].request("b")
    world.run(10)
    labels = [row.label for row in world.trace.rows if row.receiver]
    assert labels[:5] == ["initiation", "cookie", "initiation", "response", "data #0"]
    cookie, again = (
        world.trace.moments("b", "a", "cookie")[0],
        world.trace.moments("a", "b", "initiation")[1],
    )
    assert again - cookie > 4.0, "a cookie is no reason to send at once\n" + tell(world)
    assert number in world.hosts["a"].application.answered


def test_a_response_must_prove_its_address_too(make_pair):
    """If the initiator is under load, the response is answered by a cookie."""
    world = make_pair()
    world.hosts["a"].pretended_queue = HANDSHAKE_QUEUE // 8
    number = world.hosts["a"].request("b")
    world.run(10)
    assert world.trace.moments("a", "b", "cookie"), tell(world)
    assert number in world.hosts["a"].application.answered, tell(world)


def test_one_below_the_threshold_is_no_load(make_pair):
    """A queue less than one eighth full asks nobody for a cookie."""
    world = make_pair()
    world.hosts["b"].pretended_queue = HANDSHAKE_QUEUE // 8 - 1
    world.hosts["a"].request("b")
    world.run(1)
    assert not world.trace.moments("b", "a", "cookie")


def test_a_peer_with_another_preshared_key_stays_out(make_pair):
    """Different preshared keys never become a session, however long it is tried."""
    world = make_pair(preshared_key=PresharedKey(bytes([7]) * 32))
    world.administrator.preshared_keys[frozenset("ab")] = PresharedKey(b"x" * 32)
    world.administrator.set_preshared_key("a", "b")
    world.hosts["a"].request("b")
    world.run(60)
    assert world.sessions == 0, tell(world)
    assert not world.hosts["b"].application.delivered
    drops = world.hosts["a"].engine.drop_counts()
    assert drops[DropReason.BAD_HANDSHAKE] > 5


def test_a_preshared_key_counts_from_the_next_handshake(make_pair):
    """A new key on both sides disturbs no session and is used for the next one."""
    world = make_pair()
    host = world.hosts["a"]
    host.request("b")
    world.run(1)
    world.administrator.preshared_keys[frozenset("ab")] = PresharedKey(b"x" * 32)
    world.administrator.set_preshared_key("a", "b")
    world.administrator.set_preshared_key("b", "a")
    before = world.sessions
    numbers = []
    for _ in range(140):
        numbers.append(host.request("b"))
        world.run(1)
    assert set(numbers) <= set(host.application.answered), tell(world)
    assert world.sessions == before + 2


def test_thirty_per_cent_loss_delays_but_does_not_prevent():
    """With 30 % loss a handshake completes within 90 s, in each of 200 seeds."""
    late = []
    for seed in range(200):
        world = World(seed, link=Link(loss=0.3))
        world.add_host("a")
        world.add_host("b")
        world.introduce("a", "b")
        world.hosts["a"].request("b")
        try:
            world.run_until(lambda world=world: world.sessions > 0, within=90.0)
        except Unreached:
            late.append(seed)
    assert not late, f"seeds {late}"


def test_a_response_that_comes_twice_is_used_once(make_pair):
    """Duplicates made by the network change nothing."""
    world = make_pair(link=Link(duplicate=1.0))
    number = world.hosts["a"].request("b")
    world.run(5)
    assert any(row.mark is Mark.DUPLICATE for row in world.trace.rows)
    assert world.sessions == 2, tell(world)
    assert number in world.hosts["a"].application.answered
