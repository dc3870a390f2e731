"""Rendezvous hashing: parts by weight, and as few moves as there can be."""

import random

from hypothesis import given
from hypothesis import strategies as st

from meshnode.dataplane.flows import choose_owner
from meshnode.forwarding import ShareOfPrefix

FLOWS = 4000
SHARES = st.lists(
    st.builds(ShareOfPrefix, st.integers(0, 65535), st.integers(1, 255)),
    min_size=1,
    max_size=16,
    unique_by=lambda share: share.slot,
)
FLOW = st.binary(min_size=9, max_size=37)


def counts(
    rng: random.Random, owners: list[ShareOfPrefix], flows: int = FLOWS
) -> dict[int, int]:
    """Return how many of many random flows each slot gets."""
    got = dict.fromkeys((owner.slot for owner in owners), 0)
    for _ in range(flows):
        got[choose_owner(rng.randbytes(13), owners)] += 1
    return got


def test_owners_get_their_part(rng: random.Random) -> None:
    """Within six standard deviations of what the weights say."""
    for _ in range(5):
        slots = rng.sample(range(65536), rng.randint(2, 8))
        owners = [ShareOfPrefix(slot, rng.randint(1, 255)) for slot in slots]
        total = sum(owner.weight for owner in owners)
        got = counts(rng, owners)
        for owner in owners:
            part = owner.weight / total
            spread = (FLOWS * part * (1 - part)) ** 0.5
            assert abs(got[owner.slot] - FLOWS * part) <= 6 * spread + 1, owners


def test_neighbouring_flows_are_spread(rng: random.Random) -> None:
    """Ports that count up are as good as random ones."""
    owners = [ShareOfPrefix(slot, 1) for slot in range(4)]
    base = rng.randbytes(9)
    got = dict.fromkeys(range(4), 0)
    for port in range(FLOWS):
        got[choose_owner(base + port.to_bytes(4, "big"), owners)] += 1
    assert all(abs(count - FLOWS / 4) < 170 for count in got.values()), got


@given(SHARES, FLOW, st.data())
def test_a_flow_moves_only_if_its_owner_goes(
    owners: list[ShareOfPrefix], flow: bytes, data: st.DataObject
) -> None:
    """Whoever else goes, and in whatever order they stand."""
    chosen = choose_owner(flow, owners)
    assert chosen in {owner.slot for owner in owners}
    gone = data.draw(st.sampled_from(owners))
    rest = data.draw(st.permutations([owner for owner in owners if owner != gone]))
    if gone.slot != chosen:
        assert choose_owner(flow, rest) == chosen


@given(SHARES, FLOW, st.integers(0, 65535), st.integers(1, 255))
def test_a_new_owner_takes_flows_only_for_itself(
    owners: list[ShareOfPrefix], flow: bytes, slot: int, weight: int
) -> None:
    """Nothing moves between those who were there."""
    known = [owner for owner in owners if owner.slot != slot]
    if known:
        after = choose_owner(flow, [*known, ShareOfPrefix(slot, weight)])
        assert after in (slot, choose_owner(flow, known))


@given(SHARES, FLOW)
def test_more_weight_never_loses_a_flow(
    owners: list[ShareOfPrefix], flow: bytes
) -> None:
    """An owner keeps what it had when it gets heavier."""
    chosen = choose_owner(flow, owners)
    heavier = [
        ShareOfPrefix(owner.slot, 255 if owner.slot == chosen else owner.weight)
        for owner in owners
    ]
    assert choose_owner(flow, heavier) == chosen
