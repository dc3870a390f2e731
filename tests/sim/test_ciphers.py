"""Which cipher two members come to use, whatever happens to their sessions."""

from dataclasses import replace

import pytest

from meshnode.codec.message_bytes import decode_message
from meshnode.codec.messages import Accepts
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Role
from meshnode.forwarding import SendControl
from meshnode.mesh.certifier import Subject
from meshnode.mesh.documents import create_stock_record
from meshnode.mesh.invites import Grant
from meshnode.simulation.invariants import Invariant
from meshnode.simulation.invariants_ciphers import AskedCiphers
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_invariants import mesh_invariants
from meshnode.simulation.mesh_scenario import MeshScenario
from meshnode.simulation.mesh_world import DAY, FASTER, MeshWorld
from meshnode.wireguard.config import DeviceChange, PeerChange
from tests.unit.dataplane.reference.halves import needs_aes

pytestmark = needs_aes


class Said(Invariant):
    """Notes who said which ciphers it takes, and how often."""

    def __init__(self, world):
        super().__init__(world)
        self.by = []

    def commanded(self, host, command):
        """Take note of control frames."""
        if not isinstance(command, SendControl):
            return
        if isinstance(decode_message(command.frame), Accepts):
            self.by.append((host.name, host.name_of_slot(command.slot)))


def mesh(*, rules=mesh_invariants, **ciphers):
    """Return a mesh of these members, the first of whom founds it, and what is said."""
    world = MeshWorld(7, link=Link(latency=0.02), rules=rules)
    said = Said(world)
    world.watch.add(said)
    first, *others = ciphers
    world.found(first, ciphers=ciphers[first])
    for name in others:
        world.prepare(name, ciphers=ciphers[name])
    if others:
        world.enlist(*others)
    world.run(5.0)
    return world, said


def talk(world, one, other, *, seconds=3):
    """Let two exchange packets; return what was used last, each way."""
    for _ in range(seconds):
        assert world.send(one, other) is not None
        world.run(1.0)
    used = []
    for sender, receiver in ((one, other), (other, one)):
        aes = world.trace.moments(sender, receiver, "AES data")
        plain = world.trace.moments(sender, receiver, "data")
        used.append(max(aes, default=-1.0) > max(plain, default=-1.0))
    return used


def add_stock(world, gateway, name):
    """Return a plain WireGuard host that is a member, and its address."""
    home = world.homes[gateway]
    phone = world.build_host(name)
    reply = home.running.office.issuing.issue(
        Subject(phone.public_key.raw, bytes(32), (home.key,)),
        Grant(name, (), (), Role.STOCK, 90 * DAY),
        now=home.host.now,
        wall=int(home.wall),
    )
    record = create_stock_record(certificate=reply.certificate, issuer=reply.issuer)
    home.running.publish(record, now=home.host.now, wall=home.wall)
    home.host.settle()
    phone.supervisor.switch_on()
    peer = PeerChange(
        home.host.public_key,
        endpoint=home.host.endpoint,
        allowed_ips=[(True, world.overlay[0])],
    )
    phone.configure(DeviceChange(private_key=phone.private_key, peers=[peer]))
    certificate = decode_certificate(parse_envelope(reply.certificate).body)
    return phone, certificate.ipv4


def answers(world, name):
    """Return how many answers the member has had."""
    return len(world.hosts[name].application.answered)


def test_two_that_prefer_it_use_it_and_no_other_does():
    """Both ways; who does not is not sent it, nor sends it."""
    world, said = mesh(a=FASTER, b=FASTER, c=())
    assert talk(world, "a", "b") == [True, True]
    for name in ("a", "b"):
        assert talk(world, name, "c") == [False, False]
        assert not world.trace.moments(name, "c", "AES")
        assert not world.trace.moments("c", name, "AES")
    assert all(name != "c" for name, _ in said.by)
    assert answers(world, "a") == 6


def test_it_is_said_once_a_session_and_side():
    """However much is sent: what idle members pay is one small frame."""
    world, said = mesh(a=FASTER, b=FASTER)
    talk(world, "a", "b", seconds=30)
    sessions = {
        name: len(world.trace.moments(name, other, "response"))
        for name, other in (("a", "b"), ("b", "a"))
    }
    for pair in (("a", "b"), ("b", "a")):
        assert 0 < said.by.count(pair) <= sum(sessions.values()) + 1


def test_every_session_is_asked_for_anew():
    """For ten minutes of traffic, no answer is missing and AES is always back."""
    world, said = mesh(a=FASTER, b=FASTER)
    for _ in range(600):
        world.send("a", "b")
        world.run(1.0)
    assert answers(world, "a") == 600
    assert talk(world, "a", "b") == [True, True]
    assert len(said.by) <= 2 * 10


def test_a_lost_word_costs_speed_until_the_next_session():
    """Nothing else."""
    world, _ = mesh(a=FASTER, b=FASTER)
    world.hosts["b"].supervisor.crash()
    world.hosts["b"].supervisor.switch_on()
    # Nothing else that is sent then has the length of one short word.
    admit = world.network.drop_if(
        lambda flight: flight.sender == "b" and len(flight.data) == 48
    )
    assert talk(world, "a", "b", seconds=20) == [False, True]
    admit()
    assert talk(world, "a", "b") == [False, True]
    talk(world, "a", "b", seconds=130)
    assert talk(world, "a", "b") == [True, True]


def test_who_restarts_with_other_settings_is_not_sent_what_it_asked_before():
    """Its new sessions begin with WireGuard's cipher, and stay with it."""
    world, _ = mesh(a=FASTER, b=FASTER)
    assert talk(world, "a", "b") == [True, True]
    home = world.homes["b"]
    home.host.supervisor.crash()
    home.configure(replace(home.settings, ciphers=()))
    home.host.supervisor.switch_on()
    world.run(20.0)
    before = answers(world, "a")
    assert talk(world, "a", "b", seconds=5) == [False, False]
    assert answers(world, "a") - before == 5


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_control_process_that_dies_changes_no_session(name):
    """The workers go on with what they were told."""
    world, _ = mesh(a=FASTER, b=FASTER)
    talk(world, "a", "b")
    world.hosts[name].supervisor.crash_control()
    assert talk(world, "a", "b") == [True, True]
    world.hosts[name].supervisor.start_control()
    world.run(5.0)
    assert talk(world, "a", "b") == [True, True]
    before = answers(world, "a")
    talk(world, "a", "b", seconds=150)
    assert answers(world, "a") - before == 150
    assert talk(world, "a", "b") == [True, True]


def test_a_stock_member_hears_nothing_of_it():
    """Its gateway prefers AES, and sends it WireGuard and no word besides."""
    # The mesh's own rules know of no gateways.
    world, said = mesh(rules=lambda world: [AskedCiphers(world)], a=FASTER, b=FASTER)
    phone, address = add_stock(world, "a", "phone")
    for _ in range(3):
        number = phone.application.request_between(
            address, world.address("a"), now=world.now
        )
        phone.settle()
        world.run(1.0)
        assert number in phone.application.answered
    assert talk(world, "a", "b") == [True, True]
    assert world.trace.moments("a", "phone", "data")
    assert not world.trace.moments("a", "phone", "AES")
    assert all(to != "phone" for _, to in said.by)


def test_random_meshes_come_to_use_it():
    """The lives that are played with all rules in force are not empty of it."""
    scenario = MeshScenario(3, nodes=(4, 5))
    scenario.world.trace.rows.clear()
    scenario.play()
    assert any(row.label.startswith("AES data") for row in scenario.world.trace.rows)
