"""What is known of passwords that were tried: who guesses too often, what was right.

Pure. A check costs 0.1 s of a processor, so a right pair of user and password is
remembered for some minutes, as a hash under a key that never leaves the process; and
who was wrong too often within a minute is refused without a check. Both tables are
bounded: a flood of sources makes us forget, not grow.
"""

from typing import Final

from meshnode.crypto.primitives import KEY_SIZE, mac

REMEMBER: Final = 300.0
"""Seconds for which a right password is not checked again."""

MAX_REMEMBERED: Final = 1024

MAX_FAILURES: Final = 10
"""Wrong passwords of one source within `PERIOD`; more are not even looked at."""

PERIOD: Final = 60.0
"""Seconds from a source's first wrong password until it begins anew."""

MAX_SOURCES: Final = 4096


class PasswordGuard:
    """The two tables; *key* (32 bytes) is fresh and random. Times are seconds."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"the key has {KEY_SIZE} bytes")
        self._key = key
        self._right: dict[bytes, float] = {}
        self._wrong: dict[str, tuple[float, int]] = {}

    def is_known(self, user: str, password: str, known_as: str, *, now: float) -> bool:
        """Whether the pair was right a while ago, when the hash was *known_as*."""
        until = self._right.get(self._name(user, password, known_as))
        return until is not None and now < until

    def may_try(self, source: str, *, now: float) -> bool:
        """Whether *source* was not wrong too often."""
        began, count = self._wrong.get(source, (now, 0))
        return count < MAX_FAILURES or now - began >= PERIOD

    def right(self, user: str, password: str, known_as: str, *, now: float) -> None:
        """The pair was right, for the hash *known_as*."""
        name = self._name(user, password, known_as)
        self._right.pop(name, None)
        self._right[name] = now + REMEMBER
        if len(self._right) > MAX_REMEMBERED:
            del self._right[next(iter(self._right))]

    def wrong(self, source: str, *, now: float) -> None:
        """*source* gave a pair that is not right."""
        began, count = self._wrong.pop(source, (now, 0))
        if now - began >= PERIOD:
            began, count = now, 0
        self._wrong[source] = began, count + 1
        if len(self._wrong) > MAX_SOURCES:
            del self._wrong[next(iter(self._wrong))]

    def _name(self, *texts: str) -> bytes:
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        # Lengths first: no two triples have the same bytes.
        lengths = b"".join(len(part).to_bytes(4, "big") for part in parts)
        return mac(self._key, lengths + b"".join(parts))
