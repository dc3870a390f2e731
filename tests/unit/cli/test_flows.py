"""`meshnode flows`: a table, or lines of JSON."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.capture.rings import Rings
from meshnode.cli import flows
from meshnode.manage.api_client import NotRunningError
from tests.tap_parts import LentTap
from tests.unit.cli.test_capture import lent

Run = Callable[..., Any]
__all__ = ["lent"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_INTERVAL", 0.05)


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
    result = meshnode("flows", "--json", "--duration", "0.12", "--top", "1", "tcp")
    lines = [json.loads(one) for one in result.out.splitlines()]
    assert len(lines) >= 2
    assert lines[0]["flows"][0]["packets"] == 3
    assert lines[-1]["flows"][0]["bytesPerSecond"] == 0
    assert lines[-1]["lost"] == 0


def test_what_was_lost_is_told(
    meshnode: Run, lent: LentTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the table."""
    monkeypatch.setattr(Rings, "lost", lambda rings: (1, 2))
    result = meshnode("flows", "--once", "icmp")
    assert result.out.splitlines()[1:] == ["3 packets were too many to be counted"]


def test_the_end_of_the_node_ends_it(meshnode: Run, lent: LentTap) -> None:
    """With a line that says so."""
    lent.said.append(NotRunningError("the node ended"))
    result = meshnode("flows")
    assert result.code == 1
    assert "the node ended" in result.err
