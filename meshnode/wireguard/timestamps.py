"""The timestamps of our initiations: they never go back (paper 5.1).

A responder keeps the greatest timestamp of each initiator and refuses what is not
greater. A clock that was set back, or was never set, so locks its owner out until
that time comes again. Hence the wall clock is read once, at the start, and boottime
added to it: steps of the clock while we run change nothing. And a *mark*, a label
at or above all that were ever used, outlives us: what we send is above it.

A mark is saved ahead of its use, so that the disk is written about once a minute
and not once a handshake. Whoever sends does:

    label = source.next_after(last_label_of_this_peer, now=now)
    mark = source.unsaved_mark()
    if mark is not None:
        save(mark)                  # durable, before the label leaves the host
        source.mark_saved(mark)

No label is above the mark that this loop saved last. Marks lead the clock by at most
`RESERVATION` seconds: however often we are restarted, labels run ahead of the clock
by that and one tick a restart, not by that at each restart. Only a mark that an
earlier life left further ahead (its clock was wrong) keeps us further ahead; then the
marks advance by single ticks, and are saved each time.
"""

from typing import Final

from meshnode.codec import tai64n

# How far ahead of the clock a mark is saved, seconds.
RESERVATION: Final = 60

_NANOSECONDS: Final = 10**9
_NO_LABEL: Final = bytes(tai64n.LABEL_SIZE)


class TimestampSource:
    """Give out TAI64N labels that rise, over restarts too.

    *wall_time* is Unix time at boottime *now*, both in seconds; *mark* is what was
    saved before, b"" for nothing.

    Raises:
        ValueError: if *mark* is neither empty nor a label.
    """

    def __init__(self, *, wall_time: float, now: float, mark: bytes = b"") -> None:
        self._wall_at_zero = wall_time - now
        # Greatest label that earlier lives may have used.
        self._floor = _NO_LABEL
        self._last = _NO_LABEL
        self._saved = _NO_LABEL
        self._reserved = _NO_LABEL
        if mark:
            self.raise_mark(mark)

    @property
    def latest(self) -> bytes:
        """The greatest label given out in this life; zeros for none."""
        return self._last

    def next_after(self, previous: bytes, *, now: float) -> bytes:
        """Return a label greater than *previous* and than all of earlier lives.

        *previous* is the last label one peer was sent in this life, or b"". Peers
        do not compare each other's labels, so they may be given equal ones: were
        labels to rise over all peers, more than 59 a second, a tick (16.8 ms) each,
        would run away from the clock.
        """
        label = self._clock(now)
        for used in (self._floor, previous or _NO_LABEL):
            if label <= used:
                label = tai64n.next_tick(used)
        self._last = max(self._last, label)
        if label > self._reserved:
            self._reserved = max(label, self._clock(now + RESERVATION))
        return label

    def unsaved_mark(self) -> bytes | None:
        """Return the mark to save before the last label is used; None if it is."""
        return self._reserved if self._reserved > self._saved else None

    def mark_saved(self, mark: bytes) -> None:
        """Note that *mark*, from `unsaved_mark`, is durable."""
        self._saved = max(self._saved, mark)

    def raise_mark(self, mark: bytes) -> None:
        """Keep above *mark* too: a saved one that was found late.

        Raises:
            ValueError: if it is not a label.
        """
        tai64n.decode(mark)
        self._floor = max(self._floor, mark)
        self._saved = max(self._saved, mark)
        self._reserved = max(self._reserved, mark)

    def _clock(self, now: float) -> bytes:
        nanoseconds = int((self._wall_at_zero + now) * _NANOSECONDS)
        return tai64n.whiten(tai64n.encode(*divmod(nanoseconds, _NANOSECONDS)))
