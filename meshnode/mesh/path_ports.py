"""What the choice of paths needs from relays and from the search for direct ones."""

from typing import Protocol

from meshnode.mesh.relays import RelayWay
from meshnode.types import Endpoint


class RelayWays(Protocol):
    """Channels to members, by WireGuard key."""

    def want(self, key: bytes, *, now: float) -> None:
        """Keep channels to this member by the best relays; may be said again."""

    def drop(self, key: bytes, *, now: float) -> None:
        """Close them: nobody needs them any more."""

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return the endpoints of our channels to it, the best first."""

    @property
    def are_known(self) -> bool:
        """Whether any member but us may serve as a relay."""

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return the same, with what is known of each."""


class Seeker(Protocol):
    """Looks for direct paths, by WireGuard key."""

    def want(self, key: bytes, *, now: float) -> None:
        """Look for one; may be said again."""

    def stop(self, key: bytes) -> None:
        """Look no more: one is found, or nobody needs it."""
