"""Carrying a plan out: order, journal and failures; the kernel itself as root."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host import nft, plan, sysctl
from meshnode.host.changes import (
    Change,
    DeleteRule,
    DeleteTable,
    FlushRouteTable,
    RestoreSysctl,
)
from meshnode.host.journal import Journal, open_journal
from meshnode.host.plan import HostPlanner
from meshnode.host.routing import Conflict
from meshnode.hostplan import Filter, FullTunnel, HostPlan
from meshnode.types import Prefix

PLAN = HostPlan("office", "mesh0", 6100, 7, 1420, ("10.99.0.1/16",))
ROUTED = replace(PLAN, routes=(Prefix.parse("10.7.0.0/16"),))
LOCKED = replace(PLAN, full_tunnel=FullTunnel((Prefix.parse("10.1.0.0/16"),)))
MARKED = RestoreSysctl("net/ipv4/conf/all/src_valid_mark", "0", "1")
FORWARD = RestoreSysctl("net/ipv4/ip_forward", "0", "1")


class FakeHost:
    """A host that notes what is done to it, with the journal at that moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, journal: Journal) -> None:
        self.done: list[str] = []
        self.tables: set[str] = set()
        self.forwards = False
        self.refusal: HostError | None = None
        self.texts: list[str] = []
        self._journal = journal
        monkeypatch.setattr(nft, "require", self.require)
        monkeypatch.setattr(nft, "load", self.load)
        monkeypatch.setattr(nft, "has_table", lambda name: name in self.tables)
        monkeypatch.setattr(plan, "host_forwards", lambda: self.forwards)
        monkeypatch.setattr(plan, "apply_routes", self.apply_routes)
        monkeypatch.setattr(
            plan, "forwarding_changes", lambda: [] if self.forwards else [FORWARD]
        )
        monkeypatch.setattr(sysctl, "read", lambda key: str(int(self.forwards)))
        monkeypatch.setattr(sysctl, "write", self.write)

    def require(self) -> None:
        """Refuse what is to be refused."""
        if self.refusal is not None:
            raise self.refusal

    def load(self, text: str) -> None:
        """Load rules."""
        if "table inet meshnode_office_lock {" in text:
            self.done.append("lock")
            self.tables.add("meshnode_office_lock")
            return
        if text.startswith("add table inet meshnode_office_lock\n"):
            self.done.append("unlock")
            self.tables.discard("meshnode_office_lock")
            return
        assert DeleteTable("meshnode_office") in self._journal.pending()
        self.done.append("rules")
        self.texts.append(text)
        self.tables.add("meshnode_office")

    def apply_routes(
        self, wanted: HostPlan, *, endpoints: tuple[str, ...]
    ) -> list[Conflict]:
        """Set routes."""
        if wanted.routes or wanted.full_tunnel:
            pending = self._journal.pending()
            assert FlushRouteTable(6100) in pending
            assert DeleteRule(4, 7, 6100) in pending
        self.done.append("routes")
        return [Conflict(None, one) for one in endpoints]

    def write(self, key: str, value: str) -> None:
        """Set a kernel variable."""
        assert {FORWARD, MARKED}.intersection(self._journal.pending())
        self.done.append(f"{key}={value}")
        self.forwards = value == "1"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of the network's interface."""
    opened = open_journal("mesh0", tmp_path / "run")
    yield opened
    opened.close()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, journal: Journal) -> FakeHost:
    """A host without a kernel."""
    return FakeHost(monkeypatch, journal)


def test_rules_are_in_force_before_anything_is_reached(
    host: FakeHost, journal: Journal
) -> None:
    """Firewall, routes, forwarding: each journalled before it is made."""
    planner = HostPlanner(journal)
    conflicts = planner.apply(replace(ROUTED, forwards=True), endpoints=("192.0.2.1",))
    assert host.done == ["rules", "routes", "net/ipv4/ip_forward=1"]
    assert conflicts == [Conflict(None, "192.0.2.1")]


def test_kill_switch_is_first_to_come_and_last_to_go(
    host: FakeHost, journal: Journal
) -> None:
    """In no journal: what ends the node does not end it."""
    planner = HostPlanner(journal)
    planner.apply(LOCKED)
    marked = "net/ipv4/conf/all/src_valid_mark=1"
    assert host.done == ["lock", "rules", marked, "routes"]
    assert MARKED in journal.pending()
    assert "meshnode_office_lock" not in str(journal.pending())
    host.done.clear()
    planner.apply(LOCKED)
    assert "lock" not in host.done
    host.done.clear()
    planner.apply(PLAN)
    assert host.done[-1] == "unlock"
    assert host.done.index("routes") < len(host.done) - 1
    host.done.clear()
    planner.apply(PLAN)
    assert "unlock" not in host.done


def test_kill_switch_stays_when_the_node_ends(host: FakeHost, journal: Journal) -> None:
    """And a planner that comes after puts it in force again if it was taken away."""
    planner = HostPlanner(journal)
    planner.apply(LOCKED)
    planner.withdraw()
    assert "unlock" not in host.done
    assert "meshnode_office_lock" in host.tables
    host.tables.discard("meshnode_office_lock")
    host.done.clear()
    planner.apply(LOCKED)
    assert host.done[0] == "lock"


def test_full_tunnel_without_kill_switch(host: FakeHost, journal: Journal) -> None:
    """Its marks are in the node's own table, and go with it."""
    full = FullTunnel(kill_switch=False)
    HostPlanner(journal).apply(replace(PLAN, full_tunnel=full))
    assert "lock" not in host.done
    assert "chain answer {" in host.texts[-1]


def test_kill_switch_that_is_refused_stops_the_rest(
    host: FakeHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is led into a tunnel that is not locked."""

    def refuse(text: str) -> None:
        raise HostError("no")

    monkeypatch.setattr(nft, "load", refuse)
    with pytest.raises(HostError):
        HostPlanner(journal).apply(LOCKED)
    assert host.done == []


def test_journal_does_not_grow(host: FakeHost, journal: Journal) -> None:
    """However many plans follow each other."""
    planner = HostPlanner(journal)
    planner.apply(ROUTED)
    before: list[Change] = journal.pending()
    for number in range(5):
        planner.apply(replace(ROUTED, mtu=1400 + number, filter=Filter(())))
    assert journal.pending() == before


def test_refused_rules_stop_the_rest(host: FakeHost, journal: Journal) -> None:
    """Without its filter a plan is not carried out at all, and nothing journalled."""
    host.refusal = HostError("nft is missing", errno=errno.ENOENT)
    planner = HostPlanner(journal)
    for needs in (
        replace(ROUTED, filter=Filter(())),
        replace(ROUTED, forwards=True),
    ):
        with pytest.raises(HostError, match="nft is missing"):
            planner.apply(needs)
    assert host.done == []
    assert journal.pending() == []


def test_missing_nft_costs_a_plain_member_the_guard_only(
    host: FakeHost, journal: Journal
) -> None:
    """It takes part all the same, and the user is told."""
    host.refusal = HostError("nft is missing", errno=errno.ENOENT)
    [conflict] = HostPlanner(journal).apply(PLAN)
    assert conflict.text == "overlay addresses are not guarded: nft is missing"
    assert host.done == ["routes"]


def test_other_refusals_are_errors_for_everybody(
    host: FakeHost, journal: Journal
) -> None:
    """Rules that the kernel does not take are no precaution to do without."""
    host.refusal = HostError("no", errno=errno.EINVAL)
    with pytest.raises(HostError):
        HostPlanner(journal).apply(PLAN)


def test_router_gets_the_rules_of_one(host: FakeHost, journal: Journal) -> None:
    """A host that forwards anyway would forward for the network, too."""
    planner = HostPlanner(journal)
    planner.apply(PLAN)
    assert "chain transit" not in host.texts[-1]
    host.forwards = True
    planner.apply(PLAN)
    assert "chain transit" in host.texts[-1]


def test_host_that_may_not_forward_says_so(
    host: FakeHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the rest of the plan still holds."""

    def refuse(key: str, value: str) -> None:
        raise HostError("read-only", errno=errno.EROFS)

    monkeypatch.setattr(sysctl, "write", refuse)
    conflicts = HostPlanner(journal).apply(replace(PLAN, forwards=True))
    assert conflicts == [Conflict(None, "nothing is forwarded: read-only")]
    assert host.done == ["rules", "routes"]


def test_withdrawing_tries_everything(
    host: FakeHost, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first; one failure does not hold up the others, and is told."""
    order: list[str] = []

    def undo(self: Change) -> str | None:
        order.append(type(self).__name__)
        if isinstance(self, DeleteRule):
            raise HostError("busy")
        return None

    planner = HostPlanner(journal)
    planner.apply(replace(ROUTED, forwards=True))
    for kind in (DeleteTable, DeleteRule, FlushRouteTable, RestoreSysctl):
        monkeypatch.setattr(kind, "undo", undo)
    monkeypatch.setattr(
        plan, "_remove_addresses", lambda plan: order.append("addresses")
    )
    with pytest.raises(HostError, match="not undone: busy"):
        planner.withdraw()
    assert order == [
        *("RestoreSysctl", "DeleteRule", "FlushRouteTable", "DeleteTable"),
        "addresses",
    ]
