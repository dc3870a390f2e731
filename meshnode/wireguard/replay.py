"""Which transport counters a session has accepted (RFC 6479; paper 5.4.6).

Theory of operation: a ring of 128 words of 64 bits remembers the last counters, one
bit each. Moving forward empties whole words and never shifts the ring. One word is
always partly in the future, so 128 words vouch for 8128 counters behind the greatest.
"""

from meshnode.wireguard.constants import REJECT_AFTER_MESSAGES, WINDOW, WINDOW_BITS

_WORDS = WINDOW_BITS // 64
_BIT = tuple(1 << bit for bit in range(64))


class ReplayWindow:
    """Remember which receive counters one session has accepted.

    Only authenticated packets may move the window, so call `accept` after the tag
    was verified; `is_fresh` is for asking before that work is done. Counters are
    64-bit; those from `REJECT_AFTER_MESSAGES` on are never accepted.

    Invariant: the greatest accepted counter never decreases.
    """

    __slots__ = ("_greatest", "_words")

    def __init__(self) -> None:
        self._greatest = -1
        self._words = [0] * _WORDS

    def is_fresh(self, counter: int) -> bool:
        """Return whether `accept` would take *counter*; changes nothing."""
        if counter > self._greatest:
            return counter < REJECT_AFTER_MESSAGES
        if counter + WINDOW < self._greatest:
            return False
        return not self._words[counter >> 6 & 127] & _BIT[counter & 63]

    def accept(self, counter: int) -> bool:
        """Record *counter* and return whether it was new.

        Returns:
            False if it was seen before, lies behind the window or beyond the limit.
        """
        greatest = self._greatest
        if counter > greatest:
            if counter >= REJECT_AFTER_MESSAGES:
                return False
            if counter >> 6 != greatest >> 6:
                self._empty_words(greatest >> 6, counter >> 6)
            self._greatest = counter
        elif counter + WINDOW < greatest:
            return False
        words = self._words
        index = counter >> 6 & 127
        word = words[index]
        bit = _BIT[counter & 63]
        if word & bit:
            return False
        words[index] = word | bit
        return True

    def _empty_words(self, last: int, target: int) -> None:
        """Empty the ring after word number *last*, up to and with *target*."""
        first = max(last + 1, target - _WORDS + 1)
        for number in range(first, target + 1):
            self._words[number & 127] = 0
