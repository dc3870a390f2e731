"""Members on one link find each other; strangers learn and change nothing."""

import random

import pytest

from meshnode.codec.lan import ANNOUNCEMENT_SIZE
from meshnode.mesh.lan_discovery import (
    ANNOUNCE_EVERY,
    ANSWER_EVERY,
    FOUND_FOR,
    GROUP4,
    GROUP6,
    MAX_LINKS,
    MAX_PLACES,
    OPENED_BURST,
    LanDiscovery,
)
from meshnode.types import Datagram, Endpoint, Path, Source

DAY = 86400
WALL = 20000.0 * DAY + 5000
NETWORK = bytes(range(16))
SPEAKER = 40000


class Station:
    """One member on the link with index 2; its clock may be wrong."""

    def __init__(
        self, lan: "Lan", number: int, *, network: bytes = NETWORK, behind: float = 0.0
    ) -> None:
        self.lan = lan
        self.key = bytes([number]) * 32
        self.host = f"192.168.7.{number}"
        self.behind = behind
        self.members = {bytes([n]) * 32 for n in range(1, 250)}
        self.found: dict[bytes, tuple[Endpoint, ...]] = {}
        self.discovery = LanDiscovery(
            network_id=network,
            key=self.key,
            port=51820,
            is_member=self.members.__contains__,
            entropy=lan.rng.randbytes,
        )
        lan.stations.append(self)

    @property
    def wall(self) -> float:
        """What its clock shows."""
        return WALL + self.lan.now - self.behind

    def begin(self) -> None:
        """Be on the link."""
        self.discovery.set_links((Source(self.host, 2),), now=self.lan.now)

    def hear(self, data: bytes, host: str, *, port: int = SPEAKER) -> None:
        """Take a datagram from a host of the link."""
        path = Path(Endpoint(host, port), Source(self.host, 2))
        self.discovery.receive_datagram(data, path, now=self.lan.now, wall=self.wall)
        self.found |= dict(self.discovery.changes())


class Lan:
    """A segment that carries multicast."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 100.0
        self.stations: list[Station] = []
        self.carried: list[tuple[str, Datagram]] = []

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while True:
            deadlines = [s.discovery.next_deadline() for s in self.stations]
            at = min((d.at for d in deadlines if d is not None), default=until + 1)
            self.now = max(self.now, min(at, until))
            for station in self.stations:
                station.discovery.handle_deadline(now=self.now, wall=station.wall)
                station.found |= dict(station.discovery.changes())
            self.flush()
            if at > until:
                return

    def flush(self) -> None:
        """Carry what all have to say."""
        while True:
            pending = [
                (station.host, datagram)
                for station in self.stations
                for datagram in station.discovery.datagrams_to_send()
            ]
            if not pending:
                return
            self.carried += pending
            for host, datagram in pending:
                for station in self.stations:
                    if datagram.path.remote in (
                        GROUP4,
                        Endpoint(station.host, SPEAKER),
                    ):
                        station.hear(datagram.data, host)

    def questions(self) -> list[Datagram]:
        """Return what was said to all."""
        return [d for _, d in self.carried if d.path.remote == GROUP4]

    def answers(self) -> list[Datagram]:
        """Return what was said to one."""
        return [d for _, d in self.carried if d.path.remote != GROUP4]


@pytest.fixture
def lan(rng: random.Random) -> Lan:
    """A segment with nobody in it."""
    return Lan(rng)


def place(station: Station) -> Endpoint:
    """Return where others should find it."""
    return Endpoint(station.host, 51820)


def test_who_comes_finds_who_is_there(lan: Lan) -> None:
    """At once and in both directions: by a question, and answers to it."""
    first, second = Station(lan, 1), Station(lan, 2)
    first.begin()
    lan.run(30.0)
    second.begin()
    lan.run(0.0)
    assert first.found == {second.key: (place(second),)}
    assert second.found == {first.key: (place(first),)}


def test_everything_said_has_one_length(lan: Lan) -> None:
    """So an answer amplifies nothing; and no two of them look alike."""
    for number in (1, 2, 3):
        Station(lan, number).begin()
    lan.run(300.0)
    assert lan.answers()
    assert {len(d.data) for _, d in lan.carried} == {ANNOUNCEMENT_SIZE}
    assert len({d.data[3:] for _, d in lan.carried}) == len(lan.carried)


def test_announcements_are_few(lan: Lan) -> None:
    """Three at the start, then one a minute ± 25 %; answers to new questions only."""
    Station(lan, 1).begin()
    lan.run(3.0)
    assert len(lan.questions()) == 3
    lan.run(20 * ANNOUNCE_EVERY)
    assert 16 <= len(lan.questions()) - 3 <= 27
    lan.stations[0].discovery.set_links((), now=lan.now)
    assert lan.stations[0].discovery.next_deadline() is None


def test_nothing_in_clear_tells_who_we_are(lan: Lan) -> None:
    """Neither network nor key; the day is no secret."""
    station = Station(lan, 1)
    station.begin()
    lan.run(0.0)
    (datagram,) = lan.questions()
    assert datagram.data[:3] == bytes([1]) + (20000).to_bytes(2, "big")
    for secret in (NETWORK, station.key, bytes([192, 168, 7, 1])):
        assert secret[:4] not in datagram.data


def test_another_network_is_not_understood(lan: Lan) -> None:
    """Both share a LAN, and neither learns of the other."""
    ours, theirs = Station(lan, 1), Station(lan, 2, network=bytes(16))
    ours.begin()
    theirs.begin()
    lan.run(300.0)
    assert ours.found == theirs.found == {}
    assert lan.answers() == []


def test_who_is_no_member_is_ignored(lan: Lan) -> None:
    """It may have been one, and know the key of the day."""
    ours, other = Station(lan, 1), Station(lan, 2)
    ours.members.discard(other.key)
    ours.begin()
    other.begin()
    lan.run(100.0)
    assert ours.found == {}
    assert not any(host == ours.host for host, d in lan.carried if d in lan.answers())


def test_replay_from_elsewhere_does_not_count(lan: Lan) -> None:
    """A stranger could else draw handshakes to any address."""
    ours, other = Station(lan, 1), Station(lan, 2)
    other.begin()
    lan.run(0.0)
    recorded = lan.questions()[0].data
    lan.stations = [ours]
    ours.begin()
    lan.run(0.0)
    ours.found.clear()
    ours.hear(recorded, "192.168.7.99")
    assert ours.found == {}
    lan.flush()
    assert lan.answers() == []


@pytest.mark.parametrize(
    ("behind", "heard"),
    [(DAY, True), (-DAY, True), (2 * DAY, False), (-2 * DAY, False)],
)
def test_clocks_may_differ_by_a_day(lan: Lan, behind: float, heard: bool) -> None:
    """No more: what was recorded longer ago opens nowhere."""
    ours, other = Station(lan, 1), Station(lan, 2, behind=behind)
    ours.begin()
    other.begin()
    lan.run(0.0)
    assert (other.key in ours.found) is heard


def test_days_go_round(lan: Lan) -> None:
    """The day has 16 bits: 2149-06-07 is day 0 again."""
    ours, other = Station(lan, 1), Station(lan, 2)
    ours.behind = WALL - 65536.0 * DAY - 5
    other.behind = WALL - 65536.0 * DAY + 5000
    ours.begin()
    other.begin()
    lan.run(0.0)
    assert other.key in ours.found
    assert ours.key in other.found


def test_place_ends_when_it_is_not_heard_any_more(lan: Lan) -> None:
    """After three minutes, and that is told."""
    ours, other = Station(lan, 1), Station(lan, 2)
    ours.begin()
    other.begin()
    lan.run(10.0)
    assert ours.found[other.key]
    lan.stations.remove(other)
    lan.run(FOUND_FOR)
    assert ours.found[other.key] == ()
    other.begin()
    lan.stations.append(other)
    other.discovery.set_links((), now=lan.now)
    other.begin()
    lan.run(0.0)
    assert ours.found[other.key] == (place(other),)


def test_questions_of_one_are_answered_seldom(lan: Lan) -> None:
    """Who repeats a question, member or stranger, gets an answer in ten seconds."""
    ours, other = Station(lan, 1), Station(lan, 2)
    other.begin()
    lan.run(0.0)
    question = lan.questions()[0].data
    ours.begin()
    lan.run(5.0)
    lan.carried.clear()
    lan.now += ANSWER_EVERY
    for _ in range(40):
        ours.hear(question, other.host)
        lan.flush()
    assert len(lan.answers()) == 1
    lan.now += ANSWER_EVERY
    ours.hear(question, other.host)
    lan.flush()
    assert len(lan.answers()) == 2


def test_flood_costs_little(lan: Lan) -> None:
    """Beyond a burst nothing is even looked at, and a second later it is again."""
    other = Station(lan, 2)
    other.begin()
    lan.run(0.0)
    question = lan.questions()[0].data
    lan.stations = []
    ours = Station(lan, 1)
    ours.begin()
    lan.run(0.0)
    for _ in range(int(OPENED_BURST) + 10):
        ours.hear(b"x" * ANNOUNCEMENT_SIZE, "192.168.7.77")
    ours.hear(question, other.host)
    assert ours.found == {}
    lan.now += 1.0
    ours.hear(question, other.host)
    assert ours.found == {other.key: (place(other),)}


def test_places_of_one_member_are_bounded(lan: Lan) -> None:
    """The latest four, the latest first."""
    ours, other = Station(lan, 1), Station(lan, 2)
    ours.begin()
    hosts = [f"192.168.7.{n}" for n in range(10, 20)]
    for host in hosts:
        other.host = host
        other.begin()
        lan.run(0.0)
    kept = tuple(Endpoint(host, 51820) for host in reversed(hosts[-MAX_PLACES:]))
    assert ours.found[other.key] == kept


def test_member_that_returns_is_told_of_again(lan: Lan) -> None:
    """Who forgot it when it was no member any more has to hear its places anew."""
    ours, other = Station(lan, 1), Station(lan, 2)
    ours.begin()
    other.begin()
    lan.run(5.0)
    ours.found.clear()
    ours.members.discard(other.key)
    lan.run(1.5 * ANNOUNCE_EVERY)
    assert ours.found == {}
    ours.members.add(other.key)
    lan.run(1.5 * ANNOUNCE_EVERY)
    assert ours.found == {other.key: (place(other),)}


def test_links_of_both_versions(lan: Lan) -> None:
    """Each is announced to the group of its version; IPv6 keeps the zone."""
    ours, other = Station(lan, 1), Station(lan, 2)
    links = (Source("192.168.7.2", 2), Source("fe80::2", 2))
    other.discovery.set_links(links, now=lan.now)
    other.discovery.handle_deadline(now=lan.now, wall=other.wall)
    v4, v6 = other.discovery.datagrams_to_send()
    assert (v4.path, v6.path) == (Path(GROUP4, links[0]), Path(GROUP6, links[1]))
    ours.discovery.set_links((Source("192.168.7.1", 3), Source("fe80::1", 3)), now=0.0)
    # The kernel tells no address of ours for a group of IPv6: the zone has to do.
    remote = Endpoint("fe80::2", SPEAKER, 3)
    ours.discovery.receive_datagram(v6.data, Path(remote), now=0.0, wall=WALL)
    assert ours.discovery.changes() == [(other.key, (Endpoint("fe80::2", 51820, 3),))]
    (answer,) = ours.discovery.datagrams_to_send()
    assert answer.path == Path(remote, Source("fe80::1", 3))


def test_number_of_links_is_bounded(lan: Lan) -> None:
    """A host with hundreds of bridges does not flood them all."""
    ours = Station(lan, 1)
    links = tuple(Source(f"10.0.{n}.1", n) for n in range(1, 60))
    ours.discovery.set_links(links, now=lan.now)
    ours.discovery.handle_deadline(now=lan.now, wall=WALL)
    assert len(ours.discovery.datagrams_to_send()) == MAX_LINKS


def test_our_own_words_are_nobody_elses(lan: Lan) -> None:
    """Multicast comes back to its sender."""
    ours = Station(lan, 1)
    ours.begin()
    lan.run(0.0)
    assert ours.found == {}
    assert lan.answers() == []
