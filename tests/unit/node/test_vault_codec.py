"""Bytes of the state that a control process leaves."""

import random
from dataclasses import replace

import msgpack
import pytest

from meshnode.node.vault_codec import (
    VERSION,
    apply_progress,
    decode_state,
    encode_progress,
    encode_state,
)
from meshnode.types import Prefix
from meshnode.wireguard.config import DeviceState, PeerState
from tests.unit.node.states import some_peer, some_state


def test_a_snapshot_comes_back_equal(rng: random.Random) -> None:
    """Whatever a device holds, the next control process gets the same."""
    for peers in (0, 1, 5, 50):
        state = some_state(rng, peers)
        assert decode_state(encode_state(state)) == state


def test_progress_changes_what_handshakes_change(rng: random.Random) -> None:
    """Path, timestamp and last handshake move; configuration does not."""
    before, after = some_peer(rng, 3), some_peer(rng, 3)
    peers = {3: before}
    apply_progress(peers, encode_progress(after))
    assert peers[3] == replace(
        before,
        path=after.path,
        latest_timestamp=after.latest_timestamp,
        last_handshake=after.last_handshake,
    )


def test_progress_of_a_peer_that_is_gone_is_skipped(rng: random.Random) -> None:
    """A record for a slot without a peer makes none."""
    peers: dict[int, PeerState] = {}
    apply_progress(peers, encode_progress(some_peer(rng, 3)))
    assert peers == {}


def test_progress_does_not_carry_allowed_ips(rng: random.Random) -> None:
    """A handshake costs the same whatever was configured."""
    peer = some_peer(rng, 0)
    many = replace(peer, allowed_ips=[Prefix(4, n << 8, 24) for n in range(10_000)])
    assert encode_progress(many) == encode_progress(peer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb([VERSION + 1, None, 0, 0, []]),
        msgpack.packb([VERSION, b"short", 0, 0, []]),
        msgpack.packb([VERSION, None, 0, 0, [[1, 2]]]),
        msgpack.packb({"a": 1}),
    ],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    """Other bytes than ours raise ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011  every kind of it
        decode_state(data)


def test_a_cut_prefix_is_refused(rng: random.Random) -> None:
    """Allowed IPs that end within an address are not half a prefix."""
    peer = replace(some_peer(rng, 0), allowed_ips=[Prefix.parse("10.0.0.0/8")])
    plain = msgpack.unpackb(encode_state(DeviceState(peers=[peer])))
    plain[4][0][7] = plain[4][0][7][:-1]
    with pytest.raises(ValueError, match="cut off"):
        decode_state(msgpack.packb(plain))
