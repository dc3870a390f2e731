"""Bytes from anyone: no exception but `BadPacket`, and no change of state.

All lengths, all single-bit flips, and seeded random mutations of true messages, taken
the way a device takes them: parse, mac1, index, handshake.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from meshnode.codec.wireguard import (
    COOKIE_REPLY_SIZE,
    INITIATION_SIZE,
    RESPONSE_SIZE,
    CookieReply,
    Initiation,
    Response,
    message_type,
    parse_handshake,
)
from meshnode.crypto.keys import PresharedKey, PrivateKey
from meshnode.errors import BadPacket, DropReason
from meshnode.types import Endpoint
from meshnode.wireguard.cookie import CookieChecker, CookieJar
from meshnode.wireguard.handshake import (
    Handshake,
    HandshakeState,
    Identity,
    identify_initiator,
)
from meshnode.wireguard.indices import IndexTable

SIZES = {1: INITIATION_SIZE, 2: RESPONSE_SIZE, 3: COOKIE_REPLY_SIZE}
TIMESTAMP = bytes.fromhex("400000006553f10a0a000000")
REMOTE = Endpoint("192.0.2.1", 51820)
ALICE_INDEX, BOB_INDEX = 0xA11CE, 0xB0B


class Device:
    """Just enough of a device with one peer: all that a message passes through."""

    def __init__(self, private: bytes, remote_private: bytes) -> None:
        self.identity = Identity(PrivateKey(private))
        self.remote = PrivateKey(remote_private).public_key()
        self.handshake = Handshake(self.identity, self.remote, PresharedKey.none())
        self.jar = CookieJar(self.remote.raw)
        self.indices: IndexTable[Handshake] = IndexTable(bytes)
        self.checker = CookieChecker(self.identity.public_key.raw, bytes)

    def receive(self, data: bytes) -> None:
        """Take a datagram; raise `BadPacket` if it is refused."""
        message = parse_handshake(data)
        if isinstance(message, CookieReply):
            self.require_index(message.receiver)
            self.jar.consume_reply(message, now=1.0)
            return
        if not self.checker.has_valid_mac1(data):
            raise BadPacket(DropReason.BAD_MAC1)
        self.receive_unmarked(message)

    def receive_unmarked(self, message: Initiation | Response) -> None:
        """Take a message as if its mac1 were valid: anyone can compute that."""
        if isinstance(message, Initiation):
            claim = identify_initiator(self.identity, message)
            if claim.public_key != self.remote:
                raise BadPacket(DropReason.UNKNOWN_PEER)
            opened = self.handshake.open_initiation(claim, message)
            self.handshake.accept_initiation(opened)
        else:
            self.require_index(message.receiver)
            self.handshake.consume_response(message)

    def require_index(self, index: int) -> None:
        """Refuse an index that stands for nothing."""
        if self.indices.lookup(index) is None:
            raise BadPacket(DropReason.UNKNOWN_INDEX)

    def state(self) -> object:
        """Return all that a message could have changed."""
        jar = self.jar
        return (
            self.handshake._progress,
            (jar._cookie, jar._cookie_born_at, jar._unanswered_mac1),
            len(self.indices),
        )


class World:
    """Alice has sent an initiation; Bob's answer and his cookie reply are ready."""

    def __init__(self) -> None:
        self.alice = Device(b"a" * 32, b"b" * 32)
        self.bob = Device(b"b" * 32, b"a" * 32)
        initiation = self.alice.handshake.create_initiation(
            local_index=ALICE_INDEX, ephemeral=b"e" * 32, timestamp=TIMESTAMP
        )
        self.alice.indices.reserve(ALICE_INDEX, self.alice.handshake)
        self.initiation = self.alice.jar.stamp(initiation.serialise(), now=0.0)
        answering = Device(b"b" * 32, b"a" * 32)
        answering.receive(self.initiation)
        response = answering.handshake.create_response(
            local_index=BOB_INDEX, ephemeral=b"f" * 32
        )
        self.response = answering.jar.stamp(response.serialise(), now=0.0)
        self.cookie_reply = answering.checker.create_reply(
            self.initiation, REMOTE, nonce=b"n" * 24, now=0.0
        ).serialise()

    def targets(self) -> list[tuple[Device, bytes]]:
        """Return each true message with the device it is meant for."""
        return [
            (self.bob, self.initiation),
            (self.alice, self.response),
            (self.alice, self.cookie_reply),
        ]


def flips(data: bytes, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Yield *data* with each bit of its bytes *first* to *last*-1 flipped."""
    for bit in range(8 * first, 8 * last):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(changed)


def assert_refused(device: Device, data: bytes, note: object) -> None:
    """Let the device refuse *data* and stay as it is."""
    before = device.state()
    with pytest.raises(BadPacket):
        device.receive(data)
    assert device.state() == before, note


def test_the_true_messages_are_taken() -> None:
    """Without this the tests below would pass for a device that takes nothing."""
    for number in range(3):
        device, data = World().targets()[number]
        before = device.state()
        device.receive(data)
        assert device.state() != before


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 255])
def test_every_length_of_every_type(kind: int) -> None:
    """Only the one length of types 1 to 3 is parsed; nothing else raises else."""
    head = struct.pack("<I", kind)
    for size in range(2049):
        data = (head + bytes(range(256)) * 9)[:size]
        message_type(data)
        if size == SIZES.get(kind):
            assert parse_handshake(data).serialise() == data
            continue
        known = kind in SIZES or size < 4
        with pytest.raises(BadPacket) as caught:
            parse_handshake(data)
        expected = DropReason.BAD_LENGTH if known else DropReason.BAD_TYPE
        assert caught.value.reason is expected, size


def test_every_length_of_every_true_message() -> None:
    """A true message that lost or gained bytes is refused and changes nothing."""
    world = World()
    for device, data in world.targets():
        for size in range(300):
            if size != len(data):
                assert_refused(device, (data + bytes(300))[:size], size)


def test_every_flipped_bit_of_an_initiation() -> None:
    """Up to the end of mac1 each bit counts; mac2 is not looked at."""
    world = World()
    for bit, data in flips(world.initiation, 0, 132):
        assert_refused(world.bob, data, bit)
    assert world.bob.handshake.state is HandshakeState.ZEROED
    for _, data in flips(world.initiation, 132, 148):
        world.bob.receive(data)


def test_every_flipped_bit_of_a_response() -> None:
    """Up to the end of mac1 each bit counts; Alice then still takes the true one."""
    world = World()
    for bit, data in flips(world.response, 0, 76):
        assert_refused(world.alice, data, bit)
    world.alice.receive(world.response)
    assert world.alice.handshake.state is HandshakeState.CONSUMED_RESPONSE


def test_every_flipped_bit_of_a_cookie_reply() -> None:
    """All of it counts; Alice then still takes the true one."""
    world = World()
    for bit, data in flips(world.cookie_reply, 0, 64):
        assert_refused(world.alice, data, bit)
    world.alice.receive(world.cookie_reply)


def test_every_flipped_bit_is_refused_without_mac1_too() -> None:
    """Whoever can compute mac1 forges nothing: the handshake itself refuses.

    The sender's index alone is covered by mac1 only, as the paper has it.
    """
    world = World()
    cases = [
        (world.bob, world.initiation, 8, 116),
        (world.alice, world.response, 8, 60),
    ]
    for device, true, first, last in cases:
        before = device.state()
        for bit, data in flips(true, first, last):
            message = parse_handshake(data)
            assert not isinstance(message, CookieReply)
            with pytest.raises(BadPacket):
                device.receive_unmarked(message)
            assert device.state() == before, bit


def test_a_flipped_sender_index_is_only_another_index() -> None:
    """It authenticates, and does no more than misdirect the answer."""
    world = World()
    message = parse_handshake(world.initiation)
    assert isinstance(message, Initiation)
    world.bob.receive_unmarked(replace(message, sender=message.sender ^ 1))
    response = world.bob.handshake.create_response(local_index=9, ephemeral=b"g" * 32)
    assert response.receiver == message.sender ^ 1
    world.alice.indices.reserve(message.sender ^ 1, world.alice.handshake)
    with pytest.raises(BadPacket):
        world.alice.receive_unmarked(response)


@pytest.mark.parametrize("seed", range(8))
def test_random_mutations(seed: int) -> None:
    """Spliced, overwritten and duplicated pieces of true messages are refused."""
    draw = random.Random(seed)
    world = World()
    originals = [data for _, data in world.targets()]
    for step in range(400):
        data = bytearray(draw.choice(originals))
        for _ in range(draw.randint(1, 4)):
            source = draw.choice(originals)
            start, size = draw.randrange(len(source)), draw.randint(1, 40)
            at = draw.randrange(len(data))
            data[at : at + draw.choice([0, size])] = source[start : start + size]
        if draw.random() < 0.7:
            wanted = draw.choice(list(SIZES.values()))
            data = (data + bytes(wanted))[:wanted]
        if draw.random() < 0.7:
            data[0:4] = struct.pack("<I", draw.randint(1, 3))
        if any(bytes(data[:-16]) == true[:-16] for true in originals):
            continue
        for device in (world.alice, world.bob):
            assert_refused(device, bytes(data), f"seed {seed} step {step}")
