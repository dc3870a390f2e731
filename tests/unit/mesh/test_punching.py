"""What an attempt sends, step by step; whole runs are in tests/sim/test_punching.py."""

import itertools
import random

import pytest

from meshnode.codec.messages import CallMe
from meshnode.codec.records import Endpoints, Mapping, NatHint
from meshnode.mesh.candidates import CandidateFilter
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_attempt import LASTS, How
from meshnode.mesh.punch_sockets import SearchSockets
from meshnode.mesh.punching import BACK_OFF, MAX_FOUND, Puncher, Where
from meshnode.types import Datagram, Endpoint, Path, Prefix, Source
from tests.unit.mesh.issuing_parts import FakeTunnels

OURS, KEY = bytes([9]) * 32, bytes([1]) * 32
HERE, THERE = Endpoint("203.0.113.9", 9), Endpoint("203.0.113.1", 1)
ELSEWHERE = Endpoint("203.0.113.1", 77)
OVERLAY = Prefix.parse("10.77.0.0/16")
HOPS = 3


class Bench:
    """Our puncher, and a member that says of itself what a test wants."""

    def __init__(self, rng: random.Random) -> None:
        self.now = 100.0
        self.tunnels = FakeTunnels()
        self.ours, self.theirs = Probes(rng.randbytes), Probes(rng.randbytes)
        self.theirs.know(OURS, self.ours.key)
        self.sent: list[Datagram] = []
        self.found: list[Path] = []
        self.heard: list[Path] = []
        self.nat = NatHint()
        self.record: Endpoints | None = Endpoints(KEY, 1, (THERE,), self.theirs.key)
        self.puncher = Puncher(
            tunnels=self.tunnels,
            probes=self.ours,
            sockets=SearchSockets(),
            send=lambda datagram, now: self.sent.append(datagram),
            where=lambda: Where((HERE,), HERE, self.nat),
            recount=lambda now: False,
            usable=CandidateFilter((OVERLAY,)).usable,
            opener_hops=lambda: HOPS,
            record_of=lambda key, now: self.record,
            on_found=lambda key, path, now: self.found.append(path),
            on_heard=lambda key, path, now: self.heard.append(path),
            entropy=rng.randbytes,
        )

    def drain(self) -> list[Datagram]:
        """Return and forget what was sent."""
        sent, self.sent = self.sent, []
        return sent

    def calls(self) -> list[CallMe]:
        """Return and forget the calls that were made."""
        calls = [message for _, message in self.tunnels.sent]
        self.tunnels.sent.clear()
        assert all(isinstance(call, CallMe) for call in calls)
        return [call for call in calls if isinstance(call, CallMe)]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while (deadline := self.puncher.next_deadline()) and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.puncher.handle_deadline(now=self.now)
        self.now = end

    def call(
        self,
        number: int = 7,
        *,
        is_answer: bool = False,
        opened: tuple[Endpoint, ...] = (),
    ) -> None:
        """Let the member call us, or answer."""
        call = CallMe(
            number, is_answer, self.theirs.key, (THERE,), THERE, NatHint(), opened
        )
        self.puncher.receive_call(KEY, call, now=self.now)

    def ping_from(self, remote: Endpoint, *, port: int = 0) -> None:
        """Let a ping of the member come from there."""
        _, ping = self.theirs.ping(OURS)
        self.take(self.ours.open(ping), remote, port)

    def pong_to(self, datagram: Datagram, remote: Endpoint | None = None) -> None:
        """Let the member answer a ping of ours, perhaps from elsewhere."""
        opened = self.theirs.open(datagram.data)
        pong = self.theirs.pong(OURS, opened.probe, HERE)
        self.take(self.ours.open(pong), remote or datagram.path.remote, 0)

    def take(self, opened: Opened, remote: Endpoint, port: int) -> None:
        """Bring a probe in."""
        path = Path(remote, Source("192.168.1.2", 0, port))
        self.puncher.receive_probe(opened, path, now=self.now)


@pytest.fixture
def bench(rng: random.Random) -> Bench:
    """A puncher that knows a record of KEY."""
    return Bench(rng)


def test_who_calls_opens_first_and_waits(bench: Bench) -> None:
    """Only openers leave until the member has answered; the call says to where."""
    bench.puncher.want(KEY, now=bench.now)
    bench.puncher.want(KEY, now=bench.now)
    [opener] = bench.drain()
    assert (opener.path.remote, opener.hops) == (THERE, HOPS)
    [call] = bench.calls()
    assert (call.is_answer, call.opened, call.seen) == (False, (THERE,), HERE)
    bench.run(0.6)
    assert all(datagram.hops == HOPS for datagram in bench.drain())
    again = bench.calls()
    assert {one.number for one in again} == {call.number}
    bench.call(call.number, is_answer=True)
    [ping] = bench.drain()
    assert (ping.path.remote, ping.hops) == (THERE, 0)
    bench.run(0.5)
    assert len(bench.drain()) == 3
    assert bench.calls() == []


def test_an_answer_to_nothing_is_ignored(bench: Bench) -> None:
    """As is one to another call."""
    bench.call(5, is_answer=True)
    assert bench.drain() == []
    bench.puncher.want(KEY, now=bench.now)
    [call] = bench.calls()
    bench.drain()
    bench.call(call.number ^ 1, is_answer=True)
    assert bench.drain() == []


def test_who_is_called_and_expected_pings_at_once(bench: Bench) -> None:
    """And answers; the same call again is answered again, no more."""
    bench.call(opened=(HERE,))
    assert [datagram.hops for datagram in bench.drain()] == [0]
    [answer] = bench.calls()
    assert (answer.number, answer.is_answer) == (7, True)
    bench.call(opened=(HERE,))
    assert bench.drain() == []
    assert len(bench.calls()) == 1


def test_who_is_perhaps_not_expected_opens_first(bench: Bench) -> None:
    """For a moment."""
    bench.call(opened=(ELSEWHERE,))
    assert [datagram.hops for datagram in bench.drain()] == [HOPS]
    bench.run(0.15)
    assert [datagram.hops for datagram in bench.drain()] == [0]


def test_a_round_trip_is_a_path_and_ends_the_attempt(bench: Bench) -> None:
    """On the endpoint and socket that were asked; others may still answer."""
    bench.call(opened=(HERE,))
    [ping] = bench.drain()
    bench.pong_to(ping, ELSEWHERE)
    assert bench.found == []
    bench.run(0.1)
    [second] = bench.drain()
    bench.pong_to(second)
    assert [path.remote for path in bench.found] == [THERE]
    bench.run(5.0)
    assert bench.drain() == []
    assert bench.puncher.next_deadline() is None
    [attempt] = bench.puncher.describe(KEY)
    assert (attempt.how, attempt.pings, attempt.milliseconds) == (How.TOLD, 2, 0.0)


def test_a_ping_from_elsewhere_is_answered_and_pinged_back(bench: Bench) -> None:
    """The pong goes to where the ping came from, by the socket that it came to."""
    bench.call(opened=(HERE,))
    bench.drain()
    bench.ping_from(ELSEWHERE, port=5000)
    pong, back = bench.drain()
    for datagram in (pong, back):
        assert datagram.path.remote == ELSEWHERE
        assert datagram.path.source == Source("192.168.1.2", 0, 5000)
    bench.ping_from(ELSEWHERE, port=5000)
    assert len(bench.drain()) == 1


def test_without_an_attempt_a_ping_is_only_answered(bench: Bench) -> None:
    """One for one."""
    bench.ours.know(KEY, bench.theirs.key)
    bench.ping_from(ELSEWHERE)
    assert len(bench.drain()) == 1
    assert bench.puncher.next_deadline() is None


def test_a_few_paths_are_reported(bench: Bench) -> None:
    """Not every one that answers."""
    bench.call(opened=(HERE,))
    bench.drain()
    pings = []
    for port in range(1000, 1010):
        bench.ping_from(Endpoint("203.0.113.1", port))
        pings.append(bench.drain()[1])
    for ping in pings:
        bench.pong_to(ping)
    assert len(bench.found) == MAX_FOUND


def test_failures_are_followed_by_longer_and_longer_pauses(bench: Bench) -> None:
    """10 s, 60 s, 10 min; an address of ours that is new ends them."""
    bench.puncher.want(KEY, now=bench.now)
    starts = []
    while bench.now < 2200:
        bench.run(1.0)
        if any(not call.is_answer for call in bench.calls()):
            starts.append(bench.now)
    firsts = [at for at in starts if at - 1 not in starts and at - 2 not in starts]
    gaps = [after - before for before, after in itertools.pairwise(firsts)]
    assert gaps[0] == pytest.approx(BACK_OFF[0] + 3, abs=2)
    assert gaps[1] == pytest.approx(BACK_OFF[1] + 3, abs=2)
    assert gaps[2] == pytest.approx(BACK_OFF[2] + 3, abs=2)
    bench.run(5.0)
    bench.calls()
    bench.puncher.try_again(now=bench.now)
    bench.run(0.0)
    assert len(bench.calls()) == 1


def test_who_is_wanted_no_more_is_left_alone(bench: Bench) -> None:
    """Nor is a member that is forgotten, who is not even opened."""
    bench.puncher.want(KEY, now=bench.now)
    bench.puncher.stop(KEY)
    bench.run(5.0)
    bench.calls()
    bench.run(2000.0)
    assert bench.calls() == []
    bench.puncher.forget(KEY)
    assert bench.puncher.describe(KEY) == ()
    assert not bench.ours.can_reach(KEY)


def test_without_a_record_only_the_call_is_sent(bench: Bench) -> None:
    """There is nowhere to open to."""
    bench.record = None
    bench.puncher.want(KEY, now=bench.now)
    assert bench.drain() == []
    [call] = bench.calls()
    assert call.opened == ()
    bench.record = Endpoints(KEY, 1, (THERE,), bench.theirs.key)
    bench.puncher.record_changed(KEY, now=bench.now)
    assert bench.ours.can_reach(KEY)


def test_who_repeats_its_record_is_not_sought_again_for_it(bench: Bench) -> None:
    """Only what is new in it gives hope; else a search would never rest."""
    bench.puncher.want(KEY, now=bench.now)
    bench.run(5.0)
    bench.calls()
    for _ in range(3):
        bench.puncher.record_changed(KEY, now=bench.now)
        bench.run(1.0)
    assert bench.calls() == []
    bench.record = Endpoints(KEY, 2, (THERE, HERE), bench.theirs.key)
    bench.puncher.record_changed(KEY, now=bench.now)
    bench.run(0.1)
    assert len(bench.calls()) == 1


def test_nothing_is_sent_to_where_it_could_do_harm(bench: Bench) -> None:
    """Neither into the tunnel nor to everybody on the link."""
    evil = (Endpoint("10.77.0.5", 1), Endpoint("255.255.255.255", 1))
    call = CallMe(7, False, bench.theirs.key, evil, evil[0], NatHint(), (HERE,))
    bench.puncher.receive_call(KEY, call, now=bench.now)
    bench.run(10.0)
    assert bench.drain() == []


def test_behind_a_nat64_every_ipv4_candidate_has_a_second_form(bench: Bench) -> None:
    """Made of the prefix that was learnt."""
    bench.puncher.set_nat64_prefix(bytes.fromhex("0064ff9b") + bytes(8))
    bench.puncher.want(KEY, now=bench.now)
    remotes = [datagram.path.remote for datagram in bench.drain()]
    assert remotes == [THERE, Endpoint("64:ff9b::cb00:7101", 1)]


def test_a_member_is_opened_to_before_there_is_a_session(bench: Bench) -> None:
    """It is called as soon as there is one, and the attempt goes on."""
    assert bench.puncher.open_early(KEY, now=bench.now) == 1
    assert bench.puncher.open_early(KEY, now=bench.now) is None
    [opener] = bench.drain()
    assert (opener.path.remote, opener.hops) == (THERE, HOPS)
    assert bench.calls() == []
    bench.run(0.05)
    bench.puncher.want(KEY, now=bench.now)
    [call] = bench.calls()
    assert (call.is_answer, call.opened) == (False, (THERE,))
    bench.call(call.number, is_answer=True)
    assert [datagram.hops for datagram in bench.drain()] == [0]


def test_opening_early_that_leads_to_nothing_is_no_failure(bench: Bench) -> None:
    """There was no session in time; the next one begins at once."""
    bench.puncher.open_early(KEY, now=bench.now)
    bench.run(LASTS + 0.1)
    bench.drain()
    bench.puncher.want(KEY, now=bench.now)
    assert bench.drain()
    assert bench.calls()


@pytest.mark.parametrize("whose", ["ours", "theirs", "unknown"])
def test_where_a_search_is_needed_nothing_is_opened_early(
    bench: Bench, whose: str
) -> None:
    """Nor without a record."""
    dependent = NatHint(Mapping.ENDPOINT_DEPENDENT)
    if whose == "ours":
        bench.nat = dependent
    elif whose == "theirs":
        bench.record = Endpoints(KEY, 1, (THERE,), bench.theirs.key, dependent)
    else:
        bench.record = None
    assert bench.puncher.open_early(KEY, now=bench.now) is None
    bench.puncher.receive_early(KEY, is_expected=True, now=bench.now)
    assert bench.drain() == [] or whose == "theirs"


@pytest.mark.parametrize("is_expected", [True, False])
def test_an_early_call_is_followed_by_probes(bench: Bench, is_expected: bool) -> None:
    """At full hops if the caller has opened to where we are, else a little later."""
    bench.puncher.receive_early(KEY, is_expected=is_expected, now=bench.now)
    [first] = bench.drain()
    assert first.hops == (0 if is_expected else HOPS)
    bench.puncher.receive_early(KEY, is_expected=is_expected, now=bench.now)
    assert bench.drain() == []
    bench.run(0.15)
    assert [datagram.hops for datagram in bench.drain()] == [0]
    bench.call(9)
    [answer] = bench.calls()
    assert (answer.is_answer, answer.number) == (True, 9)


def test_probes_that_come_are_told_of_while_an_attempt_goes_on(bench: Bench) -> None:
    """They may show a way back; of others nothing follows."""
    bench.puncher.record_changed(KEY, now=bench.now)
    bench.ping_from(ELSEWHERE)
    assert bench.heard == []
    bench.puncher.open_early(KEY, now=bench.now)
    bench.ping_from(ELSEWHERE)
    assert [path.remote for path in bench.heard] == [ELSEWHERE]


def test_who_probes_from_an_address_that_nobody_told_gets_no_more_than_it_sent(
    bench: Bench,
) -> None:
    """It may be a recorded probe, with the address of a victim."""
    bench.puncher.open_early(KEY, now=bench.now)
    bench.drain()
    stranger = Endpoint("203.0.113.77", 1)
    bench.ping_from(stranger)
    [pong] = bench.drain()
    assert pong.path.remote == stranger
    assert bench.heard == []
    assert all(one.endpoint != stranger for one in bench.puncher.describe(KEY))
