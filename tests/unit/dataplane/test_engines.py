"""Choosing an engine by name."""

import pytest

from meshnode.dataplane.engines import check_engine, open_engine
from meshnode.errors import ConfigError


@pytest.mark.parametrize("name", ["reference", "fast"])
def test_both_engines_open(name: str) -> None:
    """The one that every installation has, and the compiled one."""
    factory = open_engine(name)
    assert callable(factory.egress)
    assert callable(factory.ingress)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "no engine"), ("Fast", "no engine")],
)
def test_other_engines_are_refused(name: str, reason: str) -> None:
    """An engine that is not there is never replaced in silence; the remedy is named."""
    for choose in (check_engine, open_engine):
        with pytest.raises(ConfigError, match=reason) as refusal:
            choose(name)
        assert "reference" in str(refusal.value)


def test_the_fast_engine_is_not_lost_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it was not compiled, that is said, with the remedy."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for choose in (check_engine, open_engine):
        with pytest.raises(ConfigError, match="not compiled") as refusal:
            choose("fast")
        assert "libssl-dev" in str(refusal.value)
        assert "engine = reference" in str(refusal.value)


@pytest.mark.parametrize("workers", [2, 16])
def test_several_workers_need_the_fast_engine(workers: int) -> None:
    """The reference counts for itself; the remedy is named."""
    check_engine("reference", 1)
    with pytest.raises(ConfigError, match=f"workers = {workers} needs") as refusal:
        check_engine("reference", workers)
    assert "engine = fast" in str(refusal.value)
