"""One attempt to find a direct path to a member: what was tried, and what became of it.

`Timing` of it all is in seconds from the moment the member is known to expect us.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

from meshnode.codec.messages import CallMe
from meshnode.codec.records import Endpoints, NatHint
from meshnode.mesh.punch_search import Search
from meshnode.types import Endpoint, Path
from meshnode.values import frozen

ROUNDS: Final = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""When all candidates that did not answer are probed."""

CALL_AGAIN: Final = (0.2, 0.5, 1.0)
"""When an unanswered call is repeated, in seconds after the first."""

HOLD_OFF: Final = 0.1
"""For so long the datagrams of who is perhaps not expected yet must not arrive."""

LASTS: Final = 3.0
LASTS_SEARCHING: Final = 6.0
AFTER_SUCCESS: Final = 1.0
"""How long an attempt goes on; after a success others may still answer."""

MAX_TRIED: Final = 64
"""Candidates of one attempt, without those of a search."""


class How(enum.Enum):
    """How a candidate came to be tried."""

    TOLD = "told by the member"
    TRANSLATED = "behind our network's NAT64"
    PREDICTED = "the next of a sequence"
    HEARD = "a probe came from there"
    SEARCHED = "searched for"


@frozen
class Told:
    """What a member says of where it is; see `CallMe`."""

    candidates: tuple[Endpoint, ...]
    seen: Endpoint | None
    nat: NatHint

    @classmethod
    def by_record(cls, record: Endpoints) -> "Told":
        """Return what its endpoint record says."""
        return cls(record.candidates, None, record.nat)

    @classmethod
    def by_call(cls, call: CallMe) -> "Told":
        """Return what its call says."""
        return cls(call.candidates, call.seen, call.nat)


@frozen
class Attempt:
    """A candidate, for people: how many probes went there, and their fate.

    `milliseconds` is after how long it answered, None if it did not; `openers` went a
    few hops only. Port 0 stands for all ports that a search tried.
    """

    endpoint: Endpoint
    how: How
    openers: int
    pings: int
    milliseconds: float | None


@dataclass(slots=True)
class Tried:
    """A candidate as it is tried; `path` is that of a probe from there, if one came."""

    how: How
    path: Path
    openers: int = 0
    pings: int = 0
    seconds: float | None = None
    pinged_at: float = float("-inf")


@dataclass(slots=True)
class Running:
    """An attempt that goes on.

    `call` names it, ours if `is_caller`; it `is_early` until that is said in a session.
    `rounds` are the moments of those to come, and `full_at` is from when on probes go
    as far as they can. `searched` counts the tries of the search, which have port 0
    together. `found` are the paths that answered.
    """

    call: int
    is_caller: bool
    told: Told
    ends_at: float
    full_at: float = float("inf")
    is_answered: bool = False
    is_early: bool = False
    calls: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    tried: dict[tuple[Endpoint, int], Tried] = field(default_factory=dict)
    opened: dict[Endpoint, None] = field(default_factory=dict)
    search: Search | None = None
    searched: Tried | None = None
    found: dict[tuple[Endpoint, int], None] = field(default_factory=dict)

    def add(self, endpoint: Endpoint, how: How, path: Path | None = None) -> Tried:
        """Return the candidate there, a new one if it was not tried yet."""
        place = endpoint, 0 if path is None else path.port
        known = self.tried.get(place)
        if known is None:
            known = self.tried[place] = Tried(how, path or Path(endpoint))
        elif path is not None:
            known.path = path
        return known

    def expects(self, host: str) -> bool:
        """Whether the member has told of an address that it comes from."""
        return any(
            endpoint.host == host and tried.how is not How.HEARD
            for (endpoint, _), tried in self.tried.items()
        )

    def next_at(self) -> float:
        """Return when there is something to do."""
        search_at = None if self.search is None else self.search.next_at()
        moments = [self.ends_at, *self.calls[:1], *self.rounds[:1]]
        return min(moments if search_at is None else [*moments, search_at])

    def describe(self) -> tuple[Attempt, ...]:
        """Return each candidate and its fate."""
        all_tried = [(endpoint, tried) for (endpoint, _), tried in self.tried.items()]
        if self.searched is not None:
            all_tried.append((self.searched.path.remote, self.searched))
        return tuple(
            [
                Attempt(
                    endpoint,
                    tried.how,
                    tried.openers,
                    tried.pings,
                    None if tried.seconds is None else 1000 * tried.seconds,
                )
                for endpoint, tried in all_tried
            ]
        )
