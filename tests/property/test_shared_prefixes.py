"""Routes with shares against a list that is searched whole."""

import random

from meshnode.dataplane.flows import choose_owner, flow_of
from meshnode.dataplane.routes import Owners, Routes
from meshnode.forwarding import ShareOfPrefix, SharePrefix
from meshnode.types import Prefix

SLOTS = 8
STEPS = 3000


class ListOracle:
    """Every prefix with a slot or a share, and every question walks over all."""

    def __init__(self) -> None:
        self.entries: dict[Prefix, int | SharePrefix] = {}

    def remove_slot(self, slot: int) -> None:
        """Take everything from *slot*."""
        for prefix, owner in list(self.entries.items()):
            if owner == slot:
                del self.entries[prefix]
            elif isinstance(owner, SharePrefix):
                forward = tuple(o for o in owner.forward if o.slot != slot)
                accept = tuple(s for s in owner.accept if s != slot)
                self.entries[prefix] = SharePrefix(prefix, forward, accept)
                if not forward:
                    del self.entries[prefix]

    def find(self, address: bytes) -> int | SharePrefix | None:
        """Return the owner or the share of the longest prefix."""
        version, bits = (4, 32) if len(address) == 4 else (6, 128)
        number = int.from_bytes(address, "big")
        holding = []
        for prefix in self.entries:
            shift = bits - prefix.length
            if prefix.version == version and number >> shift == prefix.network >> shift:
                holding.append(prefix)
        if not holding:
            return None
        return self.entries[max(holding, key=lambda prefix: prefix.length)]


def some_prefix(rng: random.Random) -> Prefix:
    """Return a prefix among few, so that they meet again and overlap."""
    version = rng.choice((4, 6))
    bits = 32 if version == 4 else 128
    length = rng.choice((0, 1, 2, 8, bits))
    top = rng.randrange(4) << (bits - 2)
    return Prefix(version, top >> (bits - length) << (bits - length), length)


def some_share(rng: random.Random, prefix: Prefix) -> SharePrefix:
    """Share *prefix* at random; some slots are unknown."""
    some = rng.sample(range(SLOTS + 2), rng.randint(1, 5))
    forward = tuple(ShareOfPrefix(slot, rng.randint(1, 3)) for slot in some)
    return SharePrefix(prefix, forward, tuple(some[: rng.randint(0, 5)]))


def some_packet(rng: random.Random) -> bytes:
    """Return the head of a TCP packet to somewhere near the prefixes."""
    ports, first, last = rng.randbytes(4), rng.randrange(4) << 6, rng.randrange(2)
    if rng.random() < 0.5:
        head = b"\x45" + bytes(8) + b"\x06" + bytes(2) + rng.randbytes(4)
        return head + bytes((first, 0, 0, last)) + ports
    head = b"\x60" + bytes(5) + b"\x06\x40" + rng.randbytes(16)
    return head + bytes((first, *bytes(14), last)) + ports


def change_both(rng: random.Random, routes: Routes, oracle: ListOracle) -> None:
    """Do one thing at random to the routes and to the list."""
    prefix, slot, known = some_prefix(rng), rng.randrange(SLOTS), range(SLOTS)
    match rng.randrange(8):
        case 0 | 1:
            routes.insert(prefix, slot)
            oracle.entries[prefix] = slot
        case 2 | 3 | 4:
            share = some_share(rng, prefix)
            routes.share(share, known)
            forward = tuple(o for o in share.forward if o.slot in known)
            accept = tuple(s for s in share.accept if s in known)
            if forward:
                oracle.entries[prefix] = SharePrefix(prefix, forward, accept)
        case 5:
            routes.remove(prefix, slot)
            if oracle.entries.get(prefix) == slot:
                del oracle.entries[prefix]
        case 6:
            routes.unshare(prefix)
            if isinstance(oracle.entries.get(prefix), SharePrefix):
                del oracle.entries[prefix]
        case _ if rng.random() < 0.3:
            routes.remove_slot(slot)
            oracle.remove_slot(slot)


def test_routes_agree_with_the_list(rng: random.Random) -> None:
    """After any history, every packet goes, and may come, as the list says."""
    routes, oracle = Routes(), ListOracle()
    shared = 0
    for step in range(STEPS):
        change_both(rng, routes, oracle)
        for _ in range(3):
            packet = some_packet(rng)
            address = packet[16:20] if packet[0] >> 4 == 4 else packet[24:40]
            found, wanted = routes.lookup(address), oracle.find(address)
            if not isinstance(wanted, SharePrefix):
                assert found == wanted, (step, address.hex())
                continue
            shared += 1
            assert isinstance(found, Owners), (step, address.hex())
            assert found.accept == set(wanted.accept), step
            chosen = choose_owner(flow_of(packet), wanted.forward)
            assert found.owner_of(packet) == chosen, (step, packet.hex())
    assert shared > STEPS // 2
