"""Random states of a device, for the tests of what keeps them."""

import random

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.types import Endpoint, Path, Prefix, Source
from meshnode.wireguard.config import DeviceState, PeerState

PREFIXES = ["0.0.0.0/0", "10.1.2.0/24", "255.255.255.255/32", "::/0", "fd00::1/128"]


def some_peer(rng: random.Random, slot: int) -> PeerState:
    """Return a peer with random values of every kind."""
    endpoints = [Endpoint("192.0.2.1", 1), Endpoint("fe80::1", 65535, 7)]
    sources = [None, Source("192.0.2.9", 3), Source("fe80::2", 0)]
    paths = [None, *(Path(e, s) for e in endpoints for s in sources)]
    return PeerState(
        slot=slot,
        public_key=PublicKey(rng.randbytes(32)),
        preshared_key=PresharedKey(rng.randbytes(32)),
        path=rng.choice(paths),
        persistent_keepalive=rng.randrange(65536),
        latest_timestamp=rng.randbytes(12),
        last_handshake=rng.random() * 2e9,
        allowed_ips=[Prefix.parse(p) for p in rng.sample(PREFIXES, rng.randrange(5))],
        is_sought=rng.random() < 0.5,
    )


def some_state(rng: random.Random, peers: int) -> DeviceState:
    """Return a device with that many random peers."""
    return DeviceState(
        private_key=rng.choice([None, PrivateKey(rng.randbytes(32))]),
        listen_port=rng.randrange(65536),
        fwmark=rng.randrange(2**32),
        peers=[some_peer(rng, slot) for slot in range(peers)],
    )
