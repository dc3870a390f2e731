"""The issuer's invites: what each grants, how often it may be used, and until when.

Only the public half of an invite's key is kept, so what the store or a backup of it
holds lets nobody in. Every change is queued as a whole `KeepInvite` at the moment it
happens in memory, so the store is never behind what was answered.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from meshnode.codec.names import check_label
from meshnode.codec.records import (
    MAX_GROUP_BYTES,
    MAX_GROUPS,
    MAX_NAME_BYTES,
    MAX_SUBNETS,
    Role,
)
from meshnode.codec.strict import (
    PREFIX,
    Kind,
    Layout,
    flags,
    label,
    many,
    octets,
    record,
    whole,
)
from meshnode.crypto.keys import KEY_BYTES
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import DropInvite, KeepInvite
from meshnode.types import Prefix
from meshnode.values import frozen

MAX_USES: Final = 10_000
MAX_INVITES: Final = 1000
DEFAULT_LIFETIME: Final = 365 * 86400
"""Seconds a member's certificate is valid unless somebody says otherwise."""

KEPT_AFTER_END: Final = 30 * 86400
"""Seconds an invite is kept after it ended, to tell late joiners why it does not do."""

_MAX_TIME: Final = 2**40 - 1


@frozen
class Grant:
    """What a certificate will say beside keys and address.

    An empty `name` leaves it to the joiner. `lifetime` is seconds.
    """

    name: str
    groups: tuple[str, ...]
    subnets: tuple[Prefix, ...]
    roles: Role
    lifetime: int


@frozen
class Invite:
    """An invite as it is now; `key` is the public half, times are wall seconds.

    `revoked_at` is 0 for one that was not revoked.
    """

    key: bytes
    grant: Grant
    uses: int
    used: int
    created: int
    expires: int
    revoked_at: int

    def state(self, wall: int) -> str:
        """Return `open`, or why it lets nobody in: `revoked`, `used` or `expired`."""
        if self.revoked_at:
            return "revoked"
        if self.used >= self.uses:
            return "used"
        return "open" if wall <= self.expires else "expired"


class Invites:
    """All invites of this issuer. *stored* is `StoredState.invites`.

    Raises:
        ConfigError: if a stored invite is damaged.
    """

    def __init__(
        self, outbox: Outbox, stored: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._outbox = outbox
        self._invites: dict[bytes, Invite] = {}
        for key, data in stored:
            try:
                invite = _LAYOUT.decode(data)
            except CodecError as error:
                raise ConfigError(f"a stored invite is damaged: {error}") from None
            if invite.key != key:
                raise ConfigError("a stored invite is damaged: its key is another's")
            self._invites[key] = invite

    def create(
        self,
        key: bytes,
        grant: Grant,
        *,
        uses: int,
        expires: int,
        now: float,
        wall: int,
    ) -> Invite:
        """Open an invite for *grant* and return it.

        Args:
            key: the public half of a fresh X25519 key.
            grant: what every joiner gets; what the issuer may not grant is refused
                when somebody joins, and by `Issuing.check_grant` before.
            uses: how many may join by it, 1–10,000; only 1 if the grant has a name.
            expires: wall seconds until when.
            now: boottime seconds.
            wall: wall seconds.

        Raises:
            ConfigError: if something is out of range, or there are too many invites.
        """
        self._drop_old(now, wall)
        if grant.name:
            check_label(grant.name, "the name")
        if not 1 <= uses <= (1 if grant.name else MAX_USES):
            raise ConfigError(
                f"an invite is for 1 to {MAX_USES} uses, and for one if it gives a name"
            )
        if expires <= wall:
            raise ConfigError("the invite would already have expired")
        if key in self._invites:
            raise ConfigError("there is an invite with this key already")
        if len(self._invites) >= MAX_INVITES:
            raise ConfigError(f"there are {MAX_INVITES} invites; revoke some")
        invite = Invite(key, grant, uses, 0, wall, expires, 0)
        try:
            _LAYOUT.encode(invite)
        except CodecError as error:
            raise ConfigError(f"the invite cannot be made: {error}") from None
        self._keep(invite, now)
        return invite

    def get(self, key: bytes) -> Invite | None:
        """Return the invite with this public key."""
        return self._invites.get(key)

    def all(self) -> tuple[Invite, ...]:
        """Return all invites, the oldest first."""
        return tuple(sorted(self._invites.values(), key=lambda i: (i.created, i.key)))

    def revoke(self, key: bytes, *, now: float, wall: int) -> None:
        """Let nobody in by this invite any more; who joined by it stays.

        Raises:
            ConfigError: if there is no such invite.
        """
        invite = self._invites.get(key)
        if invite is None:
            raise ConfigError("there is no such invite; list them")
        if not invite.revoked_at:
            self._keep(replace(invite, revoked_at=wall), now)

    def count_use(self, key: bytes, *, now: float) -> None:
        """Count one use of an invite that is open."""
        invite = self._invites[key]
        self._keep(replace(invite, used=invite.used + 1), now)

    def _drop_old(self, now: float, wall: int) -> None:
        for key, invite in list(self._invites.items()):
            if wall > invite.expires + KEPT_AFTER_END:
                del self._invites[key]
                self._outbox.keep(DropInvite(key), now=now)

    def _keep(self, invite: Invite, now: float) -> None:
        self._invites[invite.key] = invite
        self._outbox.keep(KeepInvite(invite.key, _LAYOUT.encode(invite)), now=now)


def _name_or_none(value: Any) -> str:
    return "" if value == "" else label(MAX_NAME_BYTES).unpack(value)


GRANT: Final = record(
    Grant,
    Kind(_name_or_none, _name_or_none),
    many(label(MAX_GROUP_BYTES), 0, MAX_GROUPS),
    many(PREFIX, 0, MAX_SUBNETS),
    flags(Role),
    whole(1, _MAX_TIME),
)
"""The layout of a grant."""

_LAYOUT: Final = Layout(
    Invite,
    octets(KEY_BYTES),
    GRANT,
    whole(1, MAX_USES),
    whole(0, MAX_USES),
    whole(0, _MAX_TIME),
    whole(1, _MAX_TIME),
    whole(0, _MAX_TIME),
    max_bytes=1100,
)
