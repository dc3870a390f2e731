"""`meshnode metrics` prints what the node tells."""

import json
from collections.abc import Callable
from typing import Any


def test_metrics_are_printed(meshnode: Callable[..., Any], node: Any) -> None:
    """As they are, or as a string."""
    node.answers["metrics"] = {"text": "meshnode_ready 1\n"}
    assert meshnode("metrics").out == "meshnode_ready 1\n"
    told = json.loads(meshnode("metrics", "home", "--json").out)
    assert told == {"schema": 1, "text": "meshnode_ready 1\n"}


def test_a_node_that_is_down_has_none(meshnode: Callable[..., Any], node: Any) -> None:
    """With the way out."""
    result = meshnode("metrics")
    assert (result.code, result.out) == (1, "")
    assert "not up" in result.err
