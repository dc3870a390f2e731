"""The client of PCP and NAT-PMP, against a router that is written from the RFCs."""

import itertools
import random

import pytest

from meshnode.codec.natpmp import PORT
from meshnode.mesh.port_mapping import (
    ABSENT_PAUSE,
    CHANGE_PAUSE,
    CLOSE_TRIES,
    LIFETIME,
    NATPMP_TRIES,
    REBOOT_PAUSE,
    SHORT_PAUSE,
    PortMapping,
    Protocol,
)
from meshnode.types import Endpoint
from tests import routers
from tests.routers import FakeRouter, u16, u32

ROUTER = Endpoint("192.168.7.1", PORT)
NONCE = b"twelve bytes"
OUTSIDE = Endpoint("203.0.113.1", 51820)


class Link:
    """A mapping and a router; time goes from deadline to deadline."""

    def __init__(
        self,
        rng: random.Random,
        router: FakeRouter,
        *,
        client: str = "192.168.7.5",
        host: Endpoint = ROUTER,
    ) -> None:
        self.now = 1000.0
        self.router = router
        self.host = host
        self.is_cut = False
        self.sent: list[tuple[float, bytes]] = []
        self.mapping = PortMapping(
            host, client, port=51820, nonce=NONCE, entropy=rng.randbytes, now=self.now
        )

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            deadline = self.mapping.next_deadline()
            if deadline is None or deadline.at > until:
                break
            self.now = max(self.now, deadline.at)
            self.mapping.handle_deadline(now=self.now)
            self.flush()
        self.now = until

    def flush(self) -> None:
        """Carry requests to the router, and answers back."""
        for data in self.mapping.datagrams_to_send():
            self.sent.append((self.now, data))
            for answer in [] if self.is_cut else self.router.receive(data, self.now):
                self.mapping.receive_datagram(answer, self.host, now=self.now)

    def hear(self, data: bytes, source: Endpoint | None = None) -> None:
        """Let something arrive."""
        self.mapping.receive_datagram(data, source or self.host, now=self.now)

    def times(self) -> list[float]:
        """Return when requests were sent, from the beginning."""
        return [round(at - 1000.0, 3) for at, _ in self.sent]


@pytest.mark.parametrize("speaks", [("pcp", "nat-pmp"), ("nat-pmp",)])
def test_port_is_forwarded_at_once(rng: random.Random, speaks: tuple[str, ...]) -> None:
    """By PCP if the router knows it, else by NAT-PMP, without any waiting."""
    link = Link(rng, FakeRouter(speaks))
    link.run(0.0)
    assert link.mapping.external == OUTSIDE
    assert link.mapping.protocol.value == speaks[0]
    assert link.mapping.problem == ""
    assert link.router.mappings.keys() == {51820}
    assert u32(link.sent[-1][1], 8 if speaks[0] == "nat-pmp" else 4) == LIFETIME


def test_silent_pcp_falls_back(rng: random.Random) -> None:
    """After two requests: 3 s and 6 s, each ±10 %."""
    router = FakeRouter(("nat-pmp",))
    link = Link(rng, router)
    link.is_cut = True
    link.run(7.0)
    assert link.mapping.protocol is Protocol.PCP
    link.is_cut = False
    link.run(3.0)
    first, second, third, _ = link.times()
    assert first == 0.0
    assert 2.7 <= second <= 3.3
    assert 5.4 <= third - second <= 6.6
    assert link.mapping.external == OUTSIDE


def test_natpmp_is_repeated_as_the_rfc_says(rng: random.Random) -> None:
    """250 ms, doubled eight times; then the router is left alone for ten minutes."""
    link = Link(rng, FakeRouter(()))
    link.run(9.9 + 128.0)
    times = link.times()[2:]
    assert len(times) == NATPMP_TRIES
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.25 * 2**n for n in range(8)], abs=0.01)
    assert "no router answers" in link.mapping.problem
    count = len(link.sent)
    link.run(0.7 * ABSENT_PAUSE)
    assert len(link.sent) == count
    link.router.speaks = ("pcp",)
    link.run(0.6 * ABSENT_PAUSE)
    assert link.mapping.external == OUTSIDE


@pytest.mark.parametrize("speaks", [("pcp",), ("nat-pmp",)])
def test_mapping_is_renewed_at_half_of_what_was_granted(
    rng: random.Random, speaks: tuple[str, ...]
) -> None:
    """For ever; the outside port stays ours though we wished for another."""
    link = Link(rng, FakeRouter(speaks, longest=1000, shift=7))
    link.run(0.0)
    count = len(link.sent)
    link.run(499.0)
    assert len(link.sent) == count
    link.run(130.0)
    assert len(link.sent) > count
    for _ in range(40):
        link.run(300.0)
        assert link.mapping.external == Endpoint("203.0.113.1", 51827)
    assert link.router.mappings.keys() == {51827}


def test_mapping_ends_with_its_lifetime(rng: random.Random) -> None:
    """If nobody renews it; it is asked for all the while, and comes back."""
    link = Link(rng, FakeRouter(("pcp",), longest=1000))
    link.run(0.0)
    link.is_cut = True
    link.run(999.0)
    assert link.mapping.external == OUTSIDE
    link.run(1.0)
    assert link.mapping.external is None
    assert link.mapping.problem
    link.is_cut = False
    link.run(1200.0)
    assert link.mapping.external == OUTSIDE
    assert link.mapping.problem == ""


@pytest.mark.parametrize("speaks", [("pcp",), ("nat-pmp",)])
def test_router_that_began_anew_is_asked_soon(
    rng: random.Random, speaks: tuple[str, ...]
) -> None:
    """Its announcement shows it, and the mapping is there again within 5 s."""
    link = Link(rng, FakeRouter(speaks))
    link.run(0.0)
    link.run(100.0)
    link.router.restart(link.now)
    link.run(5.0)
    if speaks == ("pcp",):
        link.hear(routers.pcp_announcement(5))
    else:
        link.hear(routers.natpmp_address(5, "203.0.113.1"))
    assert link.router.mappings == {}
    link.run(REBOOT_PAUSE)
    assert link.router.mappings.keys() == {51820}
    count = len(link.sent)
    # The same again is no news.
    link.hear(routers.pcp_announcement(10))
    link.run(2 * REBOOT_PAUSE)
    assert len(link.sent) == count


def test_what_others_say_is_ignored(rng: random.Random) -> None:
    """Another source, another nonce, another port: nothing changes, nothing is sent."""
    link = Link(rng, FakeRouter(()))
    link.run(0.0)
    request = link.sent[0][1]
    good = routers.pcp_answer(request, epoch=1, lifetime=600)
    foreign = good[:24] + bytes(12) + good[36:]
    elsewhere = good[:40] + b"\0\1" + good[42:]
    for source in (
        Endpoint("192.168.7.2", PORT),
        Endpoint("192.168.7.1", 4000),
        Endpoint("192.168.7.1", PORT, 3),
    ):
        link.hear(good, source)
    for data in (foreign, elsewhere, b"", b"\0", good[:-1]):
        link.hear(data)
    assert link.mapping.external is None
    link.hear(good)
    assert link.mapping.external == Endpoint("203.0.113.1", 4000)
    # NAT-PMP is not what we speak with this router.
    link.hear(routers.natpmp_mapping(1, 51820, 9, 600))
    link.hear(routers.natpmp_mapping(1, 51820, 0, 0))
    assert link.mapping.external == Endpoint("203.0.113.1", 4000)


def test_natpmp_believes_only_what_it_asked(rng: random.Random) -> None:
    """There is no nonce: an answer out of turn or doubled changes nothing."""
    link = Link(rng, FakeRouter(("nat-pmp",)))
    link.run(0.0)
    link.hear(routers.natpmp_mapping(1000, 51820, 9, 600))
    link.hear(routers.natpmp_mapping(1000, 51820, 0, 0))
    assert link.mapping.external == OUTSIDE


@pytest.mark.parametrize(("result", "word"), [(8, "no resources"), (200, "error 200")])
def test_refusal_is_respected_and_said(
    rng: random.Random, result: int, word: str
) -> None:
    """For as long as the router says, within reason."""
    link = Link(rng, FakeRouter(("pcp",), refusal=result, refuse_for=300))
    link.run(0.0)
    assert word in link.mapping.problem
    link.run(200.0)
    assert len(link.sent) == 1
    link.router.refusal = 0
    link.run(200.0)
    assert link.mapping.external == OUTSIDE


@pytest.mark.parametrize("lifetime", [0, 2**32 - 1])
def test_absurd_refusals_are_bounded(rng: random.Random, lifetime: int) -> None:
    """No flood of requests, and no silence for a century."""
    link = Link(rng, FakeRouter(("pcp",), refusal=8, refuse_for=lifetime))
    link.run(3600.0)
    assert 4 <= len(link.sent) <= 2 + 3600 / (0.75 * SHORT_PAUSE)


@pytest.mark.parametrize("result", [2, 4])
def test_natpmp_refusals(rng: random.Random, result: int) -> None:
    """Out of resources passes soon, not authorised does not."""
    link = Link(rng, FakeRouter(("nat-pmp",), refusal=result))
    link.run(0.0)
    count = len(link.sent)
    assert link.mapping.problem.startswith("the router refuses")
    link.run(60.0)
    assert (len(link.sent) > count) is (result == 4)


def test_refused_renewal_does_not_end_a_mapping(rng: random.Random) -> None:
    """The router still forwards until the lifetime ends."""
    link = Link(rng, FakeRouter(("pcp",), longest=1000))
    link.run(0.0)
    link.router.refusal = 8
    link.run(900.0)
    assert link.mapping.external == OUTSIDE
    assert "no resources" in link.mapping.problem
    link.run(100.0)
    assert link.mapping.external is None


@pytest.mark.parametrize("speaks", [("pcp",), ("nat-pmp",)])
def test_router_without_an_outside_address_gives_nothing(
    rng: random.Random, speaks: tuple[str, ...]
) -> None:
    """Until it has one."""
    link = Link(rng, FakeRouter(speaks, host="0.0.0.0"))
    link.run(0.0)
    assert link.mapping.external is None
    assert "no outside address" in link.mapping.problem
    link.router.host = "203.0.113.1"
    link.run(2 * SHORT_PAUSE)
    assert link.mapping.external == OUTSIDE


def test_ipv6_is_let_through_by_pcp_alone(rng: random.Random) -> None:
    """Our own address, from a link-local router; nobody asks NAT-PMP for IPv6."""
    host = Endpoint("fe80::1", PORT, 2)
    link = Link(rng, FakeRouter(("pcp",)), client="2001:db8::5", host=host)
    link.run(0.0)
    assert link.mapping.external == Endpoint("2001:db8::5", 51820)
    silent = Link(rng, FakeRouter(("nat-pmp",)), client="2001:db8::5", host=host)
    silent.run(3600.0)
    assert silent.mapping.protocol is Protocol.PCP
    assert all(data[0] == 2 for _, data in silent.sent)
    assert len(silent.sent) < 20


@pytest.mark.parametrize("speaks", [("pcp",), ("nat-pmp",)])
def test_port_is_given_back(rng: random.Random, speaks: tuple[str, ...]) -> None:
    """Once the router says so there is nothing more to wait for."""
    link = Link(rng, FakeRouter(speaks))
    link.run(0.0)
    link.mapping.close(now=link.now)
    link.run(0.0)
    assert link.router.mappings == {}
    assert link.mapping.is_closed
    assert link.mapping.external is None
    assert link.mapping.next_deadline() is None


def test_goodbye_does_not_wait_for_ever(rng: random.Random) -> None:
    """Three requests to a router that is gone; none where nothing was asked for."""
    link = Link(rng, FakeRouter(("pcp",)))
    link.run(0.0)
    link.is_cut = True
    count = len(link.sent)
    link.mapping.close(now=link.now)
    link.run(5.0)
    assert len(link.sent) == count + CLOSE_TRIES
    assert link.mapping.is_closed
    refused = Link(rng, FakeRouter(("pcp",), refusal=2))
    refused.run(0.0)
    refused.mapping.close(now=refused.now)
    assert refused.mapping.is_closed


def test_answer_that_comes_after_the_goodbye(rng: random.Random) -> None:
    """It is of a mapping that the goodbye then ends."""
    link = Link(rng, FakeRouter(("pcp",)))
    link.is_cut = True
    link.run(0.0)
    answers = link.router.receive(link.sent[0][1], link.now)
    link.mapping.close(now=link.now)
    link.hear(answers[0])
    assert link.mapping.external is None
    link.is_cut = False
    link.run(0.0)
    assert link.router.mappings == {}
    assert link.mapping.is_closed


def test_another_network_is_asked_soon(rng: random.Random) -> None:
    """The same addresses may be those of another home; but no more than needed."""
    link = Link(rng, FakeRouter(("pcp",)))
    link.run(0.0)
    link.router.restart(link.now)
    for _ in range(50):
        link.mapping.network_changed(now=link.now)
        link.run(0.2)
    link.run(CHANGE_PAUSE)
    assert link.router.mappings.keys() == {51820}
    assert 2 <= len(link.sent) <= 3


def test_router_that_ends_the_mapping_is_asked_again(rng: random.Random) -> None:
    """An unasked answer of lifetime zero with our nonce is the router's decision."""
    link = Link(rng, FakeRouter(("pcp",)))
    link.run(0.0)
    link.router.mappings.clear()
    link.hear(routers.pcp_answer(link.sent[0][1], epoch=1000, lifetime=0))
    assert link.mapping.external is None
    link.run(2 * SHORT_PAUSE)
    assert link.mapping.external == OUTSIDE


def test_ports_of_requests(rng: random.Random) -> None:
    """The wish is our own port first, and what we have got later."""
    link = Link(rng, FakeRouter(("pcp",), shift=5))
    link.run(0.0)
    link.run(LIFETIME)
    assert [u16(data, 42) for _, data in link.sent] == [51820, 51825]
