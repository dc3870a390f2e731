"""What the choice of paths needs from relays and from the search for direct ones."""

from typing import Protocol

from meshnode.types import Endpoint
from meshnode.values import frozen


@frozen
class RelayWay:
    """A channel to a member, by the relays with the keys *relays*, ours first.

    `milliseconds` is the round trip to the member, None as long as nobody knows;
    `is_open` whether the relay said that it forwards.
    """

    endpoint: Endpoint
    relays: tuple[bytes, ...]
    milliseconds: int | None
    is_open: bool


class RelayWays(Protocol):
    """Channels to members, by WireGuard key."""

    def want(self, key: bytes, *, now: float) -> None:
        """Keep channels to this member by the best relays; may be said again."""

    def drop(self, key: bytes, *, now: float) -> None:
        """Close them: nobody needs them any more."""

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return the endpoints of our channels to it, the best first."""

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return the same, with what is known of each."""


class Seeker(Protocol):
    """Looks for direct paths, by WireGuard key."""

    def want(self, key: bytes, *, now: float) -> None:
        """Look for one; may be said again."""

    def stop(self, key: bytes) -> None:
        """Look no more: one is found, or nobody needs it."""


class NoRelays:
    """`RelayWays` where nobody relays."""

    def want(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def drop(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def ways(self, key: bytes) -> tuple[Endpoint, ...]:
        """Return none."""
        return ()

    def describe(self, key: bytes) -> tuple[RelayWay, ...]:
        """Return none."""
        return ()


class NoSeeker:
    """`Seeker` where nobody looks."""

    def want(self, key: bytes, *, now: float) -> None:
        """Do nothing."""

    def stop(self, key: bytes) -> None:
        """Do nothing."""
