"""Keepalives that follow what a NAT was seen to keep: nodes behind simulated NATs."""

from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest

from meshnode.codec.records import Role
from meshnode.mesh.describe_paths import describe_netcheck
from meshnode.mesh.mapping_lifetime import SETTLE, USUAL
from meshnode.simulation.host import PORT
from meshnode.simulation.links import Link
from meshnode.simulation.mesh_world import MeshWorld
from meshnode.simulation.nat import Nat, Packet
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatBehaviour, NatKind
from meshnode.types import Endpoint

BOX, OUTSIDE, INSIDE = "box", "198.19.0.1", "192.168.1.2"
HUBS = ("r1", "r2", "r3")


class HomeWorld(MeshWorld):
    """Three relays, b that reaches a by relays alone, and a behind a NAT."""

    def __init__(
        self, behaviour: NatBehaviour, *, seed: int = 1, loss: float = 0.0
    ) -> None:
        super().__init__(seed, link=Link(latency=0.02), keep=400)
        self.nat = Nat(behaviour, OUTSIDE, Random("nat"))
        self.found(HUBS[0])
        self.enlist(*HUBS[1:], roles=Role.RENDEZVOUS | Role.RELAY)
        self.enlist("a", "b")
        self._go_behind()
        self.run(SETTLE / 2)
        for hub in HUBS:
            self.network.connect(hub, BOX, Link(latency=0.02, loss=loss))

    @property
    def keepalives(self) -> dict[str, int]:
        """What the tunnels of a were told: seconds, by who is a home."""
        peers = self.hosts["a"].engine.state().peers
        return {
            self.name_of(peer.public_key): peer.persistent_keepalive
            for peer in peers
            if peer.persistent_keepalive
        }

    def shut_seconds(self, seconds: int) -> int:
        """Return in how many of the next seconds the NAT would refuse a home."""
        seen = self.homes["a"].running.nat_view.seen
        assert seen is not None
        count = 0
        for _ in range(seconds):
            self.run(1.0)
            packets = [
                Packet(Endpoint(self.hosts[home].addresses[4], PORT), seen, b"offer")
                for home in self.keepalives
            ]
            assert packets
            nat = deepcopy(self.nat)  # what is asked here keeps no mapping
            count += any(
                not isinstance(nat.inbound(packet, now=self.now), Packet)
                for packet in packets
            )
        return count

    def _go_behind(self) -> None:
        network, host = self.network, self.hosts["a"]
        for address in host.addresses.values():
            network.take_address(address, "a")
        network.add_nat(BOX, self.nat)
        network.settle("a", BOX)
        network.give_address(INSIDE, "a")
        network.connect(BOX, "a", Link(latency=0.0))
        network.connect("b", BOX, Link(blackhole=True))
        host.addresses = {4: INSIDE}
        life = self.homes["a"].life
        assert life is not None
        life.follow_addresses()
        host.settle()


@pytest.mark.parametrize(
    ("kind", "expiry", "keepalive"),
    [
        (NatKind.PORT_RESTRICTED, 20, 16),
        (NatKind.PORT_RESTRICTED, 40, 25),
        (NatKind.PORT_RESTRICTED, 120, 85),
        (NatKind.SYMMETRIC, 40, 25),
    ],
)
def test_keepalives_follow_the_nat(
    kind: NatKind, expiry: float, keepalive: int
) -> None:
    """Both homes are told; what they send arrives at any time, offers of b too."""
    world = HomeWorld(replace(BEHAVIOURS[kind], expiry=expiry))
    assert set(world.keepalives.values()) == {USUAL}
    world.run(500.0)
    assert list(world.keepalives.values()) == [keepalive] * 2
    told = describe_netcheck(world.homes["a"].running, port=PORT)
    assert told["keepalive"] == keepalive
    assert told["nat"]["lifetime"]["atLeast"] < expiry
    assert world.hosts["a"].ports == set()
    if kind is NatKind.PORT_RESTRICTED:
        assert world.shut_seconds(400) == 0
    before = len(world.hosts["b"].application.answered)
    assert world.send("b", "a") is not None
    world.run_until(
        lambda: len(world.hosts["b"].application.answered) > before,
        within=1.0,
        what="a answers b",
    )


@pytest.mark.parametrize("hairpin", [True, False])
@pytest.mark.parametrize("kind", [NatKind.FULL_CONE, NatKind.MASQUERADE])
def test_it_is_found_whether_a_nat_hairpins(kind: NatKind, *, hairpin: bool) -> None:
    """Soon: it is the first that is learnt."""
    world = HomeWorld(replace(BEHAVIOURS[kind], hairpin=hairpin))
    node = world.homes["a"].running
    assert describe_netcheck(node, port=PORT)["nat"]["hairpin"] is None
    world.run(SETTLE + 5.0)
    assert describe_netcheck(node, port=PORT)["nat"]["hairpin"] is hairpin


@pytest.mark.parametrize(
    ("kind", "whom"),
    [
        (NatKind.FULL_CONE, "anybody"),
        (NatKind.ADDRESS_RESTRICTED, "whom was sent to"),
        (NatKind.MASQUERADE, "whom was sent to"),
    ],
)
def test_it_is_found_whom_a_nat_lets_in(kind: NatKind, whom: str) -> None:
    """Another relay is the stranger."""
    world = HomeWorld(BEHAVIOURS[kind])
    world.run(SETTLE + 5.0)
    told = describe_netcheck(world.homes["a"].running, port=PORT)
    assert told["nat"]["letsIn"] == whom


@pytest.mark.parametrize("seed", [1, 2])
def test_loss_does_not_shorten_keepalives(seed: int) -> None:
    """Nor lengthen them: with 5 % of the datagrams to us lost."""
    world = HomeWorld(
        replace(BEHAVIOURS[NatKind.PORT_RESTRICTED], expiry=40), seed=seed, loss=0.05
    )
    world.run(900.0)
    assert set(world.keepalives.values()) == {25}
    assert world.homes["a"].running.lifetime.lived == 28.0


def test_who_is_in_the_open_measures_nothing() -> None:
    """It has no NAT."""
    world = HomeWorld(BEHAVIOURS[NatKind.MASQUERADE])
    life = world.homes["b"].running.lifetime
    world.run(300.0)
    assert (life.lived, life.died, life.hairpin) == (0.0, None, None)
    assert life.next_deadline() is None
