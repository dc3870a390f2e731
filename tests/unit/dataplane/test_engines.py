"""Choosing an engine by name."""

import pytest

from meshnode.dataplane import engines
from meshnode.dataplane.engines import (
    MAX_WORKERS,
    check_engine,
    open_engine,
    preferred_ciphers,
)
from meshnode.errors import ConfigError
from meshnode.types import Cipher


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


@pytest.mark.parametrize(
    ("name", "has_aes", "ciphers"),
    [
        ("reference", True, (Cipher.AES_256_GCM,)),
        ("reference", False, ()),
        ("fast", True, (Cipher.AES_256_GCM,)),
    ],
)
def test_a_cipher_is_preferred_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    has_aes: bool,
    ciphers: tuple[Cipher, ...],
) -> None:
    """If the processor has it, and the engine has a fast way for it."""
    monkeypatch.setattr(engines, "can_use", lambda cipher: has_aes)
    assert preferred_ciphers(name) == ciphers


@pytest.mark.parametrize("workers", [2, 16])
def test_several_workers_need_the_fast_engine(workers: int) -> None:
    """The reference counts for itself; the remedy is named."""
    check_engine("reference", 1)
    with pytest.raises(ConfigError, match=f"workers = {workers} needs") as refusal:
        check_engine("reference", workers)
    assert "engine = fast" in str(refusal.value)


def test_more_workers_than_an_engine_can_run_are_refused() -> None:
    """They must not run with counters of their own."""
    check_engine("fast", MAX_WORKERS)
    with pytest.raises(ConfigError, match=f"use workers = {MAX_WORKERS}"):
        check_engine("fast", MAX_WORKERS + 1)
