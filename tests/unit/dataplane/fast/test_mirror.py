"""The compiled tables follow the routes that Python keeps."""

import random

from meshnode.dataplane.fast.mirror import MirroredRoutes, MirroredSessions
from meshnode.dataplane.fast.sessions import OpenSession
from meshnode.dataplane.routes import Owners
from meshnode.forwarding import Session, ShareOfPrefix, SharePrefix
from meshnode.types import Prefix


def test_whatever_is_given_and_taken_both_say_the_same(rng: random.Random) -> None:
    """Prefixes of one owner and of several, in any order."""
    routes = MirroredRoutes()
    texts = ("10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/23", "fd00::/16")
    prefixes = [Prefix.parse(text) for text in texts]
    for _ in range(4000):
        prefix = rng.choice(prefixes)
        slot = rng.randrange(4)
        match rng.randrange(5):
            case 0 | 1:
                routes.insert(prefix, slot)
            case 2:
                routes.remove(prefix, slot)
            case 3:
                shares = (ShareOfPrefix(slot, 1), ShareOfPrefix(slot + 4, 2))
                routes.share(SharePrefix(prefix, shares, (slot, slot + 4)), range(9))
            case 4 if rng.random() < 0.3:
                routes.remove_slot(slot)
            case _:
                routes.unshare(prefix)
        for address in (bytes((10, 0, rng.randrange(5), 1)), b"\xfd" + bytes(15)):
            found = routes.lookup(address)
            table = routes.prefixes.tables[4 if len(address) == 4 else 6]
            number = table.get(address)
            if isinstance(found, Owners):
                assert routes.prefixes.shared[number] is found
            else:
                assert number == (-1 if found is None else found)
    owners = routes.prefixes.shared
    assert len(owners) <= len(prefixes), "owners that nobody asks for are kept"


def test_sessions_are_found_as_long_as_they_are_kept() -> None:
    """By their index."""
    sessions = MirroredSessions()
    made = OpenSession(1, Session(7, 9, bytes(32), bytes(32), 1.0, False))
    sessions[7] = made
    assert 7 in sessions.table
    assert sessions[7] is made
    del sessions[7]
    assert 7 not in sessions.table
