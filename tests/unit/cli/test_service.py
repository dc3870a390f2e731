"""`meshnode service` prints the unit."""

import configparser
import json
from collections.abc import Callable
from typing import Any


def test_the_unit_runs_a_network(meshnode: Callable[..., Any]) -> None:
    """It is a unit, and starts what the command line has."""
    result = meshnode("service")
    assert result.code == 0
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(result.out)
    assert unit["Service"]["Type"] == "notify"
    assert "up %i --foreground" in unit["Service"]["ExecStart"]
    told = json.loads(meshnode("service", "--json").out)
    assert told == {"schema": 1, "name": "meshnode@.service", "text": result.out}
