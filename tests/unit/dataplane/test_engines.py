"""Choosing an engine by name."""

import pytest

from meshnode.dataplane.engines import check_engine, open_engine
from meshnode.errors import ConfigError


def test_the_reference_engine_opens() -> None:
    """The engine every installation has."""
    factory = open_engine("reference")
    assert callable(factory.egress)
    assert callable(factory.ingress)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("fast", "not built"), ("", "no engine"), ("Fast", "no engine")],
)
def test_other_engines_are_refused(name: str, reason: str) -> None:
    """An engine that is not there is never replaced in silence; the remedy is named."""
    for choose in (check_engine, open_engine):
        with pytest.raises(ConfigError, match=reason) as refusal:
            choose(name)
        assert "reference" in str(refusal.value)
