"""Nodes for the end-to-end tests: two hosts, one link, meshnode on both."""

import pytest

from tests.interop.scenarios import Pair, pair
from topology.hosts import Lab
from topology.tunnels import meshnode


@pytest.fixture
def two_nodes(lab: Lab) -> Pair:
    """Two meshnode devices that are peers; no packet has been sent yet."""
    return pair(lab, (meshnode(), meshnode()))
