"""The vault: whenever its writer is killed, a whole state is left."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import HostError
from meshnode.node.vault import Vault
from meshnode.types import Endpoint, Path, Prefix
from meshnode.wireguard.config import DeviceState, PeerState
from tests.unit.node.states import some_state

MEMORY = 2 * 2048
"""Small enough that every byte of it can be spoilt in turn."""


def progressed(peer: PeerState, step: int) -> PeerState:
    """Return *peer* after its *step*-th handshake."""
    return replace(
        peer,
        path=Path(Endpoint("192.0.2.1", step + 1)),
        latest_timestamp=step.to_bytes(12, "big"),
        last_handshake=float(step),
    )


def replaced(state: DeviceState, peer: PeerState) -> DeviceState:
    """Return *state* with *peer* in its slot."""
    peers = [peer if old.slot == peer.slot else old for old in state.peers]
    return replace(state, peers=peers)


def history(memory: bytearray, rng: random.Random) -> list[DeviceState | None]:
    """Write a life into *memory*; return the states it went through, first to last."""
    vault = Vault(memory)
    states: list[DeviceState | None] = [None]
    for _ in range(3):
        state = some_state(rng, 2)
        vault.save(state)
        states.append(state)
        for step in range(4):
            peer = progressed(state.peers[step % 2], step)
            vault.save_progress(peer)
            state = replaced(state, peer)
            states.append(state)
    return states


def test_an_empty_vault_holds_nothing() -> None:
    """Fresh memory is no state."""
    assert Vault(bytearray(MEMORY)).load() is None


def test_the_last_state_is_loaded_by_the_next_process(rng: random.Random) -> None:
    """Snapshots and progress are read as if they had been one write."""
    memory = bytearray(MEMORY)
    states = history(memory, rng)
    assert Vault(memory).load() == states[-1]


def test_the_next_process_goes_on_writing(rng: random.Random) -> None:
    """A log is continued where the last whole record ended."""
    memory = bytearray(MEMORY)
    state = history(memory, rng)[-1]
    assert state is not None
    successor = Vault(memory)
    peer = progressed(state.peers[0], 99)
    successor.save_progress(peer)
    assert Vault(memory).load() == replaced(state, peer)


def test_a_spoilt_byte_gives_a_state_of_the_past(rng: random.Random) -> None:
    """Whichever byte is wrong, what is loaded was saved whole at some time."""
    memory = bytearray(MEMORY)
    states = history(memory, rng)
    for position in range(MEMORY):
        spoilt = bytearray(memory)
        spoilt[position] ^= 0x55
        assert Vault(spoilt).load() in states, f"byte {position}"


def writes_of(memory: bytearray, write: Callable[[], None]) -> list[tuple[int, bytes]]:
    """Return what *write* changed in *memory*, byte by byte, in no certain order."""
    before = bytes(memory)
    write()
    return [
        (position, bytes((new,)))
        for position, (old, new) in enumerate(zip(before, memory, strict=True))
        if old != new
    ]


@pytest.mark.parametrize("is_snapshot", [False, True])
def test_a_torn_write_gives_the_old_or_the_new_state(
    rng: random.Random, is_snapshot: bool
) -> None:
    """Any part of a write may be missing when the process is killed in it."""
    memory = bytearray(MEMORY)
    old = history(memory, rng)[-1]
    assert old is not None
    before = bytes(memory)
    vault = Vault(memory)
    if is_snapshot:
        new = some_state(rng, 2)
        changes = writes_of(memory, lambda: vault.save(new))
    else:
        peer = progressed(old.peers[1], 77)
        new = replaced(old, peer)
        changes = writes_of(memory, lambda: vault.save_progress(peer))
    assert changes
    for count in range(len(changes) + 1):
        for chosen in (changes[:count], changes[count:], rng.sample(changes, count)):
            torn = bytearray(before)
            for position, byte in chosen:
                torn[position : position + 1] = byte
            assert Vault(torn).load() in (old, new), f"{count} bytes"


@given(st.binary(min_size=256, max_size=512))
def test_any_memory_can_be_opened(content: bytes) -> None:
    """Noise is no state, and no error either."""
    assert Vault(bytearray(content)).load() is None


def test_a_full_log_becomes_a_snapshot(rng: random.Random) -> None:
    """Progress never ends: the halves take turns, and nothing is lost."""
    memory = bytearray(MEMORY)
    vault = Vault(memory)
    state = some_state(rng, 2)
    vault.save(state)
    for step in range(500):
        peer = progressed(state.peers[step % 2], step)
        vault.save_progress(peer)
        state = replaced(state, peer)
        if step % 50 == 0:
            assert Vault(memory).load() == state
    assert vault.load() == Vault(memory).load() == state


def test_a_state_that_is_too_big_leaves_the_old_one(rng: random.Random) -> None:
    """The refusal names the remedy, and what was saved before still stands."""
    memory = bytearray(MEMORY)
    vault = Vault(memory)
    state = some_state(rng, 2)
    vault.save(state)
    with pytest.raises(HostError, match="fewer peers") as refusal:
        vault.save(some_state(rng, 100))
    assert refusal.value.errno == 28
    assert vault.load() == Vault(memory).load() == state


def test_a_hundred_thousand_prefixes_fit(rng: random.Random) -> None:
    """The real size has room for 130,560 allowed IPs, and progress stays small."""
    from meshnode.node.shared import VAULT_BYTES

    memory = bytearray(VAULT_BYTES)
    peer = replace(
        some_state(rng, 1).peers[0],
        allowed_ips=[Prefix(4, n << 8, 24) for n in range(65_280)]
        + [Prefix(6, n << 64, 64) for n in range(65_280)],
    )
    vault = Vault(memory)
    vault.save(DeviceState(peers=[peer]))
    vault.save_progress(progressed(peer, 5))
    loaded = Vault(memory).load()
    assert loaded == DeviceState(peers=[progressed(peer, 5)])
