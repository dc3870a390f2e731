"""The rule about ciphers can fail: here hosts are sent what they did not ask for."""

from dataclasses import replace

import pytest

from meshnode.crypto.keys import PublicKey
from meshnode.mesh.ciphers import Ciphers
from meshnode.simulation.invariants import Violation
from meshnode.simulation.invariants_ciphers import AskedCiphers
from meshnode.simulation.mesh_invariants import mesh_invariants
from meshnode.simulation.mesh_world import FASTER, MeshWorld
from meshnode.types import Cipher
from tests.unit.dataplane.reference.halves import needs_aes

pytestmark = needs_aes
AES = Cipher.AES_256_GCM


def play(*, asking="ab"):
    """Return a mesh of two in which these ask for AES, after they talked."""
    world = MeshWorld(1, rules=lambda world: [AskedCiphers(world)])
    world.found("a", ciphers=FASTER if "a" in asking else ())
    world.prepare("b", ciphers=FASTER if "b" in asking else ())
    world.enlist("b")
    for _ in range(3):
        world.send("a", "b")
        world.run(1.0)
    return world


def test_who_asked_is_sent_it():
    """And no rule is broken."""
    world = play()
    for one, other in (("a", "b"), ("b", "a")):
        assert world.trace.moments(one, other, "AES data")


def test_who_did_not_ask_is_not(monkeypatch):
    """A node that takes its own word for the other's is found out."""

    def use(self, key, *, now):
        session_started(self, key, now=now)
        peer = self._tunnels._engine._configuration.by_key[PublicKey(key)]
        for pair in peer.keypairs.all():
            self._tunnels.use_cipher(key, pair.remote_index, AES, now=now)

    session_started = Ciphers.session_started
    monkeypatch.setattr(Ciphers, "session_started", use)
    with pytest.raises(Violation, match="did not ask for it"):
        play(asking="a")


def test_a_word_is_of_one_session(monkeypatch):
    """A node that takes it for all later ones is found out."""
    asked = {}

    def receive(self, key, message, *, now):
        asked[key] = message
        original(self, key, message, now=now)

    def started(self, key, *, now):
        session_started(self, key, now=now)
        peer = self._tunnels._engine._configuration.by_key[PublicKey(key)]
        for pair in peer.keypairs.all() if key in asked else ():
            self._tunnels.use_cipher(key, pair.remote_index, AES, now=now)

    original, session_started = Ciphers.receive, Ciphers.session_started
    monkeypatch.setattr(Ciphers, "receive", receive)
    monkeypatch.setattr(Ciphers, "session_started", started)
    world = play()
    world.hosts["b"].supervisor.crash()
    home = world.homes["b"]
    home.configure(replace(home.settings, ciphers=()))
    world.run(1.0)
    home.host.supervisor.switch_on()
    for moment in range(30):
        world.after(moment, lambda: world.send("a", "b"))
    with pytest.raises(Violation, match="did not ask for it"):
        world.run(30.0)


def test_the_rule_is_in_force():
    """In every world with a mesh."""
    rules = mesh_invariants(MeshWorld(1))
    assert any(isinstance(rule, AskedCiphers) for rule in rules)
