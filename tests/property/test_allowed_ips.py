"""Cryptokey routing against a list that is searched whole.

After the random-route self-test of the kernel: prefixes, mutations of them, many
queries near them, and here also moves and removals in between.
"""

import random

import pytest

from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import AllowedIps


class ListOracle:
    """A routing table that is obviously right."""

    def __init__(self) -> None:
        self.entries: list[tuple[Prefix, int]] = []

    def insert(self, prefix: Prefix, owner: int) -> int | None:
        """As `AllowedIps.insert`."""
        previous = self.owner_of(prefix)
        if previous != owner:
            self.entries = [e for e in self.entries if e[0] != prefix]
            self.entries.append((prefix, owner))
        return previous

    def remove(self, prefix: Prefix, owner: int) -> bool:
        """As `AllowedIps.remove`."""
        found = (prefix, owner) in self.entries
        self.entries = [e for e in self.entries if e != (prefix, owner)]
        return found

    def remove_owner(self, owner: int) -> None:
        """As `AllowedIps.remove_owner`."""
        self.entries = [e for e in self.entries if e[1] != owner]

    def owner_of(self, prefix: Prefix) -> int | None:
        """As `AllowedIps.owner_of`."""
        return next((o for held, o in self.entries if held == prefix), None)

    def prefixes_of(self, owner: int) -> list[Prefix]:
        """As `AllowedIps.prefixes_of`."""
        return [prefix for prefix, o in self.entries if o == owner]

    def lookup(self, address: bytes) -> int | None:
        """Compare *address* with every prefix there is."""
        version = 4 if len(address) == 4 else 6
        number = int.from_bytes(address, "big")
        best: tuple[int, int] | None = None
        for prefix, owner in self.entries:
            shift = 8 * len(address) - prefix.length
            if prefix.version != version or number >> shift != prefix.network >> shift:
                continue
            if best is None or prefix.length > best[0]:
                best = (prefix.length, owner)
        return None if best is None else best[1]


def masked(version: int, number: int, length: int) -> Prefix:
    """Return the prefix of that length that holds the address *number*."""
    shift = (32 if version == 4 else 128) - length
    return Prefix(version, number >> shift << shift, length)


class Draw:
    """Random prefixes and addresses, most of them close to earlier ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.bases: dict[int, list[int]] = {4: [], 6: []}

    def number(self, version: int) -> int:
        """Return an address: new, or one drawn before with its tail changed."""
        bits = 32 if version == 4 else 128
        known = self.bases[version]
        if not known or self.rng.random() < 0.2:
            known.append(self.rng.getrandbits(bits))
            return known[-1]
        return self.rng.choice(known) ^ self.rng.getrandbits(
            self.rng.randrange(1, bits)
        )

    def prefix(self) -> Prefix:
        """Return a prefix of any length around such an address."""
        version = self.rng.choice((4, 6))
        length = self.rng.randint(0, 32 if version == 4 else 128)
        return masked(version, self.number(version), length)

    def address(self) -> bytes:
        """Return such an address as its octets."""
        version = self.rng.choice((4, 6))
        return self.number(version).to_bytes(4 if version == 4 else 16, "big")


def change(routes: AllowedIps[int], oracle: ListOracle, draw: Draw, where: str) -> None:
    """Do one random change to both tables and compare what they say of it."""
    kind = draw.rng.random()
    owner = draw.rng.randrange(12)
    held = draw.rng.choice(oracle.entries) if oracle.entries else None
    if kind < 0.55 or held is None:
        prefix = draw.prefix()
        assert routes.insert(prefix, owner) == oracle.insert(prefix, owner), where
    elif kind < 0.75:
        assert routes.insert(held[0], owner) == oracle.insert(held[0], owner), where
    elif kind < 0.9:
        assert routes.remove(*held) is oracle.remove(*held) is True, where
    elif kind < 0.97:
        prefix = draw.prefix()
        assert routes.remove(prefix, owner) is oracle.remove(prefix, owner), where
    else:
        routes.remove_owner(owner)
        oracle.remove_owner(owner)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_oracle(seed: int) -> None:
    """Through inserts, moves and removals every answer is that of the list."""
    draw = Draw(random.Random(seed))
    routes: AllowedIps[int] = AllowedIps()
    oracle = ListOracle()
    for step in range(600):
        where = f"seed {seed}, step {step}"
        change(routes, oracle, draw, where)
        for _ in range(6):
            address = draw.address()
            expected = oracle.lookup(address)
            assert routes.lookup(address) == expected, f"{where}, {address.hex()}"
            assert routes.lookup(address) == expected, f"{where}, from the cache"
        prefix = draw.prefix()
        assert routes.owner_of(prefix) == oracle.owner_of(prefix), where
        owner = draw.rng.randrange(12)
        assert routes.prefixes_of(owner) == oracle.prefixes_of(owner), where
