"""The digest tree against sums over a dictionary."""

import random

import pytest

from meshnode.mesh.digests import DigestTree


def is_below(id: bytes, prefix: bytes) -> bool:
    """Whether the nibbles of *id* begin with *prefix*."""
    nibbles = bytes(int(digit, 16) for digit in id.hex())
    return nibbles.startswith(prefix)


def total(entries: dict[bytes, bytes], prefix: bytes) -> bytes:
    """Return the sum of the fingerprints below *prefix*."""
    found = [
        int.from_bytes(v, "big") for k, v in entries.items() if is_below(k, prefix)
    ]
    return (sum(found) % 2**64).to_bytes(8, "big")


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_sums(seed: int) -> None:
    """After every change, at every level, digest, count and entries are right."""
    rng = random.Random(seed)
    tree = DigestTree()
    entries: dict[bytes, bytes] = {}
    heads = [rng.randbytes(n) for n in (0, 1, 3, 6, 7)]
    for step in range(300):
        where = f"seed {seed}, step {step}"
        id = (rng.choice(heads) + rng.randbytes(8))[:8]
        if rng.random() < 0.3 and entries:
            id = rng.choice(sorted(entries))
        if rng.random() < 0.3:
            tree.remove(id)
            entries.pop(id, None)
        else:
            entries[id] = rng.randbytes(8)
            tree.add(id, entries[id])
        nibbles = bytes(int(digit, 16) for digit in id.hex())
        prefix = nibbles[: rng.randrange(16)]
        below = sorted((k, v) for k, v in entries.items() if is_below(k, prefix))
        assert tree.root == (total(entries, b""), len(entries)), where
        assert tree.count(prefix) == len(below), where
        assert list(tree.entries(prefix)) == below, where
        children = tree.children(prefix)
        for child in range(16):
            expected = total(entries, prefix + bytes((child,)))
            assert children[child] == expected, f"{where}, child {child}"
