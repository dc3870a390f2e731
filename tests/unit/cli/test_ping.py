"""`meshnode ping`: answers of a member, or none."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.manage.api_client import RemoteError

Run = Callable[..., Any]
PONG: dict[str, Any] = {
    "name": "paris",
    "ipv4": "10.77.0.2",
    "ipv6": "fd00::2",
    "seconds": 0.0123,
    "endpoint": "192.0.2.1:51820",
    "path": {"kind": "direct", "endpoint": "192.0.2.1:51820", "via": []},
}
NOWHERE = {"kind": "none", "endpoint": None, "via": []}
SILENCE = {**PONG, "seconds": None, "endpoint": None, "path": NOWHERE}
RELAYED = {
    **PONG,
    "endpoint": None,
    "path": {"kind": "relayed", "endpoint": None, "via": ["rome"]},
}


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, without sleeping."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    return naps


def test_an_answer_is_a_line(meshnode: Run, node: Any) -> None:
    """With path and time."""
    node.answers["ping"] = PONG
    result = meshnode("ping", "paris", "--timeout", "2")
    assert result.code == 0
    assert result.out == (
        "pong from paris (10.77.0.2) via 192.0.2.1:51820 (direct) in 12.3 ms\n"
    )
    assert node.of("ping") == {"peer": "paris", "timeout": 2.0}


def test_no_answer_ends_with_4(meshnode: Run, node: Any) -> None:
    """And says how long was waited."""
    node.answers["ping"] = SILENCE
    result = meshnode("ping", "paris", "--timeout", "0.5")
    assert result.code == 4
    assert result.out == "no answer from paris within 0.5 s\n"


def test_several_are_a_second_apart(
    meshnode: Run, node: Any, naps: list[float]
) -> None:
    """One answer is enough."""
    node.answers["ping"] = [SILENCE, PONG, SILENCE]
    result = meshnode("ping", "-c", "3", "paris", "--json")
    assert result.code == 0
    assert [one["seconds"] for one in json.loads(result.out)["answers"]] == [
        None,
        0.0123,
        None,
    ]
    assert naps == [1.0, 1.0]


def test_until_direct_tells_each_path_once(meshnode: Run, node: Any) -> None:
    """And ends with 0 as soon as no relay is on the way."""
    node.answers["ping"] = [SILENCE, RELAYED, RELAYED, PONG]
    result = meshnode("ping", "paris", "--until-direct")
    assert result.code == 0
    assert [line.split(" in ")[0] for line in result.out.splitlines()] == [
        "no answer from paris within 2 s",
        "pong from paris (10.77.0.2) via rome (relayed)",
        "pong from paris (10.77.0.2) via 192.0.2.1:51820 (direct)",
    ]


def test_until_direct_ends_with_4_if_it_does_not_become_so(
    meshnode: Run, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the time given."""
    moments = iter(range(0, 100, 1))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(moments)))
    node.answers["ping"] = RELAYED
    result = meshnode("ping", "paris", "--until-direct", "--timeout", "3", "--json")
    assert result.code == 4
    told = json.loads(result.out)
    assert told["isDirect"] is False
    assert [one["path"]["kind"] for one in told["answers"]] == ["relayed"]


def test_nobody_of_that_name_ends_with_3(meshnode: Run, node: Any) -> None:
    """In the node's words."""
    node.answers["ping"] = RemoteError("no member 'x'; see: meshnode peers", 3)
    result = meshnode("ping", "x")
    assert (result.code, result.out) == (3, "")
    assert result.err == "meshnode: no member 'x'; see: meshnode peers\n"


@pytest.mark.parametrize(
    "options", [[], ["x", "-c", "0"], ["x", "--timeout", "0"], ["x", "y"]], ids=str
)
def test_wrong_usage(meshnode: Run, node: Any, options: list[str]) -> None:
    """Nobody is asked."""
    assert meshnode("ping", *options).code == 2
    assert node.asked == []
