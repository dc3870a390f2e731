"""Who is told what we take, and what follows from what others take."""

import pytest

from meshnode.codec.messages import Accepts
from meshnode.mesh.ciphers import Ciphers
from meshnode.types import Cipher
from tests.unit.mesh.issuing_parts import FakeTunnels

KEY = bytes([1]) * 32
CHACHA, AES = Cipher


class Tunnels(FakeTunnels):
    """Notes which session was given which cipher."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: tuple[int, ...] = (7, 9)
        self.chosen: list[tuple[bytes, int, Cipher]] = []

    def sessions_of(self, key: bytes) -> tuple[int, ...]:
        """Return what a test put there."""
        return self.indices

    def use_cipher(
        self, key: bytes, session: int, cipher: Cipher, *, now: float
    ) -> None:
        """Note it."""
        self.chosen.append((key, session, cipher))


@pytest.fixture
def tunnels() -> Tunnels:
    """Tunnels with two sessions."""
    return Tunnels()


def test_a_session_that_starts_is_spoken_of_once(tunnels: Tunnels) -> None:
    """With every other there is, for two may have crossed."""
    Ciphers(tunnels, (AES,)).session_started(KEY, now=1.0)
    assert tunnels.drain() == [(KEY, Accepts((8,), (7, 9)))]


def test_who_prefers_nothing_says_nothing(tunnels: Tunnels) -> None:
    """An idle network is not to pay for what nobody uses."""
    Ciphers(tunnels, ()).session_started(KEY, now=1.0)
    tunnels.indices = ()
    Ciphers(tunnels, (AES,)).session_started(KEY, now=1.0)
    assert tunnels.drain() == []


@pytest.mark.parametrize(
    ("preferred", "accepted", "cipher"),
    [
        ((AES,), (8,), AES),
        ((AES,), (77, 8, 4), AES),
        ((AES,), (), CHACHA),
        ((AES,), (77, 2**32 - 1), CHACHA),
        ((), (8,), CHACHA),
    ],
)
def test_what_both_prefer_is_used(
    tunnels: Tunnels,
    preferred: tuple[Cipher, ...],
    accepted: tuple[int, ...],
    cipher: Cipher,
) -> None:
    """In the sessions that are named, and no other; unknown numbers are nothing."""
    ciphers = Ciphers(tunnels, preferred)
    ciphers.receive(KEY, Accepts(accepted, (3, 5)), now=1.0)
    assert tunnels.chosen == [(KEY, 3, cipher), (KEY, 5, cipher)]
