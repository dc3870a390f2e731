"""The handshake: byte for byte, state by state, and what a bad message may change."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.wireguard import Initiation, Response, parse_handshake
from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.crypto.primitives import aead_open, x25519
from meshnode.errors import BadPacket, DropReason
from meshnode.wireguard import handshake as handshake_module
from meshnode.wireguard.handshake import (
    Handshake,
    HandshakeState,
    Identity,
    identify_initiator,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "wireguard_handshake.json").read_text()
)["transcripts"]
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]
TIMESTAMP = bytes.fromhex("400000006553f10a0a000000")
NO_KEY = PresharedKey.none()

ZEROED = HandshakeState.ZEROED
CREATED_INITIATION = HandshakeState.CREATED_INITIATION
CONSUMED_INITIATION = HandshakeState.CONSUMED_INITIATION
CREATED_RESPONSE = HandshakeState.CREATED_RESPONSE
CONSUMED_RESPONSE = HandshakeState.CONSUMED_RESPONSE


def secret(name: str) -> bytes:
    """Return 32 bytes that depend on *name* only."""
    return hashlib.sha256(name.encode()).digest()


class Pair:
    """Alice and Bob with a handshake each; Alice begins unless told otherwise."""

    def __init__(self, preshared_key: PresharedKey = NO_KEY) -> None:
        self.alice_identity = Identity(PrivateKey(secret("alice")))
        self.bob_identity = Identity(PrivateKey(secret("bob")))
        self.alice = Handshake(
            self.alice_identity, self.bob_identity.public_key, preshared_key
        )
        self.bob = Handshake(
            self.bob_identity, self.alice_identity.public_key, preshared_key
        )

    def initiate(self, index: int = 0xA11CE, name: str = "first") -> Initiation:
        """Let Alice create an initiation."""
        return self.alice.create_initiation(
            local_index=index, ephemeral=secret(f"a {name}"), timestamp=TIMESTAMP
        )

    def accept(self, initiation: Initiation) -> None:
        """Let Bob accept it."""
        claim = identify_initiator(self.bob_identity, initiation)
        self.bob.accept_initiation(self.bob.open_initiation(claim, initiation))

    def respond(self, index: int = 0xB0B, name: str = "first") -> Response:
        """Let Bob answer."""
        return self.bob.create_response(
            local_index=index, ephemeral=secret(f"b {name}")
        )

    def initiate_from_bob(self) -> Initiation:
        """Let Bob create an initiation of his own."""
        return self.bob.create_initiation(
            local_index=0xB0B0, ephemeral=secret("b own"), timestamp=TIMESTAMP
        )


def snapshot(handshake: Handshake) -> object:
    """Return all that a handshake has got to."""
    return handshake._progress


def reason_of(call: Callable[[], object]) -> DropReason:
    """Return why a call refuses what it was given."""
    with pytest.raises(BadPacket) as caught:
        call()
    return caught.value.reason


# --- the messages ---


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_both_roles_equal_the_oracle_byte_for_byte(vector: dict[str, Any]) -> None:
    """From the oracle's inputs come its messages, its keys and its data messages."""
    raw = {
        name: bytes.fromhex(value)
        for name, value in vector.items()
        if name != "name" and isinstance(value, str)
    }
    preshared_key = PresharedKey(raw["preshared_key"])
    initiator = Identity(PrivateKey(raw["initiator_private"]))
    responder = Identity(PrivateKey(raw["responder_private"]))
    ours = Handshake(initiator, responder.public_key, preshared_key)
    theirs = Handshake(responder, initiator.public_key, preshared_key)

    initiation = ours.create_initiation(
        local_index=vector["initiator_index"],
        ephemeral=raw["initiator_ephemeral"],
        timestamp=raw["timestamp"],
    )
    assert initiation.serialise()[:-32] == raw["initiation"][:-32]
    received = parse_handshake(raw["initiation"])
    assert isinstance(received, Initiation)
    claim = identify_initiator(responder, received)
    assert claim.public_key.raw == raw["initiator_public"]
    opened = theirs.open_initiation(claim, received)
    assert opened.timestamp == raw["timestamp"]
    theirs.accept_initiation(opened)
    response = theirs.create_response(
        local_index=vector["responder_index"], ephemeral=raw["responder_ephemeral"]
    )
    assert response.serialise()[:-32] == raw["response"][:-32]
    answer = parse_handshake(raw["response"])
    assert isinstance(answer, Response)
    ours.consume_response(answer)

    keys, mirrored = ours.derive_keys(), theirs.derive_keys()
    assert keys.send_key == mirrored.receive_key == raw["key_to_responder"]
    assert keys.receive_key == mirrored.send_key == raw["key_to_initiator"]
    assert aead_open(mirrored.receive_key, 0, raw["keepalive"][16:], b"") == b""
    assert aead_open(keys.receive_key, 7, raw["data"][16:], b"") == bytes(32)


def test_derived_keys_name_both_indices_and_the_role() -> None:
    """Each side's local index is the other's remote index."""
    pair = Pair()
    pair.accept(pair.initiate(index=0xA11CE))
    pair.alice.consume_response(pair.respond(index=0xB0B))
    alice, bob = pair.alice.derive_keys(), pair.bob.derive_keys()
    assert (alice.local_index, alice.remote_index) == (0xA11CE, 0xB0B)
    assert (bob.local_index, bob.remote_index) == (0xB0B, 0xA11CE)
    assert (alice.is_initiator, bob.is_initiator) == (True, False)
    assert alice.send_key != alice.receive_key


def test_the_same_index_on_both_sides_is_legal() -> None:
    """Remote indices are the other side's business, even if they equal ours."""
    pair = Pair()
    pair.accept(pair.initiate(index=7))
    pair.alice.consume_response(pair.respond(index=7))
    assert pair.alice.derive_keys().remote_index == 7


# --- the states ---


def to_state(pair: Pair, state: HandshakeState) -> Handshake:
    """Bring one of the two handshakes to *state* and return it."""
    if state is ZEROED:
        return pair.alice
    initiation = pair.initiate()
    if state is CREATED_INITIATION:
        return pair.alice
    pair.accept(initiation)
    if state is CONSUMED_INITIATION:
        return pair.bob
    response = pair.respond()
    if state is CREATED_RESPONSE:
        return pair.bob
    pair.alice.consume_response(response)
    return pair.alice


@pytest.mark.parametrize("state", HandshakeState)
def test_every_state_is_reached(state: HandshakeState) -> None:
    """The story of a handshake passes through all states."""
    assert to_state(Pair(), state).state is state


@pytest.mark.parametrize("state", HandshakeState)
def test_an_initiation_can_be_created_in_any_state(state: HandshakeState) -> None:
    """A new initiation replaces whatever was under way."""
    handshake = to_state(Pair(), state)
    handshake.create_initiation(
        local_index=99, ephemeral=secret("new"), timestamp=TIMESTAMP
    )
    assert (handshake.state, handshake.local_index) == (CREATED_INITIATION, 99)


@pytest.mark.parametrize("state", HandshakeState)
def test_an_initiation_can_be_accepted_in_any_state(state: HandshakeState) -> None:
    """A valid initiation replaces our own: there is no tie-break, and no index."""
    pair = Pair()
    handshake = to_state(pair, state)
    if handshake is pair.alice:
        initiation = Pair().initiate_from_bob()
        claim = identify_initiator(pair.alice_identity, initiation)
    else:
        initiation = Pair().initiate(name="second")
        claim = identify_initiator(pair.bob_identity, initiation)
    handshake.accept_initiation(handshake.open_initiation(claim, initiation))
    assert (handshake.state, handshake.local_index) == (CONSUMED_INITIATION, 0)


@pytest.mark.parametrize("state", set(HandshakeState) - {CONSUMED_INITIATION})
def test_a_response_is_created_for_an_accepted_initiation_only(
    state: HandshakeState,
) -> None:
    """Elsewhere it is our own mistake, and nothing moves."""
    handshake = to_state(Pair(), state)
    before = snapshot(handshake)
    with pytest.raises(RuntimeError, match="CREATE_RESPONSE"):
        handshake.create_response(local_index=9, ephemeral=secret("new"))
    assert snapshot(handshake) == before


@pytest.mark.parametrize("state", set(HandshakeState) - {CREATED_INITIATION})
def test_a_response_is_consumed_by_a_waiting_initiator_only(
    state: HandshakeState,
) -> None:
    """Elsewhere even a genuine response is dropped, and nothing moves."""
    other = Pair()
    other.accept(other.initiate())
    response = other.respond()
    handshake = to_state(Pair(), state)
    for receiver in (response.receiver, handshake.local_index):
        before = snapshot(handshake)
        stray = replace(response, receiver=receiver)
        reason = reason_of(lambda stray=stray: handshake.consume_response(stray))
        assert reason is DropReason.WRONG_STATE
        assert snapshot(handshake) == before


@pytest.mark.parametrize(
    "state", set(HandshakeState) - {CREATED_RESPONSE, CONSUMED_RESPONSE}
)
def test_keys_are_derived_from_a_complete_handshake_only(
    state: HandshakeState,
) -> None:
    """Elsewhere it is our own mistake, and nothing moves."""
    handshake = to_state(Pair(), state)
    before = snapshot(handshake)
    with pytest.raises(RuntimeError, match="DERIVE_KEYS"):
        handshake.derive_keys()
    assert snapshot(handshake) == before


@pytest.mark.parametrize("state", [CREATED_RESPONSE, CONSUMED_RESPONSE])
def test_deriving_keys_zeroes_the_handshake(state: HandshakeState) -> None:
    """No key, index or ephemeral stays behind, and there is no second time."""
    pair = Pair()
    handshake = to_state(pair, state)
    handshake.derive_keys()
    assert snapshot(handshake) == snapshot(Pair().alice)
    with pytest.raises(RuntimeError):
        handshake.derive_keys()


@pytest.mark.parametrize("state", HandshakeState)
def test_clearing_forgets_everything_and_allows_a_new_start(
    state: HandshakeState,
) -> None:
    """After `clear` the handshake is as new."""
    handshake = to_state(Pair(), state)
    handshake.clear()
    assert snapshot(handshake) == snapshot(Pair().alice)
    assert (handshake.state, handshake.local_index) == (ZEROED, 0)
    handshake.create_initiation(
        local_index=3, ephemeral=secret("new"), timestamp=TIMESTAMP
    )


def test_a_duplicated_response_is_dropped() -> None:
    """The second copy finds nobody waiting, before and after the keys are derived."""
    pair = Pair()
    pair.accept(pair.initiate())
    response = pair.respond()
    pair.alice.consume_response(response)
    consume = pair.alice.consume_response
    assert reason_of(lambda: consume(response)) is DropReason.WRONG_STATE
    pair.alice.derive_keys()
    assert reason_of(lambda: consume(response)) is DropReason.WRONG_STATE


def test_a_response_to_a_replaced_initiation_is_dropped() -> None:
    """Under the old index it has the wrong state, under the new it is a forgery."""
    pair = Pair()
    pair.accept(pair.initiate(index=1, name="first"))
    late = pair.respond()
    pair.initiate(index=2, name="second")
    before = snapshot(pair.alice)
    consume = pair.alice.consume_response
    assert reason_of(lambda: consume(late)) is DropReason.WRONG_STATE
    renamed = replace(late, receiver=2)
    assert reason_of(lambda: consume(renamed)) is DropReason.BAD_HANDSHAKE
    assert snapshot(pair.alice) == before


# --- bad messages change nothing ---


def test_identifying_and_reading_the_timestamp_change_nothing() -> None:
    """Until the caller has judged the timestamp, the handshake stands still."""
    pair = Pair()
    pair.initiate_from_bob()
    before = snapshot(pair.bob)
    initiation = pair.initiate()
    claim = identify_initiator(pair.bob_identity, initiation)
    assert pair.bob.open_initiation(claim, initiation).timestamp == TIMESTAMP
    assert snapshot(pair.bob) == before


def flip(data: bytes) -> bytes:
    """Change one bit."""
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    "changed", ["ephemeral", "encrypted_static", "encrypted_timestamp"]
)
def test_a_forged_initiation_is_refused_and_changes_nothing(changed: str) -> None:
    """Ephemeral, static key and timestamp are each authenticated."""
    pair = Pair()
    pair.initiate_from_bob()
    before = snapshot(pair.bob)
    initiation = pair.initiate()
    forged = replace(initiation, **{changed: flip(getattr(initiation, changed))})
    assert reason_of(lambda: pair.accept(forged)) is DropReason.BAD_HANDSHAKE
    assert snapshot(pair.bob) == before


def test_what_was_opened_by_another_is_not_accepted() -> None:
    """An initiation is accepted for the peer that it authenticated as, and no other."""
    pair = Pair()
    initiation = pair.initiate()
    claim = identify_initiator(pair.bob_identity, initiation)
    opened = pair.bob.open_initiation(claim, initiation)
    carol = Identity(PrivateKey(secret("carol")))
    other = Handshake(pair.bob_identity, carol.public_key, NO_KEY)
    with pytest.raises(ValueError, match="another peer"):
        other.accept_initiation(opened)
    assert other.state is ZEROED


def test_a_stranger_who_knows_a_peers_public_key_is_refused() -> None:
    """Claiming a static key without its private half fails at the timestamp."""
    pair = Pair()
    mallory = Identity(PrivateKey(secret("mallory")))
    mallory.public_key = pair.alice_identity.public_key
    forged = Handshake(mallory, pair.bob_identity.public_key, NO_KEY).create_initiation(
        local_index=1, ephemeral=secret("m"), timestamp=TIMESTAMP
    )
    claim = identify_initiator(pair.bob_identity, forged)
    assert claim.public_key == pair.alice_identity.public_key
    refuse = pair.bob.open_initiation
    assert reason_of(lambda: refuse(claim, forged)) is DropReason.BAD_HANDSHAKE


def test_a_claim_is_not_taken_to_another_peer() -> None:
    """Handing a claim to the wrong peer's handshake is our own mistake."""
    pair = Pair()
    carol = Identity(PrivateKey(secret("carol")))
    initiation = pair.initiate()
    claim = identify_initiator(pair.bob_identity, initiation)
    other = Handshake(pair.bob_identity, carol.public_key, NO_KEY)
    with pytest.raises(ValueError, match="another peer"):
        other.open_initiation(claim, initiation)


def test_an_initiation_to_somebody_else_is_refused() -> None:
    """It was made for Bob's key; nobody else can even read who sent it."""
    carol = Identity(PrivateKey(secret("carol")))
    initiation = Pair().initiate()
    reason = reason_of(lambda: identify_initiator(carol, initiation))
    assert reason is DropReason.BAD_HANDSHAKE


@pytest.mark.parametrize("changed", ["ephemeral", "encrypted_nothing"])
def test_a_forged_response_is_refused_and_the_true_one_still_taken(
    changed: str,
) -> None:
    """Nothing is kept before all has authenticated."""
    pair = Pair()
    pair.accept(pair.initiate())
    response = pair.respond()
    before = snapshot(pair.alice)
    forged = replace(response, **{changed: flip(getattr(response, changed))})
    consume = pair.alice.consume_response
    assert reason_of(lambda: consume(forged)) is DropReason.BAD_HANDSHAKE
    assert snapshot(pair.alice) == before
    consume(response)
    assert pair.alice.derive_keys().send_key == pair.bob.derive_keys().receive_key


# --- preshared keys ---


def test_a_preshared_key_on_one_side_only_fails_at_the_response() -> None:
    """The initiation passes, for the key is mixed into the response."""
    pair = Pair()
    pair.bob.preshared_key = PresharedKey(secret("psk"))
    pair.accept(pair.initiate())
    response = pair.respond()
    consume = pair.alice.consume_response
    assert reason_of(lambda: consume(response)) is DropReason.BAD_HANDSHAKE
    assert pair.alice.state is CREATED_INITIATION


def test_a_preshared_key_set_meanwhile_counts() -> None:
    """Set on both sides before the response, it takes part in this handshake."""
    pair = Pair()
    pair.accept(pair.initiate())
    pair.alice.preshared_key = pair.bob.preshared_key = PresharedKey(secret("psk"))
    pair.alice.consume_response(pair.respond())
    keys = pair.alice.derive_keys()
    plain = Pair()
    plain.accept(plain.initiate())
    plain.alice.consume_response(plain.respond())
    assert keys.send_key == pair.bob.derive_keys().receive_key
    assert keys.send_key != plain.alice.derive_keys().send_key


# --- keys of low order ---


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p.hex()[:8])
def test_a_low_order_peer_can_be_configured_and_never_handshakes(
    point: bytes,
) -> None:
    """No message for it is made, and nothing crashes."""
    identity = Identity(PrivateKey(secret("alice")))
    handshake = Handshake(identity, PublicKey(point), NO_KEY)
    create = handshake.create_initiation
    reason = reason_of(
        lambda: create(local_index=1, ephemeral=secret("e"), timestamp=TIMESTAMP)
    )
    assert reason is DropReason.WEAK_KEY
    assert handshake.state is ZEROED


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p.hex()[:8])
def test_an_initiator_with_a_low_order_static_key_is_refused(point: bytes) -> None:
    """Its initiation can be sealed by anyone; the zero secret must not open it."""
    bob = Identity(PrivateKey(secret("bob")))
    weak = Identity(PrivateKey(secret("weak")))
    weak.public_key = PublicKey(point)
    initiation = Handshake(weak, bob.public_key, NO_KEY).create_initiation(
        local_index=1, ephemeral=secret("e"), timestamp=TIMESTAMP
    )
    claim = identify_initiator(bob, initiation)
    handshake = Handshake(bob, claim.public_key, NO_KEY)
    reason = reason_of(lambda: handshake.open_initiation(claim, initiation))
    assert reason is DropReason.WEAK_KEY
    assert handshake.state is ZEROED


def test_the_secret_of_both_static_keys_is_computed_once_and_when_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten thousand peers cost no Diffie-Hellman; the one that speaks costs one."""
    pair = Pair()
    initiation = pair.initiate()
    claim = identify_initiator(pair.bob_identity, initiation)
    agreed = []

    def counted(private: bytes, public: bytes) -> bytes:
        agreed.append(public)
        return x25519(private, public)

    monkeypatch.setattr(handshake_module, "x25519", counted)
    handshake = Handshake(pair.bob_identity, claim.public_key, NO_KEY)
    assert agreed == []
    for _ in range(2):
        handshake.open_initiation(claim, initiation)
        handshake.another().open_initiation(claim, initiation)
    assert agreed == [claim.public_key.raw]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda p: p.hex()[:8])
def test_low_order_ephemerals_are_refused_in_both_messages(point: bytes) -> None:
    """The response's is checked too, which implementations have forgotten."""
    pair = Pair()
    initiation = pair.initiate()
    weak_initiation = replace(initiation, ephemeral=point)
    identify = identify_initiator
    reason = reason_of(lambda: identify(pair.bob_identity, weak_initiation))
    assert reason is DropReason.WEAK_KEY
    pair.accept(initiation)
    weak_response = replace(pair.respond(), ephemeral=point)
    before = snapshot(pair.alice)
    reason = reason_of(lambda: pair.alice.consume_response(weak_response))
    assert reason is DropReason.WEAK_KEY
    assert snapshot(pair.alice) == before


# --- our own mistakes, and secrets ---


@pytest.mark.parametrize(("ephemeral", "timestamp"), [(31, 12), (33, 12), (32, 11)])
def test_inputs_of_another_length_are_our_mistake(
    ephemeral: int, timestamp: int
) -> None:
    """They raise and leave the state."""
    pair = Pair()
    with pytest.raises(ValueError, match="bytes"):
        pair.alice.create_initiation(
            local_index=1, ephemeral=bytes(ephemeral), timestamp=bytes(timestamp)
        )
    pair.accept(Pair().initiate())
    with pytest.raises(ValueError, match="bytes"):
        pair.bob.create_response(local_index=1, ephemeral=bytes(31))
    assert (pair.alice.state, pair.bob.state) == (ZEROED, CONSUMED_INITIATION)


def test_no_repr_shows_a_secret() -> None:
    """Claims, keys and progress print indices and public keys, nothing else."""
    pair = Pair(PresharedKey(secret("psk")))
    initiation = pair.initiate()
    claim = identify_initiator(pair.bob_identity, initiation)
    shown = [repr(claim), repr(snapshot(pair.alice))]
    hidden = [secret("a first"), claim.transcript.chain_key, claim.transcript.hash]
    pair.accept(initiation)
    pair.alice.consume_response(pair.respond())
    shown.append(repr(snapshot(pair.bob)))
    keys = pair.alice.derive_keys()
    shown.append(repr(keys))
    hidden += [keys.send_key, keys.receive_key, secret("b first")]
    text = " ".join(shown)
    for value in hidden:
        assert repr(value)[2:-1] not in text
        assert value.hex() not in text
