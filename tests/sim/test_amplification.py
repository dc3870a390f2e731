"""Who forges sources gains nothing by a node: the meter over a long attack."""

from random import Random

from meshnode.simulation.attacker import Attacker
from meshnode.simulation.invariants_strangers import NoGain
from meshnode.simulation.mesh_world import MeshWorld

STRIKES = 800
EVERY = 0.05
BUSY = 1000
"""Handshakes that seem to wait: who is asked then answers by cookies."""


def test_no_port_amplifies():
    """Datagrams of all types, replayed and made up, from addresses of nobody."""
    world = MeshWorld(5)
    random = Random("5/attack")
    attacker = Attacker(world, random)
    world.watch.add(attacker)
    world.found("a")
    world.enlist("b", "c", "d")
    world.hosts["b"].pretended_queue = BUSY
    (meter,) = [each for each in world.watch.invariants if isinstance(each, NoGain)]

    def strike(left: int) -> None:
        one, other = random.sample(sorted(world.homes), 2)
        world.send(one, other)
        attacker.replay_as_stranger()
        attacker.strike()
        if left:
            world.after(EVERY, lambda: strike(left - 1))

    strike(STRIKES)
    world.run(STRIKES * EVERY + 30.0)
    assert meter.answers > 0, "nothing was answered: the meter measured nothing"
    assert meter.gain <= 1.0
