"""Where a peer is, and where else it may be: whom an initiation is sent to.

Theory of operation. The *path* is where the peer was configured or last heard from. A
mesh knows *candidates* besides. As long as the path is proven, an initiation goes to
it alone. It is in doubt from the moment the candidates change, something went
unanswered, or the path was configured anew, until something authenticated arrives.
While it is, copies of the one initiation go to every candidate; they cost the peer
nothing, for it takes an initiation once. The first answer settles the path.

A candidate that becomes known while an initiation waits for its answer gets a copy at
once: so nothing is sent to one place twice within REKEY_TIMEOUT, and no answer on its
way is made worthless by a newer initiation.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.crypto.keys import PublicKey
from meshnode.forwarding import SetEndpoint
from meshnode.ports import NEVER
from meshnode.types import Endpoint, Path
from meshnode.wireguard.events import (
    EndpointWanted,
    HandshakeBegun,
    PathChanged,
    PeerStateChanged,
)
from meshnode.wireguard.shared import Shared

MAX_CANDIDATES: Final = 8
"""Candidates of one peer; more are not tried."""

WANTED_INTERVAL: Final = 1.0
"""Seconds between two `EndpointWanted` of one peer."""


class Dialler:
    """Sends the initiations of one peer to where it may be.

    Attributes that may be read: `path`, `candidates`. A peer that `is_sought` is asked
    after whenever it does not answer.
    """

    __slots__ = (
        "_dialled",
        "_doubted_at",
        "_initiation",
        "_public_key",
        "_shared",
        "_slot",
        "_wanted_at",
        "candidates",
        "is_sought",
        "path",
    )

    def __init__(self, shared: Shared, slot: int, public_key: PublicKey) -> None:
        self.path: Path | None = None
        self.candidates: tuple[Endpoint, ...] = ()
        self.is_sought = False
        self._shared = shared
        self._slot = slot
        self._public_key = public_key
        self._doubted_at = NEVER
        self._wanted_at = NEVER
        # The initiation that waits for an answer, and where it went.
        self._initiation = b""
        self._dialled: tuple[Endpoint, ...] = ()

    def set_path(self, path: Path | None, *, now: float) -> None:
        """Send to *path* from now on."""
        if path == self.path:
            return
        self.path = path
        self._shared.command(SetEndpoint(self._slot, path), now=now)
        self._shared.report(PeerStateChanged(self._slot), now=now)
        self._shared.report(PathChanged(self._slot, self._public_key), now=now)

    def set_endpoint(self, endpoint: Endpoint, *, now: float) -> None:
        """Send to *endpoint*, which somebody configured and nothing has proven.

        The same endpoint again keeps the source address that works with it.
        """
        if self.path is None or self.path.remote != endpoint:
            self.set_path(Path(endpoint), now=now)
            self._doubted_at = now

    def set_candidates(self, endpoints: Iterable[Endpoint], *, now: float) -> bool:
        """Keep the first `MAX_CANDIDATES` different ones; return whether any is new.

        The same ones in another order prove or doubt nothing.
        """
        before = set(self.candidates)
        self.candidates = tuple(dict.fromkeys(endpoints))[:MAX_CANDIDATES]
        if before != set(self.candidates):
            self._doubted_at = now
        return not before.issuperset(self.candidates)

    def doubt(self, *, now: float) -> None:
        """Something went unanswered: try the other places too, and ask for more."""
        self._doubted_at = now
        self._forget_source(now)
        if self.is_sought:
            self.want(now=now)

    def want(self, *, now: float) -> None:
        """Ask whoever knows where the peer is, at most once a second."""
        if now - self._wanted_at >= WANTED_INTERVAL:
            self._wanted_at = now
            event = EndpointWanted(self._slot, self._public_key)
            self._shared.report(event, now=now)

    def has_target(self) -> bool:
        """Whether there is any place to send an initiation to."""
        return self.path is not None or bool(self.candidates)

    def dial(self, initiation: bytes, *, now: float) -> None:
        """Send *initiation*, fresh and stamped, to all places worth trying."""
        self._initiation = initiation
        self._dialled = ()
        self._send_to(self._targets(), now)

    def dial_others(self, *, now: float) -> bool:
        """Send the initiation that waits for an answer to where it did not go yet.

        Returns:
            False if none waits.
        """
        if not self._initiation:
            return False
        others = [p for p in self._targets() if p.remote not in self._dialled]
        self._send_to(others, now)
        return True

    def note_answer(self) -> None:
        """The initiation was answered, or is void, or the peer was heard meanwhile."""
        self._initiation = b""

    def note_timeout(self, *, now: float) -> None:
        """It is time for the next attempt; if there was one before, it failed."""
        if self._initiation:
            self.doubt(now=now)
        else:
            self._forget_source(now)

    def _forget_source(self, now: float) -> None:
        """Let the kernel choose our source address again: it may be the fault."""
        if self.path is not None and self.path.source is not None:
            self.set_path(Path(self.path.remote), now=now)

    def _targets(self) -> list[Path]:
        path = self.path
        if path is None:
            return [Path(endpoint) for endpoint in self.candidates]
        heard_at = self._shared.traffic.read(self._slot).last_received_at
        if heard_at > self._doubted_at:
            return [path]
        others = [Path(other) for other in self.candidates if other != path.remote]
        return [path, *others]

    def _send_to(self, paths: list[Path], now: float) -> None:
        if not paths:
            return
        endpoints = tuple([path.remote for path in paths])
        self._dialled += endpoints
        begun = HandshakeBegun(self._slot, self._public_key, endpoints)
        self._shared.report(begun, now=now)
        size = len(self._initiation)
        for path in paths:
            self._shared.send(self._initiation, path, now=now)
            self._shared.traffic.count_handshake(self._slot, sent=size, now=now)
