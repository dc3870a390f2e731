"""Highest-random-weight order: everybody ranks the same members alike, for one key.

Who serves a key is thus known without asking, the load spreads evenly, and when a
server comes or goes, only the keys it serves move.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.crypto.primitives import mac

_LABEL: Final = b"meshnode/1 rank:"


def rank_by_hash(subject: bytes, servers: Iterable[bytes]) -> list[bytes]:
    """Return the keys *servers* ordered for the key *subject*, the best first."""
    return sorted(servers, key=lambda server: mac(subject, _LABEL + server))
