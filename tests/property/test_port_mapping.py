"""A port mapping over a link that loses, doubles and delays what it carries."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec.natpmp import PORT
from meshnode.mesh.port_mapping import PortMapping
from meshnode.types import Endpoint
from tests.routers import FakeRouter

ROUTER = Endpoint("192.168.7.1", PORT)
STEP = 1e-6


class BadLink:
    """Loses, doubles and delays datagrams of both directions, as *rng* draws."""

    def __init__(
        self, rng: random.Random, router: FakeRouter, loss: float, doubled: float
    ) -> None:
        self.rng = rng
        self.router = router
        self.loss, self.doubled = loss, doubled
        self.now = 0.0
        self.requests = 0
        self.wire: list[tuple[float, int, bool, bytes]] = []
        self.count = 0
        self.mapping = PortMapping(
            *(ROUTER, "192.168.7.5"),
            port=51820,
            nonce=b"twelve bytes",
            entropy=rng.randbytes,
            now=0.0,
        )

    def carry(self, data: bytes, to_router: bool) -> None:
        """Put a datagram on the wire, or not, or twice."""
        copies = 0 if self.rng.random() < self.loss else 1
        copies += self.rng.random() < self.doubled
        for _ in range(copies):
            self.count += 1
            at = self.now + self.rng.uniform(0.001, 0.2)
            heapq.heappush(self.wire, (at, self.count, to_router, data))

    def run(self, seconds: float) -> None:
        """Let time pass, and look at the mapping after every event."""
        until = self.now + seconds
        while True:
            deadline = self.mapping.next_deadline()
            wire_at = self.wire[0][0] if self.wire else until + 1
            due_at = until + 1 if deadline is None else max(deadline.at, self.now)
            if min(wire_at, due_at) > until:
                break
            if wire_at <= due_at:
                self.now, _, to_router, data = heapq.heappop(self.wire)
                if to_router:
                    for answer in self.router.receive(data, self.now):
                        self.carry(answer, to_router=False)
                else:
                    self.mapping.receive_datagram(data, ROUTER, now=self.now)
            else:
                self.now = due_at
                self.mapping.handle_deadline(now=self.now)
            for data in self.mapping.datagrams_to_send():
                self.requests += 1
                self.carry(data, to_router=True)
        self.now = until


@pytest.mark.parametrize("speaks", [("pcp", "nat-pmp"), ("pcp",), ("nat-pmp",)])
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.7),
    doubled=st.floats(0.0, 0.5),
    longest=st.integers(120, 7200),
)
def test_mapping_lives_through_a_bad_link(
    speaks: tuple[str, ...], seed: int, loss: float, doubled: float, longest: int
) -> None:
    """Once the link is good it is there; what we tell is then what the router does."""
    router = FakeRouter(speaks, longest=longest)
    link = BadLink(random.Random(seed), router, loss, doubled)
    link.run(3000.0)
    if seed % 2:
        router.restart(link.now)
    link.loss = 0.0
    # The longest wait is PCP's, 1,024 s and a tenth. Before it, what the other protocol
    # made may have to end.
    link.run(2400.0 + longest)
    external = link.mapping.external
    assert external is not None
    assert external.port in router.mappings
    assert router.mappings[external.port][2] > link.now
    assert link.requests < 3000
    link.mapping.close(now=link.now)
    link.run(5.0)
    assert link.mapping.is_closed
    assert not router.mappings


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), loss=st.floats(0.0, 1.0))
def test_mapping_is_not_told_of_after_its_end(seed: int, loss: float) -> None:
    """Nor does a router that is silent ever see a flood."""
    router = FakeRouter(("pcp",), longest=300)
    link = BadLink(random.Random(seed), router, loss, 0.1)
    for _ in range(200):
        link.run(20.0)
        external = link.mapping.external
        if external is not None:
            until = router.mappings[external.port][2]
            # The answer took 0.4 s at most to be heard.
            assert until + 0.5 > link.now
    assert link.requests < 400
