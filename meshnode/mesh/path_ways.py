"""One path to a member, and what its probes say of it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from meshnode.channels import channel_of
from meshnode.mesh.path_choice import Measured, PathKind
from meshnode.ports import NEVER
from meshnode.types import Endpoint, Path

PROBES: Final = 32
"""Of a path that loss is counted over."""

LOST_AFTER: Final = 1.0
"""Seconds after which a probe counts as lost."""

ANSWERS_TO_RETURN: Final = 2
"""In a row, until a path that had died is alive again."""

RETRY: Final = 2.0
MAX_RETRY: Final = 8.0
"""Seconds between two probes of a dead path: more each time that it soon died again."""

STEADY: Final = 60.0
"""Seconds that a path must have lived for its death to be the first again."""

CANDIDATE_PAUSES: Final = (0.15, 0.15, 0.3, 0.6, 1.2)
"""Seconds between the probes of a path that has answered none yet."""

_SMOOTHING: Final = 1 / 8

Place = tuple[Endpoint, int]
"""What tells paths apart: the remote endpoint, and our port if it is another."""


def place_of(path: Path) -> Place:
    """Return what tells *path* from others."""
    return path.remote, path.port


class Quality:
    """Round trip and loss of one path, from the probes sent by it."""

    __slots__ = ("_fates", "_open", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._fates: deque[bool] = deque(maxlen=PROBES)
        self._open: dict[bytes, float] = {}

    @property
    def loss(self) -> float:
        """The share of the last probes that was lost."""
        if not self._fates:
            return 0.0
        return 1 - sum(self._fates) / len(self._fates)

    @property
    def sure_loss(self) -> float:
        """The same as if probes that were not sent yet had been answered.

        So the first lost one of a few says little.
        """
        return self._fates.count(False) / PROBES

    def ask(self, nonce: bytes, *, now: float) -> None:
        """Take note that a probe was sent."""
        self._open[nonce] = now

    def answer(self, nonce: bytes, *, now: float) -> bool:
        """Take an answer; return whether it is one to a probe of this path."""
        sent_at = self._open.pop(nonce, None)
        if sent_at is None:
            return False
        self._fates.append(True)
        seconds = now - sent_at
        if self.seconds is None:
            self.seconds = seconds
        else:
            self.seconds += (seconds - self.seconds) * _SMOOTHING
        return True

    def give_up(self, *, now: float) -> int:
        """Count what was sent long ago as lost; return how many."""
        late = [nonce for nonce, at in self._open.items() if at + LOST_AFTER <= now]
        for nonce in late:
            del self._open[nonce]
            self._fates.append(False)
        return len(late)

    def forget(self) -> None:
        """Begin anew: what was measured says nothing of the path as it is now."""
        self._open.clear()
        self._fates.clear()


@dataclass(slots=True)
class Way:
    """A path, and how it stands.

    `is_open` is whether a relay says that it forwards. `died_at` is `NEVER` unless the
    path is dead; `asked` are the probes since its last answer, the last one at
    `asked_at`, `answers` the answers in a row, the last one at `ponged_at`. It is
    probed next at `next_at`.
    """

    path: Path
    kind: PathKind
    via: tuple[bytes, ...] = ()
    is_open: bool = False
    is_proven: bool = False
    proven_at: float = NEVER
    died_at: float = NEVER
    retry: float = RETRY
    asked: int = 0
    asked_at: float = NEVER
    ponged_at: float = NEVER
    answers: int = 0
    next_at: float = NEVER
    quality: Quality = field(default_factory=Quality)

    @property
    def is_relayed(self) -> bool:
        """Whether it is a channel of a relay."""
        return channel_of(self.path.remote) != 0

    @property
    def is_dead(self) -> bool:
        """Whether it was alive, and did not answer any more."""
        return self.died_at != NEVER

    @property
    def is_alive(self) -> bool:
        """Whether data may go by it."""
        return not self.is_dead and (self.is_proven or self.is_open)

    @property
    def is_candidate(self) -> bool:
        """Whether it has not answered yet, and was not asked often enough."""
        if self.is_relayed or self.is_proven or self.is_dead:
            return False
        return self.asked <= len(CANDIDATE_PAUSES)

    @property
    def measured(self) -> Measured:
        """The path as the choice between several sees it."""
        quality = self.quality
        return Measured(self.kind, quality.seconds, quality.sure_loss, len(self.via))

    def prove(self, *, now: float) -> None:
        """Something made the round trip by this very path."""
        if self.is_dead or not self.is_proven:
            # Until now something stood in the way, which is no loss of this path.
            self.quality.forget()
        if not self.is_proven or self.is_dead:
            self.proven_at = now
        self.is_proven = True
        self.died_at = NEVER

    def die(self, *, now: float) -> None:
        """It did not answer in time."""
        if self.is_proven and now < self.proven_at + STEADY:
            self.retry = min(self.retry * 2, MAX_RETRY)
        else:
            self.retry = RETRY
        self.is_proven = False
        self.died_at = now
        self.answers = 0
        self.next_at = now + self.retry

    def pause(self) -> float:
        """Return the seconds until the next probe of a path that is not alive."""
        if self.is_dead:
            return CANDIDATE_PAUSES[0] if self.answers else self.retry
        return CANDIDATE_PAUSES[min(self.asked, len(CANDIDATE_PAUSES)) - 1]
