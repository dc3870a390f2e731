"""No datagram passes a relay twice, whatever members ask for and relays pretend."""

import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.message_bytes import MAX_LEASE
from meshnode.codec.messages import (
    MAX_FURTHER_RELAYS,
    Message,
    RelayAccept,
    RelayClose,
    RelayOffer,
    RelayOpen,
    RelayOpened,
    RelayReason,
)
from meshnode.codec.records import Role
from meshnode.mesh.channel_numbers import ChannelNumbers
from meshnode.mesh.relay_server import Limits, RelayServer
from tests.unit.mesh.relay_parts import ChannelTunnels

LIMITS = Limits(per_asker=8, per_target=16, total=32)


class Mesh:
    """Some honest relays, some hosts that say anything, and what they say."""

    def __init__(self, seed: int, honest: int, others: int) -> None:
        self.random = random.Random(seed)
        keys = [bytes((n,)) * 32 for n in range(honest + others)]
        self.honest = {key: ChannelTunnels() for key in keys[:honest]}
        self.others = keys[honest:]
        self.keys = keys
        # Everybody who is no honest relay is a member that may be one.
        self.servers = {
            key: RelayServer(
                key,
                tunnels=tunnels,
                numbers=ChannelNumbers(self.random.randbytes),
                roles=lambda key: Role.RELAY if key in keys else None,
                is_willing=lambda: True,
                limits=lambda: LIMITS,
            )
            for key, tunnels in self.honest.items()
        }
        self.known: list[int] = [1, 2]
        self.letters: deque[tuple[bytes, bytes, Message]] = deque()

    def say_anything(self) -> None:
        """Let somebody send what it likes, with numbers that it has heard."""
        draw = self.random
        number = draw.choice(self.known)
        further = draw.sample(self.keys, draw.randint(0, MAX_FURTHER_RELAYS))
        trail = draw.sample(self.keys, draw.randint(0, MAX_FURTHER_RELAYS))
        message: Message = draw.choice(
            [
                RelayOpen(draw.choice(self.keys), tuple(further), (), number, ()),
                RelayOpen(draw.choice(self.keys), (), tuple(trail), number, ()),
                RelayAccept(number, draw.choice(self.known)),
                RelayOpened(number, draw.choice(self.known), MAX_LEASE),
                RelayClose(number, RelayReason.CLOSED),
            ]
        )
        to = draw.choice(list(self.honest))
        self.letters.append((draw.choice(self.others), to, message))

    def deliver(self) -> None:
        """Deliver everything; who is no relay accepts what it is offered, or not."""
        while self.letters:
            peer, to, message = self.letters.popleft()
            server = self.servers.get(to)
            if server is None:
                self._answer(to, peer, message)
                continue
            match message:
                case RelayOpen():
                    server.receive_open(peer, message, now=0.0)
                case RelayAccept():
                    server.receive_accept(peer, message, now=0.0)
                case RelayOpened():
                    server.receive_opened(peer, message, now=0.0)
                case RelayClose():
                    server.receive_close(peer, message, now=0.0)
            for receiver, sent in self.honest[to].taken():
                self.letters.append((to, receiver, sent))

    def _answer(self, us: bytes, peer: bytes, message: Message) -> None:
        if isinstance(message, RelayOffer | RelayOpen):
            self.known.append(message.channel)
            number = self.random.choice([*self.known, self.random.getrandbits(31) + 1])
            answer: Message = RelayAccept(message.channel, number)
            if isinstance(message, RelayOpen):
                answer = RelayOpened(message.channel, number, MAX_LEASE)
            if self.random.random() < 0.8:
                self.letters.append((us, peer, answer))
        elif isinstance(message, RelayOpened):
            self.known.append(message.label)

    def walk(self, relay: bytes, number: int) -> list[bytes]:
        """Return the honest relays that a datagram with this number passes."""
        passed = []
        while True:
            _, label, onward = self.honest[relay].channels[number]
            passed.append(relay)
            assert len(passed) <= len(self.honest) + 1, "it goes round and round"
            assert onward is not None
            following = self.honest.get(onward)
            if following is None or label not in following.channels:
                return passed
            if following.channels[label][0] != relay:
                return passed  # it takes that number from somebody else only
            relay, number = onward, label


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5), st.integers(1, 120))
def test_no_datagram_passes_a_relay_twice(
    seed: int, honest: int, others: int, steps: int
) -> None:
    """From wherever it starts, and at most three relays one after the other."""
    mesh = Mesh(seed, honest, others)
    for _ in range(steps):
        mesh.say_anything()
        if mesh.random.random() < 0.7:
            mesh.deliver()
    mesh.deliver()
    for relay, tunnels in mesh.honest.items():
        assert len(mesh.servers[relay]) <= LIMITS.total
        assert len(tunnels.channels) <= 2 * LIMITS.total
        for number, (peer, _, onward) in tunnels.channels.items():
            assert onward not in (peer, relay)
            passed = mesh.walk(relay, number)
            assert len(set(passed)) == len(passed) <= 1 + MAX_FURTHER_RELAYS
