"""`meshnode flows`: a table, or lines of JSON."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.cli import flow_watch
from tests.tap_parts import LentTap
from tests.unit.cli.test_capture import lent

Run = Callable[..., Any]
__all__ = ["lent"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_watch, "INTERVAL", 0.05)


def test_one_table(meshnode: Run, lent: LentTap) -> None:
    """With head, peer and counts; plain text where nobody looks."""
    result = meshnode("flows", "--once")
    assert result.code == 0
    head, row = result.out.splitlines()
    assert head.split() == [
        "PROTO",
        "FLOW",
        "PEER",
        "RATE",
        "BYTES",
        "PACKETS",
        "DROPPED",
    ]
    assert row.startswith("tcp    10.0.0.1:1000 > 10.0.0.2:2000  paris")
    assert row.split()[-4:] == ["135", "B", "3", "0"]
    assert lent.asked["underlay"] is False
    assert lent.asked["snaplen"] == 128


def test_json_is_a_line_each_time(meshnode: Run, lent: LentTap) -> None:
    """Until the duration is over."""
    result = meshnode("flows", "--json", "--duration", "1s", "--top", "1", "tcp")
    lines = [json.loads(one) for one in result.out.splitlines()]
    assert len(lines) >= 2
    assert lines[0]["flows"][0]["packets"] == 3
    assert lines[-1]["flows"][0]["bytesPerSecond"] == 0
    assert lines[-1]["lost"] == 0
