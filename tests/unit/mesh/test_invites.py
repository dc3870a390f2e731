"""Invites: their bounds, their states, and that every change is kept at once."""

import random

import pytest

from meshnode.codec.records import Role
from meshnode.errors import ConfigError
from meshnode.mesh.invites import (
    KEPT_AFTER_END,
    MAX_INVITES,
    MAX_USES,
    Grant,
    Invites,
)
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import DropInvite, KeepInvite
from meshnode.types import Prefix

WALL = 1_800_000_000
GRANT = Grant(
    "", ("staff",), (Prefix.parse("192.168.1.0/24"),), Role.RELAY, 86400 * 365
)


def kept(outbox: Outbox) -> list[tuple[bytes, bytes]]:
    """Return what a store holds after these changes."""
    store: dict[bytes, bytes] = {}
    for change in outbox.changes:
        if isinstance(change, KeepInvite):
            store[change.key] = change.data
        elif isinstance(change, DropInvite):
            del store[change.key]
    return list(store.items())


def test_every_change_outlives_a_restart(rng: random.Random) -> None:
    """What the store was told makes the same invites again."""
    outbox = Outbox()
    invites = Invites(outbox)
    first, second, third = (rng.randbytes(32) for _ in range(3))
    for key in (first, second, third):
        invites.create(key, GRANT, uses=2, expires=WALL + 60, now=1.0, wall=WALL)
        assert Invites(Outbox(), kept(outbox)).all() == invites.all()
    invites.count_use(first, now=2.0)
    invites.revoke(second, now=3.0, wall=WALL + 5)
    again = Invites(Outbox(), kept(outbox))
    assert again.all() == invites.all()
    used, revoked, untouched = (again.get(key) for key in (first, second, third))
    assert used is not None
    assert used.used == 1
    assert revoked is not None
    assert revoked.revoked_at == WALL + 5
    assert untouched is not None
    assert untouched.grant == GRANT


def test_an_invite_tells_why_it_lets_nobody_in(rng: random.Random) -> None:
    """Open until its end, then expired; used when counted out; revoked for good."""
    invites = Invites(Outbox())
    key = rng.randbytes(32)
    invite = invites.create(key, GRANT, uses=1, expires=WALL + 60, now=1.0, wall=WALL)
    assert invite.state(WALL + 60) == "open"
    assert invite.state(WALL + 61) == "expired"
    invites.count_use(key, now=1.0)
    used = invites.get(key)
    assert used is not None
    assert used.state(WALL) == "used"
    invites.revoke(key, now=1.0, wall=WALL)
    revoked = invites.get(key)
    assert revoked is not None
    assert revoked.state(WALL + 61) == "revoked"


@pytest.mark.parametrize(
    ("grant", "uses", "expires"),
    [
        (GRANT, 0, WALL + 1),
        (GRANT, MAX_USES + 1, WALL + 1),
        (GRANT, 1, WALL),
        (GRANT, 1, 2**41),
        (Grant("alpha", (), (), Role.NONE, 60), 2, WALL + 1),
        (Grant("Not a label", (), (), Role.NONE, 60), 1, WALL + 1),
        (Grant("", ("no label!",), (), Role.NONE, 60), 1, WALL + 1),
        (Grant("", ("a", "a"), (), Role.NONE, 60), 1, WALL + 1),
        (Grant("", (), (), Role.NONE, 0), 1, WALL + 1),
    ],
)
def test_an_invite_out_of_range_changes_nothing(
    grant: Grant, uses: int, expires: int
) -> None:
    """It is refused, and neither memory nor store has heard of it."""
    outbox = Outbox()
    invites = Invites(outbox)
    with pytest.raises(ConfigError):
        invites.create(bytes(32), grant, uses=uses, expires=expires, now=1.0, wall=WALL)
    assert invites.all() == ()
    assert outbox.changes == []


def test_a_key_is_invited_once(rng: random.Random) -> None:
    """The second invite with the same key is refused, and the first is as it was."""
    invites = Invites(Outbox())
    key = rng.randbytes(32)
    first = invites.create(key, GRANT, uses=1, expires=WALL + 60, now=1.0, wall=WALL)
    with pytest.raises(ConfigError):
        invites.create(key, GRANT, uses=9, expires=WALL + 90, now=1.0, wall=WALL)
    assert invites.get(key) == first


def test_there_are_only_so_many_invites() -> None:
    """Beyond the bound none is made until old ones are dropped."""
    outbox = Outbox()
    invites = Invites(outbox)
    for number in range(MAX_INVITES):
        key = number.to_bytes(32, "big")
        invites.create(key, GRANT, uses=1, expires=WALL + 1, now=1.0, wall=WALL)
    with pytest.raises(ConfigError):
        invites.create(b"x" * 32, GRANT, uses=1, expires=WALL + 9, now=1.0, wall=WALL)
    late = WALL + 1 + KEPT_AFTER_END + 1
    invites.create(b"x" * 32, GRANT, uses=1, expires=late + 9, now=1.0, wall=late)
    assert [invite.key for invite in invites.all()] == [b"x" * 32]
    assert [key for key, _ in kept(outbox)] == [b"x" * 32]


def test_an_unknown_invite_is_not_revoked() -> None:
    """The user is told that there is none."""
    with pytest.raises(ConfigError, match="no such invite"):
        Invites(Outbox()).revoke(bytes(32), now=1.0, wall=WALL)


def test_revoking_again_changes_nothing(rng: random.Random) -> None:
    """The first time stays."""
    outbox = Outbox()
    invites = Invites(outbox)
    key = rng.randbytes(32)
    invites.create(key, GRANT, uses=1, expires=WALL + 60, now=1.0, wall=WALL)
    invites.revoke(key, now=1.0, wall=WALL + 1)
    before = list(outbox.changes)
    invites.revoke(key, now=2.0, wall=WALL + 2)
    assert outbox.changes == before


def test_a_damaged_store_is_named(rng: random.Random) -> None:
    """Neither damaged bytes nor an invite under another's key are guessed at."""
    outbox = Outbox()
    key = rng.randbytes(32)
    Invites(outbox).create(key, GRANT, uses=1, expires=WALL + 1, now=1.0, wall=WALL)
    [(_, data)] = kept(outbox)
    for damaged in ((key, data[:-1]), (rng.randbytes(32), data)):
        with pytest.raises(ConfigError, match="damaged"):
            Invites(Outbox(), [damaged])
