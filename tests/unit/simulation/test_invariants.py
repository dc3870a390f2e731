"""Each invariant must be able to fail: here its rule is broken on purpose."""

import pytest

from meshnode.dataplane import table
from meshnode.dataplane.gate import HandshakeGate
from meshnode.dataplane.reference import seal
from meshnode.dataplane.reference.open import OpenHalf
from meshnode.dataplane.reference.seal import SealHalf
from meshnode.forwarding import SetEndpoint, UseSession
from meshnode.simulation import control
from meshnode.simulation.attacker import Attacker
from meshnode.simulation.invariants import (
    Invariant,
    Violation,
    Watch,
    standard_invariants,
)
from meshnode.simulation.invariants_bounds import ArmedTimers, Bounds
from meshnode.simulation.invariants_keys import (
    CountersRise,
    KeyLifetime,
    NoEarlySending,
)
from meshnode.simulation.invariants_traffic import (
    DeliveredOnce,
    EndpointsAuthenticated,
    NoAmplification,
    NothingForged,
)
from meshnode.simulation.links import Link
from meshnode.simulation.world import Unreached, World
from meshnode.types import Endpoint, Path, Source
from meshnode.wireguard import peer as peer_module
from meshnode.wireguard.cookie import CookieChecker
from meshnode.wireguard.engine import Engine
from meshnode.wireguard.handshake import Handshake
from meshnode.wireguard.indices import IndexTable
from meshnode.wireguard.peer import Peer
from meshnode.wireguard.replay import ReplayWindow
from meshnode.wireguard.timers import Timers

NOBODY = Endpoint("203.0.113.9", 4242)


def pair(rule=None, *, link=None):
    """Return a world of two hosts that a single rule, or every rule, looks at."""
    rules = standard_invariants if rule is None else lambda world: [rule(world)]
    world = World(1, link=link, rules=rules)
    world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    return world


def repeat(count, *steps):
    """Take the steps in turn, that often."""
    for _ in range(count):
        for step in steps:
            step()


def play(world):
    """Let both hosts talk for a while, beyond a change of sessions."""
    repeat(70, lambda: world.hosts["a"].request("b"), lambda: world.run(2))


def test_nothing_fails_when_nothing_is_broken():
    """The story the mutants below are played in is legal."""
    play(pair())


def test_i1_catches_a_counter_used_again(monkeypatch):
    """A session whose counter does not move."""
    original = SealHalf.bursts_to_send

    def stand_still(self):
        bursts = original(self)
        for session in self._table.sessions.values():
            session.counter = 0
        return bursts

    monkeypatch.setattr(SealHalf, "bursts_to_send", stand_still)
    with pytest.raises(Violation, match=r"I1: .*\n.*counter 0 after"):
        play(pair(CountersRise))


def test_i1_catches_an_ephemeral_used_again(monkeypatch):
    """A handshake that draws no new key."""
    original = Handshake.create_initiation

    def reuse(self, *, local_index, ephemeral, timestamp):
        return original(
            self, local_index=local_index, ephemeral=b"e" * 32, timestamp=timestamp
        )

    monkeypatch.setattr(Handshake, "create_initiation", reuse)
    with pytest.raises(Violation, match=r"I1: .*\n.*ephemeral"):
        play(pair(CountersRise))


def test_i2_catches_a_replay_window_that_takes_everything(monkeypatch):
    """Duplicates made by the network reach the host twice."""
    monkeypatch.setattr(ReplayWindow, "is_fresh", lambda self, counter: True)
    monkeypatch.setattr(ReplayWindow, "accept", lambda self, counter: True)
    with pytest.raises(Violation, match=r"I2: .*\n.*delivered twice"):
        play(pair(DeliveredOnce, link=Link(duplicate=1.0)))
    with pytest.raises(Violation, match=r"I2: .*\n.*accepted data #\d+ of . twice"):
        play(pair(NothingForged, link=Link(duplicate=1.0)))


def test_i2_catches_a_missing_check_of_the_source(monkeypatch):
    """A peer speaks with the address of a third."""
    monkeypatch.setattr(
        OpenHalf, "_deliver", lambda self, packet, *more: self._packets.append(packet)
    )
    world = pair(DeliveredOnce)
    with pytest.raises(Violation, match=r"I2: .*\n.*a got through with the source"):
        repeat(
            3,
            lambda: world.hosts["a"].request("b", claim="b", size=112),
            lambda: world.run(1),
        )


def test_i2_catches_a_packet_delivered_with_its_padding(monkeypatch):
    """What comes out must be as long as it says."""
    monkeypatch.setattr(
        OpenHalf, "_deliver", lambda self, packet, *more: self._packets.append(packet)
    )
    with pytest.raises(Violation, match="malformed"):
        play(pair(DeliveredOnce))


def test_i2_catches_a_timestamp_that_is_not_compared(monkeypatch):
    """An initiation is accepted again when it is replayed."""
    original = Peer.receive_initiation

    def forgetful(self, *args, **kwargs):
        self.latest_timestamp = bytes(12)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Peer, "receive_initiation", forgetful)
    world = pair(NothingForged)
    attacker = Attacker(world, world.random)
    world.watch.add(attacker)
    with pytest.raises(Violation, match=r"I2: .*\n.*accepted initiation of a twice"):
        play_with(attacker.replay, world)


def play_with(attack, world):
    """Let both hosts talk while somebody attacks."""
    repeat(200, lambda: world.hosts["a"].request("b"), lambda: world.run(1), attack)


def test_i3_catches_an_endpoint_taken_from_a_cookie_reply(monkeypatch):
    """A cookie reply proves nothing about where its sender is."""
    original = Engine._receive_cookie

    def follow(self, reply, now):
        original(self, reply, now)
        for peer in self._peers():
            peer.dialler.set_path(Path(NOBODY, Source("198.18.0.1")), now=now)

    monkeypatch.setattr(Engine, "_receive_cookie", follow)
    world = pair(EndpointsAuthenticated)
    world.hosts["b"].pretended_queue = 1000
    with pytest.raises(Violation, match=r"I3: .*\n.*never spoke from"):
        play(world)


def test_i3_catches_an_endpoint_taken_before_authentication(monkeypatch):
    """Ingress that believes every source makes control believe it too."""
    original = OpenHalf.receive

    def believe(self, data, path, *, now):
        for slot in self._table.peers:
            self._moved[slot] = path
        original(self, data, path, now=now)

    monkeypatch.setattr(OpenHalf, "receive", believe)
    world = pair(EndpointsAuthenticated)
    attacker = Attacker(world, world.random)
    world.watch.add(attacker)
    with pytest.raises(Violation, match=r"I3: .*\n.*never spoke from"):
        play_with(attacker.send_garbage, world)


def test_i4_catches_amplification(monkeypatch):
    """Three cookie replies for one initiation are too much."""
    original = Engine._admit

    def generous(self, message, data, path, checker, now):
        for _ in range(3):
            reply = checker.create_reply(data, path.remote, nonce=b"n" * 24, now=now)
            self._shared.send(reply.serialise(), path, now=now)
        original(self, message, data, path, checker, now)

    monkeypatch.setattr(Engine, "_admit", generous)
    world = pair(NoAmplification)
    attacker = Attacker(world, world.random)
    with pytest.raises(Violation, match=r"I4: .*\n.*192 bytes out for"):
        repeat(20, attacker.forge_initiation)


def test_i4_catches_an_answer_to_a_bad_mac1(monkeypatch):
    """Silence is all that a stranger may get."""
    monkeypatch.setattr(HandshakeGate, "_refuse", lambda self, message, kind: None)
    monkeypatch.setattr(CookieChecker, "has_valid_mac1", lambda self, data: True)
    world = pair(NoAmplification)
    for host in world.hosts.values():
        host.pretended_queue = 1000
    stranger = bytes.fromhex("01000000") + bytes(144)
    with pytest.raises(Violation, match=r"I4: .*\n.*without a valid mac1"):
        world.inject(stranger, source=NOBODY, to=world.hosts["b"].endpoint)


def test_i5_catches_a_responder_that_sends_early(monkeypatch):
    """The new key is used before its first packet came."""
    original = Peer._send_response

    def hasty(self, handshake, now):
        original(self, handshake, now)
        waiting = self.keypairs.next
        self._shared.command(UseSession(self.slot, waiting.local_index), now=now)

    monkeypatch.setattr(Peer, "_send_response", hasty)
    world = pair(NoEarlySending)
    with pytest.raises(Violation, match=r"I5: .*\n.*unconfirmed key"):
        repeat(
            70,
            lambda: world.hosts["a"].request("b"),
            lambda: world.hosts["b"].request("a"),
            lambda: world.run(2),
        )


def test_i6_catches_data_sent_under_an_old_key(monkeypatch):
    """Without the limit of 180 s a session is used for ever."""
    monkeypatch.setattr(table, "REJECT_AFTER_TIME", 1e9)
    world = pair(KeyLifetime)
    world.hosts["a"].request("b")
    world.run(181)
    world.hosts["b"].application.echoes = False
    with pytest.raises(Violation, match=r"I6: .*\n.*sent under a key of 18"):
        world.hosts["b"].request("a")


def test_i6_catches_data_accepted_under_an_old_key(monkeypatch):
    """A packet that was under way when the key died."""
    monkeypatch.setattr(table, "REJECT_AFTER_TIME", 1e9)
    world = pair(KeyLifetime)
    world.hosts["a"].request("b")
    world.run(179.9)
    world.network.default = Link(latency=1.0)
    world.hosts["b"].request("a")
    with pytest.raises(Violation, match=r"I6: .*\n.*accepted under a key of 18"):
        world.run(2)


def test_i6_catches_keys_that_stay(monkeypatch):
    """Without the 540 s timer the workers keep keys of an idle peer."""
    monkeypatch.setattr(peer_module, "ZERO_KEYS_AFTER", 1e9)
    world = pair(KeyLifetime)
    world.hosts["a"].request("b")
    world.run(530)
    world.hosts["a"].set_link(up=True)
    with pytest.raises(Violation, match=r"I6: .*\n.*slot 0 has keys, 54"):
        repeat(20, lambda: world.run(1), world.hosts["a"].settle)


def test_i9_catches_a_retransmission_that_is_not_armed_again(monkeypatch):
    """The stock rule: a refused initiation leaves staged packets without a timer."""
    original = Peer._send_initiation

    def refuse_for_good(self, now):
        armed = self._timers.retransmit_at
        sent = original(self, now)
        if not sent:
            self._timers.retransmit_at = armed
        return sent

    def give_up_our_own(self):
        self.clear()
        return self

    monkeypatch.setattr(Peer, "_send_initiation", refuse_for_good)
    monkeypatch.setattr(Handshake, "another", give_up_our_own)
    world = pair(ArmedTimers, link=Link(latency=0.4))
    for one, other in ("ab", "ba"):
        world.hosts[one].request(other)
    with pytest.raises(Violation, match=r"I9: .*\n.*1 packets wait for"):
        world.run(60)


def test_i10_catches_a_staged_queue_without_a_bound(monkeypatch):
    """More than 128 packets wait."""
    monkeypatch.setattr(seal, "MAX_STAGED_PACKETS", 10**6)
    world = pair(Bounds, link=Link(blackhole=True))
    with pytest.raises(Violation, match=r"I10: .*\n.*staged packets"):
        repeat(200, lambda: world.hosts["a"].request("b"))


def test_i10_catches_indices_that_are_never_freed(monkeypatch):
    """Each retransmission takes another index."""
    monkeypatch.setattr(IndexTable, "release", lambda self, index: None)
    world = pair(Bounds, link=Link(blackhole=True))
    world.hosts["a"].request("b")
    with pytest.raises(Violation, match=r"I10: .*\n.*indices"):
        world.run(60)


def test_i10_catches_an_inbox_without_a_bound(monkeypatch):
    """A slow control process under a flood."""
    monkeypatch.setattr(control, "HANDSHAKE_QUEUE", 10**6)
    monkeypatch.setattr(
        HandshakeGate, "admit", lambda self, data, host, port, *, now: None
    )
    world = pair(Bounds)
    world.hosts["b"].handshake_cost = 1.0
    attacker = Attacker(world, world.random)
    with pytest.raises(Violation, match=r"I10: .*\n.*handshake queue"):
        repeat(30, attacker.flood)


def test_a_host_that_spins_is_found(monkeypatch):
    """A timer that is never concluded makes time stand still."""
    monkeypatch.setattr(Timers, "_conclude", lambda self, timer, traffic, now: None)
    world = pair()
    world.hosts["a"].request("b")
    with pytest.raises(Unreached, match="time stands still"):
        world.run(600)


def test_a_violation_tells_the_whole_story():
    """Rule, host, seed, time, deadlines and packets are in the text."""
    world = pair()
    world.hosts["a"].request("b")
    world.run(1)
    with pytest.raises(Violation) as caught:
        world.watch.invariants[0].fail(world.hosts["b"], "something")
    text = str(caught.value)
    for part in ("I1", "b: something", "seed 1", "next deadline", "initiation"):
        assert part in text


class Listener(Invariant):
    """Counts what it hears."""

    def __init__(self, world):
        super().__init__(world)
        self.heard = []

    def commanded(self, host, command):
        """Keep the commands."""
        self.heard.append(command)


def test_a_listener_can_be_added_later():
    """Only the hooks it overrides are called."""
    world = pair()
    listener = Listener(world)
    world.watch.add(listener)
    world.administrator.tell_endpoint("a", "b")
    world.hosts["b"].move()
    world.administrator.tell_endpoint("a", "b")
    assert [type(command) for command in listener.heard] == [SetEndpoint]


def test_a_hook_that_nobody_overrides_is_not_called():
    """The base class costs nothing."""
    world = pair()
    watch = Watch([Invariant(world)])
    assert all(not hooks for hooks in watch._hooks.values())
