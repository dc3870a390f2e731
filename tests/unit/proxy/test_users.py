"""Who may use a listener, over real hashes at the least cost."""

import threading

import pytest
import trio

from meshnode.crypto import passwords
from meshnode.crypto.passwords import PasswordHash
from meshnode.errors import CryptoError
from meshnode.proxy import users as module
from meshnode.proxy.password_guard import MAX_FAILURES
from meshnode.proxy.users import MAX_CHECKS, Users

SALT = bytes(16)


@pytest.fixture
def known(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> dict[str, PasswordHash]:
    """Alice, whose hash costs nothing; and time passes at once."""
    monkeypatch.setattr(passwords, "KIB", 8)
    monkeypatch.setattr(passwords, "PASSES", 1)
    return {"alice": PasswordHash.make(b"secret", salt=SALT)}


async def test_right_and_wrong(known: dict[str, PasswordHash]) -> None:
    """Who is wrong waits a second to hear of it."""
    check = Users().check(lambda: known, "192.0.2.1")
    assert await check("alice", "secret")
    for user, password in (("alice", "Secret"), ("bob", "secret"), ("", "")):
        began = trio.current_time()
        assert not await check(user, password)
        assert trio.current_time() - began >= module.WRONG_DELAY


async def test_a_right_one_is_checked_once(
    known: dict[str, PasswordHash], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its hash is another."""
    users = Users()
    check = users.check(lambda: known, "")
    assert await check("alice", "secret")
    count = []
    matches = PasswordHash.matches

    def counted(self: PasswordHash, password: bytes) -> bool:
        count.append(1)
        return matches(self, password)

    monkeypatch.setattr(PasswordHash, "matches", counted)
    assert await check("alice", "secret")
    assert not count
    known["alice"] = PasswordHash.make(b"another", salt=SALT)
    assert not await check("alice", "secret")
    assert count


async def test_who_does_not_exist_costs_as_much(
    known: dict[str, PasswordHash], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash is computed for a user who is none."""
    stretched = []
    stretch = passwords._stretch

    def noted(password: bytes, salt: bytes, passes: int, kib: int) -> bytes:
        stretched.append((passes, kib))
        return stretch(password, salt, passes, kib)

    monkeypatch.setattr(passwords, "_stretch", noted)
    check = Users().check(lambda: known, "")
    for _ in range(2):
        assert not await check("bob", "secret")
    assert stretched == [(1, 8)] * 2


async def test_guessing_ends(
    known: dict[str, PasswordHash], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right password is not looked at either; from elsewhere it is."""
    users = Users()
    check = users.check(lambda: known, "192.0.2.1")
    for _ in range(MAX_FAILURES):
        users._guard.wrong("192.0.2.1", now=trio.current_time())
    assert not await check("alice", "secret")
    assert await users.check(lambda: known, "192.0.2.2")("alice", "secret")


async def test_few_are_checked_at_once(
    known: dict[str, PasswordHash], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few wait: each takes a processor, and memory."""
    running, most = [0], [0]
    lock = threading.Lock()

    def slow(self: PasswordHash, password: bytes) -> bool:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.005)
        with lock:
            running[0] -= 1
        return True

    monkeypatch.setattr(PasswordHash, "matches", slow)
    users = Users()
    answers = []

    async def ask(number: int) -> None:
        check = users.check(lambda: known, str(number))
        answers.append(await check("alice", f"password {number}"))

    async with trio.open_nursery() as nursery:
        for number in range(module.MAX_WAITING + 5):
            nursery.start_soon(ask, number)
    assert most[0] <= MAX_CHECKS
    assert answers.count(False) == 5


async def test_without_memory_nobody_is_let_in(
    known: dict[str, PasswordHash], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the process goes on."""

    def fail(self: PasswordHash, password: bytes) -> bool:
        raise CryptoError("free some")

    monkeypatch.setattr(PasswordHash, "matches", fail)
    assert not await Users().check(lambda: known, "")("alice", "secret")
