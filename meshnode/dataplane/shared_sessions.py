"""What several workers must know of a session together: its counter and its window.

Theory of operation: every worker has the keys of every session, so two egress workers
seal under one key and two ingress workers open under one. A nonce must never be used
twice under a key, and a datagram never be accepted twice, whichever worker it meets. So
the send counter and the replay window of a session are in memory that all of them
share, at its *place*: one record of 64-bit words.

| word | holds | written by |
| --- | --- | --- |
| 0 | holders: bit k for egress k, bit 16 + k for ingress k | workers; control before |
| 1 | the counter of the next datagram | egress, by atomic addition |
| 2 | whether the place was ever given out | control |
| 3 | bits of holders that are dead | control |
| 8 | the greatest counter received + 1, 0 for none | ingress |
| 9–264 | the ring of the replay window | ingress |

A place outlives its session and serves another one later. That is where care is
needed, because a record that is set to zero while somebody still sends under the old
key is a nonce used twice:

* Control sets the bits of *all* workers before it sends the session to any of them,
  and each worker takes its own back when it lets go of the keys. So a worker that has
  not even read of the session counts as a holder: it may read of it, and send, long
  after the others have forgotten it.
* A place is given out again when its session was retired and nobody holds it. It is
  set to zero then, and not when the session ends.
* A bit is taken from word 0 by its owner only, atomically, for others change theirs at
  the same moment. So control clears no bit of a worker that died but notes in word 3
  that it means nothing; a worker that takes its place never gets to know a session of
  before.
* Places rest before they are given out again, the longest rested first. Nothing above
  depends on it.

The memory outlives control, and the next one needs nothing but the memory: whatever was
given out and has no holder is free. What a link lost on its way to a worker keeps its
place for ever, which costs memory and nothing else.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from meshnode.forwarding import MAX_WORKERS
from meshnode.wireguard.constants import MAX_PEERS

if TYPE_CHECKING:
    from typing_extensions import Buffer

RECORD_WORDS: Final = 272
"""One record: 34 lines of 64 bytes."""

PLACES: Final = 3 * MAX_PEERS
"""A peer has three sessions at most: previous, current and next."""

SESSIONS_BYTES: Final = 8 * RECORD_WORDS * PLACES
"""Bytes of the memory; sparse, so only places that were given out cost anything."""

_HOLDERS: Final = 0
_WAS_GIVEN: Final = 2
_DEAD: Final = 3
_ZEROS: Final = memoryview(bytes(8 * RECORD_WORDS)).cast("Q")

_RESTING: Final = 256
"""Places that rest before the first of them is given out again: half a megabyte."""

_TRIES: Final = 16
"""Resting places looked at, while there are some that were never used."""


def egress_holder(number: int) -> int:
    """Return which bit among the holders is that egress worker's, from 0 on."""
    return number


def ingress_holder(number: int) -> int:
    """Return which bit among the holders is that ingress worker's, from 0 on."""
    return MAX_WORKERS + number


class PlaceBook:
    """Control's side of the memory: which place a session gets, and when it is free.

    Args:
        memory: the records, as many as fit; those of an earlier control process are
            taken over.
        holders: the bits of all workers there are.
    """

    def __init__(self, memory: "Buffer", holders: int) -> None:
        self._words = memoryview(memory).cast("B").cast("Q")
        self._holders = holders
        self._places = len(self._words) // RECORD_WORDS
        self._fresh = 0
        # Fresh ones are taken in order, so the first that was never given ends the
        # search: memory behind it must not be touched, for that makes it real.
        while self._fresh < self._places and self._word(self._fresh, _WAS_GIVEN):
            self._fresh += 1
        self._resting: deque[int] = deque(range(self._fresh))

    def give(self) -> int | None:
        """Return an empty place that all workers hold from now on; None if none is."""
        place = self._find()
        if place is not None:
            start = place * RECORD_WORDS
            self._words[start : start + RECORD_WORDS] = _ZEROS
            self._words[start + _WAS_GIVEN] = 1
            self._words[start + _HOLDERS] = self._holders
        return place

    def retire(self, place: int) -> None:
        """Let *place* rest: its session was retired, and workers will let go of it."""
        self._resting.append(place)

    def bury(self, bit: int) -> None:
        """Note that what the worker of *bit* held until now, it holds no longer.

        It died; or it is known to hold nothing.
        """
        for place in range(self._fresh):
            if self._word(place, _HOLDERS) & bit:
                self._words[place * RECORD_WORDS + _DEAD] |= bit

    def _find(self) -> int | None:
        has_fresh = self._fresh < self._places
        rested = len(self._resting)
        tries = min(_TRIES, rested - _RESTING) if has_fresh else rested
        for _ in range(tries):
            place = self._resting.popleft()
            if self._is_free(place):
                return place
            self._resting.append(place)
        if not has_fresh:
            return None
        self._fresh += 1
        return self._fresh - 1

    def _is_free(self, place: int) -> bool:
        return not self._word(place, _HOLDERS) & ~self._word(place, _DEAD)

    def _word(self, place: int, word: int) -> int:
        return self._words[place * RECORD_WORDS + word]
