"""Whether a kill switch stands."""

import pytest

from meshnode.errors import HostError
from meshnode.node import locks


def test_what_cannot_be_seen_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nft there is none, and without privileges nothing is told."""
    monkeypatch.setattr(locks, "has_lock", lambda network: network == "home")
    assert locks.is_locked("home")
    assert not locks.is_locked("office")

    def refuse(network: str) -> bool:
        raise HostError("nft is missing")

    monkeypatch.setattr(locks, "has_lock", refuse)
    assert not locks.is_locked("home")


def test_lifting_tells_of_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is still locked in must know."""

    def refuse(network: str) -> bool:
        raise HostError("no")

    monkeypatch.setattr(locks, "lift_lock", lambda network: True)
    assert locks.lift("home")
    monkeypatch.setattr(locks, "lift_lock", refuse)
    with pytest.raises(HostError):
        locks.lift("home")
