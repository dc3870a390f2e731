"""Relay channels, programmed by hand: two hosts that only a third one reaches."""

import pytest

from meshnode.channels import channel_of, endpoint_of
from meshnode.codec.channels import encode_header
from meshnode.errors import DropReason
from meshnode.simulation.links import Link
from meshnode.simulation.world import World
from meshnode.types import Path

LABELS = {11: 21, 12: 22}
"""What the relay calls the channels of a and of b."""


class Relayed:
    """The hosts a and b, and the relay r between them."""

    def __init__(self, seed, *, link=None, slowness=0.0):
        self.world = World(seed, link=link)
        for name in ("a", "r", "b"):
            self.world.add_host(name, slowness=slowness)
        self.world.introduce("a", "r", keepalive=10)
        self.world.introduce("b", "r", keepalive=10)
        self.world.introduce("a", "b")
        self.let_through = self.world.network.drop_if(
            lambda flight: {flight.sender, flight.receiver} == {"a", "b"}
        )
        self.a, self.r, self.b = (self.world.hosts[name] for name in "arb")
        self.open_ends()
        self.open_relay()
        for host in (self.a, self.b):
            self.carry(host)

    def open_ends(self):
        """Let a and b have a channel to each other, and use it."""
        for host, other, number in ((self.a, self.b, 11), (self.b, self.a, 12)):
            key, now = self.r.public_key, host.now
            host.engine.open_channel(number, key, LABELS[number], now=now)
            host.engine.set_path(other.public_key, Path(endpoint_of(number)), now=now)
            host.settle()

    def open_relay(self):
        """Let r forward between them."""
        ends = ((self.a, self.b, 21, 12), (self.b, self.a, 22, 11))
        for host, onward, number, label in ends:
            self.r.engine.open_channel(
                number,
                host.public_key,
                label,
                onward=onward.public_key,
                rate=10**6,
                now=self.r.now,
            )
        self.r.settle()

    def carry(self, host):
        """Send what control sends to a channel as its mesh would: to the relay."""
        original = host.send

        def send(data, path, *, hops=0):
            number = channel_of(path.remote)
            if number:
                data = encode_header(LABELS[number]) + data
                path = Path(self.r.endpoint)
            original(data, path, hops=hops)

        host.send = send

    def talk(self, within=30.0):
        """Let a ask b until it was answered."""
        numbers = []

        def is_answered():
            return any(number in self.b.application.delivered for number in numbers)

        deadline = self.world.now + within
        while not is_answered():
            assert self.world.now < deadline, "nothing comes through"
            numbers.append(self.a.request("b"))
            self.world.run(1)


@pytest.mark.parametrize("seed", range(3))
def test_two_hosts_speak_over_a_third(seed):
    """Handshake and data; the relay sees neither, and sends no more than came."""
    net = Relayed(seed)
    net.talk(within=3)
    numbers = [net.a.request("b") for _ in range(20)]
    net.world.run(1)
    assert all(number in net.b.application.delivered for number in numbers)
    assert all(number in net.a.application.answered for number in numbers)
    datagrams, octets = net.r.workers.open.relayed
    came = [row for row in net.world.trace.rows if row.label.startswith("relayed")]
    to_relay = [row for row in came if row.receiver == "r"]
    assert datagrams == len(to_relay) == len(came) / 2 >= 42
    assert octets > 0
    # Nobody has tried another way since, nor moved.
    assert net.a.engine.path_of(net.b.public_key) == Path(endpoint_of(11))
    assert net.b.engine.path_of(net.a.public_key) == Path(endpoint_of(12))


@pytest.mark.parametrize("seed", range(3))
def test_over_bad_links_everything_comes_once(seed):
    """Lost, doubled, late and damaged: the invariants look on."""
    link = Link(jitter=0.05, loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.05)
    net = Relayed(seed, link=link, slowness=0.01)
    for _ in range(15):
        net.talk()
        net.world.run(10)


@pytest.mark.parametrize("role", ["egress", "ingress"])
@pytest.mark.parametrize("name", ["a", "r", "b"])
def test_a_new_worker_is_told_of_the_channels(role, name):
    """By the control process that runs."""
    net = Relayed(7)
    net.talk()
    supervisor = net.world.hosts[name].supervisor
    supervisor.crash_worker(role)
    net.world.run(1)
    supervisor.start_worker(role)
    net.talk(within=60)


def test_a_relay_without_control_goes_on():
    """Until there is another, which must be told to open the channels again."""
    net = Relayed(8)
    net.talk()
    net.r.supervisor.crash_control()
    net.talk(within=3)
    net.r.supervisor.start_control()
    net.world.run(1)
    number = net.a.request("b")
    net.world.run(1)
    assert number not in net.b.application.delivered
    net.open_relay()
    net.talk(within=30)


def test_the_ends_speak_on_without_control():
    """And a new control process finds the session and the path, not the channel."""
    net = Relayed(9)
    net.talk()
    net.a.supervisor.crash_control()
    net.talk(within=3)
    net.a.supervisor.start_control()
    net.world.run(1)
    net.open_ends()
    net.talk(within=30)


def test_who_moved_is_relayed_again_once_the_relay_has_heard_it():
    """By the session with the relay: a channel is taken from there and nowhere else."""
    net = Relayed(10)
    net.talk()
    net.a.move()
    net.talk(within=30)


def test_a_standby_path_doubles_data_and_moves_nobody():
    """The direct way works again beside the channel; each packet arrives once."""
    net = Relayed(11)
    net.talk()
    net.let_through()
    key = net.b.public_key
    net.a.engine.set_standby(key, Path(net.b.endpoint), now=net.a.now)
    net.a.settle()
    before = len(net.world.trace.moments("a", "b", "data"))
    numbers = []
    for _ in range(5):
        numbers.append(net.a.request("b"))
        net.world.run(0.5)
    assert all(number in net.a.application.answered for number in numbers)
    assert len(net.world.trace.moments("a", "b", "data")) == before + 5
    assert net.b.engine.path_of(net.a.public_key) == Path(endpoint_of(12))
    assert net.b.workers.open.drops[DropReason.REPLAY] == 5
