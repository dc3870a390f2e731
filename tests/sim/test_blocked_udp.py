"""A network that blocks UDP while members talk, and lets it through again."""

import pytest

from meshnode.simulation.grid_world import GridWorld
from meshnode.simulation.nat_kinds import BEHAVIOURS, NatKind

pytestmark = pytest.mark.slow

EVERY = 0.05
ON_TLS_WITHIN = 5.0
BACK_WITHIN = 30.0
A = "port-restricted-1"


class Talk:
    """A member sends requests to *other*; `answered_at` is when an answer came last."""

    def __init__(self, world: GridWorld, other: str) -> None:
        self.world, self.other = world, other
        self.answered_at = world.now
        self.longest = 0.0

    def go_on(self, seconds: float) -> None:
        """Talk; `longest` is the longest silence in that time."""
        answers = self.world.hosts[A].application.answered
        end, before = self.world.now + seconds, len(answers)
        self.answered_at, self.longest = self.world.now, 0.0
        while self.world.now < end:
            self.world.send(A, self.other)
            self.world.run(EVERY)
            if len(answers) > before:
                before, self.answered_at = len(answers), self.world.now
            self.longest = max(self.longest, self.world.now - self.answered_at)

    @property
    def is_on_tls(self) -> bool:
        """Whether the network of the one that asks is known to block UDP."""
        return self.world.homes[A].running.detours.is_blocked


@pytest.mark.parametrize("other", ["port-restricted-2", "open-1"])
def test_talk_goes_on_by_tls_and_returns_to_udp(other: str) -> None:
    """Both found without being told."""
    world = GridWorld(1, [NatKind.PORT_RESTRICTED, NatKind.OPEN])
    talk = Talk(world, other)
    talk.go_on(5.0)
    assert not talk.is_on_tls
    nat = world.network.nat(world.network.realm(A))
    assert nat is not None
    nat.behaviour = BEHAVIOURS[NatKind.BLOCKED]
    talk.go_on(15.0)
    assert talk.is_on_tls
    assert talk.longest < ON_TLS_WITHIN
    nat.behaviour = BEHAVIOURS[NatKind.PORT_RESTRICTED]
    talk.go_on(BACK_WITHIN)
    assert not talk.is_on_tls
    assert talk.longest < 1.0
    talk.go_on(3.0)
    assert talk.longest < 3 * EVERY
