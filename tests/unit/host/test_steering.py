"""What is done to the host for a plan, in which order, and how counters are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.errors import HostError
from meshnode.host import mark_routes, nft, steering, sysctl
from meshnode.host.changes import StopSteering
from meshnode.host.journal import Journal, open_journal
from meshnode.host.steering import (
    Counted,
    Steerer,
    parse_counters,
    parse_learnt,
    read_counters,
    read_learnt,
)
from meshnode.steering import SteerPlan, SteerStep, ViaDirect, ViaMesh

CHANGE = StopSteering("meshnode_home_steer", 256, 384, 0xFFFFFF80, 11, 12)


def plan(*steps: SteerStep) -> SteerPlan:
    """Return a plan of these steps."""
    return SteerPlan("home", "mesh", 7, 256, 11, 12, 13, (), steps)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happens to a host that notes it; nft holds what was loaded."""
    told: list[Any] = []

    def note(name: str) -> Callable[..., bool]:
        def take(*words: Any) -> bool:
            told.append((name, *words))
            return True

        return take

    for name in ("route_all_into", "route_all_here", "add_mark_rule"):
        monkeypatch.setattr(mark_routes, name, note(name))
    for name in ("delete_mark_rule", "empty_table"):
        monkeypatch.setattr(mark_routes, name, note(name))
    monkeypatch.setattr(nft, "require", lambda: None)
    monkeypatch.setattr(nft, "has_table", lambda name: True)
    monkeypatch.setattr(nft, "load", lambda text: told.append(("load", text[:9])))
    monkeypatch.setattr(nft, "delete_table", note("delete_table"))
    monkeypatch.setattr(sysctl, "read", lambda key: "1")
    monkeypatch.setattr(sysctl, "write", note("write"))
    return told


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    """An empty journal."""
    one = open_journal("home", tmp_path / "run")
    yield one
    one.close()


def test_everything_is_journalled_first(story: list[Any], journal: Journal) -> None:
    """Then come the ways, and only then what sends packets there."""
    steerer = Steerer(journal)
    assert steerer.apply(plan(SteerStep(ViaDirect())), {})
    assert journal.pending() == [CHANGE]
    assert [one[0] for one in story] == [
        *("route_all_into", "route_all_here", "add_mark_rule", "add_mark_rule"),
        "load",
    ]
    story.clear()
    assert not steerer.apply(plan(SteerStep(ViaDirect())), {})
    assert story == []
    assert steerer.apply(plan(SteerStep(ViaMesh())), {})
    # Answers come in where the main table does not expect them.
    assert ("write", "net/ipv4/conf/mesh/rp_filter", "2") in story
    assert journal.pending() == [CHANGE]


def test_nothing_is_done_without_nft(
    story: list[Any], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor journalled."""

    def require() -> None:
        raise HostError("nft is missing")

    monkeypatch.setattr(nft, "require", require)
    with pytest.raises(HostError, match="missing"):
        Steerer(journal).apply(plan(), {})
    with pytest.raises(HostError, match="missing"):
        steering.check(plan())
    assert (story, journal.pending()) == ([], [])


def test_withdrawing_undoes_what_another_did(
    story: list[Any], journal: Journal
) -> None:
    """The table first, so that nothing is marked any more."""
    journal.record(CHANGE)
    Steerer(journal).withdraw()
    assert [one[0] for one in story] == [
        *("delete_table", "delete_mark_rule", "delete_mark_rule"),
        *("empty_table", "empty_table"),
    ]


def test_a_plan_is_checked(story: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's reason is the answer."""

    def check(text: str) -> None:
        raise HostError("no such expression")

    monkeypatch.setattr(nft, "check", check)
    assert steering.check(plan()) == ["no such expression"]
    monkeypatch.setattr(nft, "check", lambda text: None)
    assert steering.check(plan()) == []
    steering.learn("home", {})
    assert story == []


def test_what_a_table_knows_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sets that say what for; without a table it is nothing."""
    known = '{"elem": {"val": "192.0.2.1", "timeout": 60, "expires": 59}}'
    reply = (
        '{"nftables": [{"table": {}}, {"set": {"name": "to0_4", "elem": ["x"]}}, '
        '{"set": {"name": "learnt0_6", "comment": "example.org"}}, '
        f'{{"set": {{"comment": "example.org", "elem": [{known}]}}}}]}}'
    )
    monkeypatch.setattr(nft, "ask", lambda words: reply)
    assert read_learnt("home") == [("example.org", "192.0.2.1", 59)]
    monkeypatch.setattr(nft, "ask", lambda words: "[]")
    assert read_learnt("home") == []
    for text in ("", "[]", '{"nftables": [{"set": 1}]}'):
        with pytest.raises(HostError, match="no form that is known"):
            parse_learnt(text)


def test_counters_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names; one that is missing has met nothing."""
    reply = (
        '{"nftables": [{"metainfo": {"version": "1"}}, {"counter": {"name": "rule1", '
        '"packets": 3, "bytes": 120}}]}'
    )
    monkeypatch.setattr(nft, "ask", lambda words: reply)
    steps = SteerStep(ViaMesh()), SteerStep(ViaMesh())
    assert read_counters(plan(*steps)) == [Counted(0, 0), Counted(3, 120)]
    for text in ("", "[]", "{}", '{"nftables": [{"counter": {"name": "x"}}]}'):
        with pytest.raises(HostError, match="no form that is known"):
            parse_counters(text, 1)
