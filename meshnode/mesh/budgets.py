"""Token buckets by key: what each peer, or each record, may cost us."""


class Budgets:
    """Allow every key *rate* units a second, *burst* of them at once.

    A bucket that is full again tells no more than none and is forgotten, so there are
    never more than were used in the last `burst / rate` seconds.
    """

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        # Units left, and when that was; the longest unused first.
        self._buckets: dict[bytes, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, key: bytes, cost: float, *, now: float) -> bool:
        """Take *cost* units, if anything is left; the rest is owed.

        So one cost may be greater than the burst; nothing is allowed then until the
        debt is paid off.
        """
        self._forget_full(now)
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left <= 0.0:
            self._buckets[key] = (left, now)
            return False
        self._buckets[key] = (left - cost, now)
        return True

    def _forget_full(self, now: float) -> None:
        while self._buckets:
            key, (left, since) = next(iter(self._buckets.items()))
            if left + (now - since) * self._rate < self._burst:
                return
            del self._buckets[key]
