"""Who may use a listener: user names and hashes of their passwords.

A check is done in a thread, few at once; who is wrong waits, and who is wrong often is
not checked any more for a while. A user who does not exist costs as much as one who
does, so that nobody learns names by the clock.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import trio

from meshnode.crypto.passwords import SALT_SIZE, PasswordHash
from meshnode.crypto.primitives import KEY_SIZE
from meshnode.errors import CryptoError
from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.password_guard import PasswordGuard

MAX_CHECKS: Final = 2
"""At once; each costs a processor and 64 MiB."""

MAX_WAITING: Final = 64
"""Checks that wait for their turn; more are refused."""

WRONG_DELAY: Final = 1.0
"""Seconds until who was wrong hears of it."""

_log = logging.getLogger("meshnode.proxy")


class Users:
    """The users of listeners; what is known of passwords outlives a change of them.

    *guard* is a fresh one unless given.
    """

    def __init__(self, guard: PasswordGuard | None = None) -> None:
        self._guard = guard or PasswordGuard(secrets.token_bytes(KEY_SIZE))
        self._limiter = trio.CapacityLimiter(MAX_CHECKS)
        self._waiting = 0
        # Nobody's password; with the cost of those that we make.
        self._nobody: PasswordHash | None = None

    def check(
        self, hashes: Callable[[], Mapping[str, PasswordHash]], source: str
    ) -> CredentialCheck:
        """Return what checks the pairs that *source*, the address of a client, gives.

        *hashes* gives the users of its listener at that moment.
        """

        async def is_right(user: str, password: str) -> bool:
            return await self._is_right(hashes().get(user), user, password, source)

        return is_right

    async def _is_right(
        self, known: PasswordHash | None, user: str, password: str, source: str
    ) -> bool:
        await trio.lowlevel.checkpoint()
        text = str(known)
        now = trio.current_time()
        if known and self._guard.is_known(user, password, text, now=now):
            return True
        if not self._guard.may_try(source, now=now) or self._waiting >= MAX_WAITING:
            await trio.sleep(WRONG_DELAY)
            return False
        is_right = await self._stretch(known, password)
        now = trio.current_time()
        if is_right:
            self._guard.right(user, password, text, now=now)
            return True
        self._guard.wrong(source, now=now)
        await trio.sleep(WRONG_DELAY)
        return False

    async def _stretch(self, known: PasswordHash | None, password: str) -> bool:
        data = password.encode("utf-8", "surrogatepass")
        self._waiting += 1
        try:
            return await trio.to_thread.run_sync(
                self._compare, known, data, limiter=self._limiter
            )
        except CryptoError as error:
            _log.warning("%s", error)
            return False
        finally:
            self._waiting -= 1

    def _compare(self, known: PasswordHash | None, password: bytes) -> bool:
        """In a thread: compare, with nobody's hash if there is no such user."""
        if known is not None:
            return known.matches(password)
        if self._nobody is None:
            salt = secrets.token_bytes(SALT_SIZE)
            self._nobody = PasswordHash.make(secrets.token_bytes(), salt=salt)
            return False
        self._nobody.matches(password)
        return False
