"""What a relay does for others, and what it does not."""

import random
from dataclasses import replace

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.messages import (
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.codec.records import Role
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.relay_server import (
    ACCEPT_WITHIN,
    LEASE,
    Limits,
    RelayServer,
    serves_as_relay,
)
from tests.unit.mesh.relay_parts import ChannelTunnels

US, ASKER, TARGET, FURTHER, STOCK = (bytes((n,)) * 32 for n in range(5))
ASK = RelayOpen(TARGET, (), (), 7, (b"first",))


class Relay:
    """A relay, and whom it knows."""

    def __init__(self, limits: Limits) -> None:
        self.tunnels = ChannelTunnels()
        self.roles = {
            ASKER: Role.NONE,
            TARGET: Role.NONE,
            FURTHER: Role.RELAY,
            STOCK: Role.STOCK,
        }
        self.is_willing = True
        self.server = RelayServer(
            US,
            tunnels=self.tunnels,
            numbers=ChannelNumbers(random.Random(1).randbytes),
            roles=self.roles.get,
            is_willing=lambda: self.is_willing,
            limits=lambda: limits,
        )

    def ask(
        self, question: RelayOpen = ASK, *, peer: bytes = ASKER, now: float = 0.0
    ) -> list[tuple[bytes, object]]:
        """Ask; return what is sent for it."""
        self.server.receive_open(peer, question, now=now)
        return list(self.tunnels.taken())

    def accept(
        self, number: int, label: int, *, peer: bytes = TARGET, now: float = 0.0
    ) -> list[tuple[bytes, object]]:
        """Accept; return what is sent for it."""
        accepted = RelayAccept(number, label)
        self.server.receive_accept(peer, accepted, now=now)
        return list(self.tunnels.taken())

    def refused(self, question: RelayOpen, *, peer: bytes = ASKER) -> RelayReason:
        """Ask what is refused; return why."""
        ((to, message),) = self.ask(question, peer=peer)
        assert to == peer
        assert isinstance(message, RelayClose)
        assert message.channel == question.channel
        assert not self.tunnels.channels
        return message.reason


def numbers_of(sent: list[tuple[bytes, object]]) -> tuple[int, int]:
    """Return our numbers for the asker and for the next, from what we told them."""
    (_, promise), (_, onward) = sent
    assert isinstance(promise, RelayOpened)
    assert isinstance(onward, RelayOffer | RelayOpen)
    return promise.label, onward.channel


@pytest.fixture(name="relay")
def _relay() -> Relay:
    return Relay(Limits(per_asker=3, per_target=4, total=5))


def test_a_channel_is_offered_then_opened(relay: Relay) -> None:
    """The way back is there at once, the way forth with the other end's number."""
    sent = relay.ask()
    ours, offered = numbers_of(sent)
    assert sent == [
        (ASKER, RelayOpened(7, ours, 0)),
        (TARGET, RelayOffer(ASKER, offered, (b"first",))),
    ]
    assert relay.tunnels.channels == {offered: (TARGET, 7, ASKER)}
    assert relay.accept(offered, 9) == [(ASKER, RelayOpened(7, ours, LEASE))]
    assert relay.tunnels.channels == {
        offered: (TARGET, 7, ASKER),
        ours: (ASKER, 9, TARGET),
    }
    assert len(relay.server) == 1


def test_a_question_that_is_repeated_renews(relay: Relay) -> None:
    """With the same numbers; workers are not told, or a quota would begin anew."""
    first = relay.ask()
    ours, offered = numbers_of(first)
    relay.accept(offered, 9)
    grants = dict(relay.tunnels.grants)
    for now in (1.0, 2.0):
        assert relay.ask(now=now) == first
        assert relay.accept(offered, 9, now=now) == [
            (ASKER, RelayOpened(7, ours, LEASE))
        ]
    assert relay.tunnels.grants == grants
    relay.ask(now=LEASE / 2)
    relay.accept(offered, 9, now=LEASE / 2)
    assert relay.tunnels.grants != grants
    relay.server.handle_deadline(now=LEASE + 1.0)
    assert len(relay.server) == 1


def test_a_lease_that_nobody_renews_ends(relay: Relay) -> None:
    """Both sides are told; what is never accepted ends sooner."""
    ours, offered = numbers_of(relay.ask())
    relay.accept(offered, 9)
    relay.ask(replace(ASK, channel=8))
    relay.server.handle_deadline(now=ACCEPT_WITHIN)
    assert len(relay.server) == 1
    relay.tunnels.taken()
    deadline = relay.server.next_deadline()
    assert deadline is not None
    assert deadline.at == LEASE
    relay.server.handle_deadline(now=deadline.at)
    assert relay.tunnels.taken() == [
        (ASKER, RelayClose(7, RelayReason.CLOSED)),
        (TARGET, RelayClose(9, RelayReason.CLOSED)),
    ]
    assert not relay.tunnels.channels
    assert not relay.server.owns(ours)
    assert relay.server.next_deadline() is None


def test_either_side_may_close(relay: Relay) -> None:
    """And nobody else, whatever number it says."""
    ours, offered = numbers_of(relay.ask())
    relay.accept(offered, 9)
    close = RelayClose(ours, RelayReason.CLOSED)
    for peer, number in ((FURTHER, ours), (TARGET, ours), (ASKER, offered)):
        closing = replace(close, channel=number)
        relay.server.receive_close(peer, closing, now=0.0)
    assert len(relay.server) == 1
    relay.server.receive_close(TARGET, RelayClose(offered, RelayReason.NO_PATH), now=0)
    assert relay.tunnels.taken() == [(ASKER, RelayClose(7, RelayReason.NO_PATH))]
    assert not relay.tunnels.channels


def test_an_acceptance_counts_from_the_member_it_was_offered_to(relay: Relay) -> None:
    """Others, and who accepts what is gone, hear that it is closed."""
    ours, offered = numbers_of(relay.ask())
    for peer, number in ((FURTHER, offered), (TARGET, ours), (TARGET, 5)):
        gone = (peer, RelayClose(9, RelayReason.CLOSED))
        assert relay.accept(number, 9, peer=peer) == [gone]
    assert set(relay.tunnels.channels) == {offered}


def test_who_accepted_may_ask_whether_we_are_there(relay: Relay) -> None:
    """It accepts again; the asker is not told each time."""
    _, offered = numbers_of(relay.ask())
    relay.accept(offered, 9)
    assert relay.accept(offered, 9) == [(TARGET, RelayOpened(9, offered, LEASE))]


def test_a_further_relay_is_asked_with_those_to_come(relay: Relay) -> None:
    """And by whom the question came; its answer opens the way."""
    sent = relay.ask(replace(ASK, via=(FURTHER,)))
    ours, number = numbers_of(sent)
    onward = RelayOpen(TARGET, (), (ASKER,), number, (b"first",))
    assert sent[1] == (FURTHER, onward)
    promise, opened = RelayOpened(number, 4, 0), RelayOpened(number, 4, LEASE)
    relay.server.receive_opened(FURTHER, promise, now=0.0)
    relay.server.receive_opened(TARGET, opened, now=0.0)
    assert relay.tunnels.taken() == []
    relay.server.receive_opened(FURTHER, opened, now=0.0)
    assert relay.tunnels.taken() == [(ASKER, RelayOpened(7, ours, LEASE))]
    assert relay.tunnels.channels[ours] == (ASKER, 4, FURTHER)


def test_the_last_relay_offers_for_who_asked_first(relay: Relay) -> None:
    """Not for the relay before it."""
    sent = relay.ask(replace(ASK, trail=(ASKER,)), peer=FURTHER)
    assert sent[1][0] == TARGET
    assert sent[1][1] == RelayOffer(ASKER, numbers_of(sent)[1], (b"first",))


@pytest.mark.parametrize(
    ("question", "peer", "reason"),
    [
        (replace(ASK, key=b"x" * 32), ASKER, RelayReason.UNKNOWN_TARGET),
        (replace(ASK, key=STOCK), ASKER, RelayReason.UNKNOWN_TARGET),
        (replace(ASK, key=US), ASKER, RelayReason.LOOP),
        (replace(ASK, key=ASKER), ASKER, RelayReason.LOOP),
        (replace(ASK, via=(US,)), ASKER, RelayReason.LOOP),
        (replace(ASK, via=(ASKER,)), ASKER, RelayReason.LOOP),
        (replace(ASK, trail=(US,)), FURTHER, RelayReason.LOOP),
        (replace(ASK, trail=(FURTHER,)), FURTHER, RelayReason.LOOP),
        (replace(ASK, trail=(TARGET,)), FURTHER, RelayReason.LOOP),
        (
            replace(ASK, trail=(ASKER, b"x" * 32), via=(b"y" * 32,)),
            FURTHER,
            RelayReason.LOOP,
        ),
        (replace(ASK, via=(b"x" * 32,)), ASKER, RelayReason.UNWILLING),
        (replace(ASK, trail=(FURTHER,)), ASKER, RelayReason.UNWILLING),
        (replace(ASK, trail=(b"x" * 32,)), FURTHER, RelayReason.UNWILLING),
    ],
)
def test_what_is_refused(
    relay: Relay, question: RelayOpen, peer: bytes, reason: RelayReason
) -> None:
    """Targets and relays that are none, and ways that go in circles."""
    assert relay.refused(question, peer=peer) is reason


def test_who_is_not_willing_says_so(relay: Relay) -> None:
    """Also at a renewal: then it closes what is there."""
    relay.is_willing = False
    assert relay.refused(ASK) is RelayReason.UNWILLING
    relay.is_willing = True
    relay.ask()
    relay.is_willing = False
    assert relay.refused(ASK) is RelayReason.UNWILLING


@pytest.mark.parametrize("behind", [ASKER, TARGET])
def test_channels_do_not_nest(relay: Relay, behind: bytes) -> None:
    """Who is reached by a channel itself is not forwarded to, nor for."""
    relay.tunnels.paths[behind] = endpoint_of(3)
    assert relay.refused(ASK) is RelayReason.NO_PATH


def test_limits_hold_for_each_asker_each_target_and_all(relay: Relay) -> None:
    """Who has enough is refused, others are served until all is given."""

    def asked(peer: bytes, channel: int, key: bytes = TARGET) -> bool:
        sent = relay.ask(replace(ASK, key=key, channel=channel), peer=peer)
        return len(sent) == 2

    others = [bytes((n,)) * 32 for n in range(100, 104)]
    relay.roles.update(dict.fromkeys(others, Role.NONE))
    assert [asked(ASKER, n) for n in range(1, 6)] == [True] * 3 + [False] * 2
    assert asked(ASKER, 1)
    assert [asked(others[0], n) for n in (1, 2)] == [True, False]
    assert [asked(others[1], n, others[2]) for n in (1, 2)] == [True, False]
    assert len(relay.server) == 5
    assert len(relay.tunnels.channels) == 5


def test_who_asks_too_often_is_not_answered(relay: Relay) -> None:
    """For a while; others are."""
    answered = sum(bool(relay.ask(replace(ASK, key=US))) for _ in range(2000))
    assert answered == 256
    assert relay.ask(peer=FURTHER)
    assert relay.ask(now=1.0)


def test_nothing_is_left_of_who_is_no_member(relay: Relay) -> None:
    """Wherever it was on the way; the others are told."""
    for gone, left in ((ASKER, TARGET), (TARGET, ASKER)):
        _, offered = numbers_of(relay.ask())
        relay.accept(offered, 9)
        relay.server.forget(gone, now=0.0)
        ((to, message),) = relay.tunnels.taken()
        assert (to, type(message)) == (left, RelayClose)
        assert not relay.tunnels.channels
        assert len(relay.server) == 0


def test_only_some_roles_serve() -> None:
    """Relays, and rendezvous members."""
    assert serves_as_relay(Role.RELAY)
    assert serves_as_relay(Role.RENDEZVOUS | Role.EXIT)
    assert not serves_as_relay(Role.EXIT)
    assert not serves_as_relay(None)
