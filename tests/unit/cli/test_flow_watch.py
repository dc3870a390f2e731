"""Flows as they are shown: losses, and the end."""

from collections.abc import Callable
from typing import Any

import pytest

from meshnode.capture.rings import Rings
from meshnode.manage.api_client import NotRunningError
from tests.tap_parts import LentTap
from tests.unit.cli.test_capture import lent

Run = Callable[..., Any]
__all__ = ["lent"]


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
