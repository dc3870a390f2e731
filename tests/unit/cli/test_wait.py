"""`meshnode wait` and `watch`."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.manage.api_client import NoReplyError, NotRunningError, RemoteError

Run = Callable[..., Any]
READY = {"isReady": True}
PONG = {"seconds": 0.01, "endpoint": "192.0.2.1:1", "path": {"kind": "lan"}}
RELAYED = {**PONG, "path": {"kind": "relayed"}}


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += max(seconds, 0.01)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the command."""
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


@pytest.mark.parametrize(
    ("arguments", "verb", "answers"),
    [
        (["ip"], "hello", [NotRunningError("down"), {"isReady": False}, READY]),
        (["peer", "paris"], "ping", [RemoteError("no member", 3), PONG]),
        (["peer", "paris"], "ping", [NoReplyError("slow"), {"seconds": None}, PONG]),
        (["direct", "paris"], "ping", [{"seconds": None}, RELAYED, PONG]),
    ],
)
def test_it_waits_until_it_is_so(
    meshnode: Run, node: Any, arguments: list[str], verb: str, answers: list[Any]
) -> None:
    """Also while the node is down, or has not heard of a member yet."""
    node.answers[verb] = list(answers)
    result = meshnode("wait", "--for", *arguments)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert len(node.asked) == len(answers)


def test_it_gives_up_in_time(meshnode: Run, node: Any, clock: Clock) -> None:
    """Exit code 4; with JSON it says how long it took."""
    node.answers["hello"] = {"isReady": False}
    result = meshnode("wait", "--for", "ip", "--timeout", "3")
    assert (result.code, result.err) == (4, "not within 3 s\n")
    assert 1003 <= clock.now < 1003.5
    told = meshnode("wait", "--for", "ip", "--timeout", "1", "--json")
    assert told.code == 4
    assert json.loads(told.out)["isSo"] is False


def test_what_will_not_change_is_not_waited_for(meshnode: Run, node: Any) -> None:
    """A refusal ends it with its own code."""
    node.answers["ping"] = RemoteError("not allowed", 5)
    assert meshnode("wait", "--for", "peer", "paris").code == 5


@pytest.mark.parametrize(
    "arguments", [[], ["--for", "ip", "paris"], ["--for", "peer"], ["--for", "luck"]]
)
def test_wrong_usage(meshnode: Run, node: Any, arguments: list[str]) -> None:
    """Nobody is asked."""
    assert meshnode("wait", *arguments).code == 2
    assert node.asked == []


def test_events_are_lines(meshnode: Run, node: Any) -> None:
    """Of text, or of JSON as they came."""
    event = {"event": "peerUp", "at": 0.0, "name": "paris", "key": "ab"}
    node.answers["watch"] = [event, {**event, "event": "peerDown"}]
    first, second = meshnode("watch").out.splitlines()
    assert first.split()[1:] == ["peerUp", "name=paris", "key=ab"]
    assert second.split()[1] == "peerDown"
    lines = meshnode("watch", "home", "--json").out.splitlines()
    assert json.loads(lines[0]) == event
