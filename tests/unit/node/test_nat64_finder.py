"""Asking for the prefix of a NAT64."""

from typing import Any

import pytest
import trio
import trio.testing

from meshnode.node.nat64_finder import Nat64Finder


@pytest.mark.parametrize(
    ("versions", "answers", "prefix"),
    [
        ({6}, ["64:ff9b::c000:aa"], "0064ff9b0000000000000000"),
        ({6}, [], None),
        ({4, 6}, ["64:ff9b::c000:aa"], None),
        (set(), ["64:ff9b::c000:aa"], None),
    ],
)
async def test_only_who_has_no_ipv4_asks(
    versions: set[int],
    answers: list[str],
    prefix: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the start, and at each move."""

    async def answer(name: str, port: None, **_: Any) -> list[Any]:
        assert name == "ipv4only.arpa"
        if not answers:
            raise OSError("no such name")
        return [(None, None, 0, "", (text, 0, 0, 0)) for text in answers]

    monkeypatch.setattr(trio.socket, "getaddrinfo", answer)
    told: list[bytes | None] = []
    finder = Nat64Finder(lambda: versions, told.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finder.run)
        await trio.testing.wait_all_tasks_blocked()
        finder.follow()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert told == [None if prefix is None else bytes.fromhex(prefix)] * 2
