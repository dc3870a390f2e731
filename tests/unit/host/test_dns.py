"""Which way the host's names go, and what is said where there is none."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from meshnode.host import dns as host_dns
from meshnode.host.dns import RESOLV_CONF, RESOLVED, DnsPlanner
from meshnode.host.journal import open_journal
from meshnode.hostplan import Dns, DnsManager, DnsState
from tests.unit.host.fake_bus import FakeBus

DNS = Dns("home", "mesh0", ("10.77.0.1",), ("home.mesh",))
BY_FILE = replace(DNS, manager=DnsManager.RESOLV_CONF)


@dataclass
class FakeLink:
    """An interface."""

    index: int = 7


@dataclass
class FakeHost:
    """A host with a bus and a resolv.conf; `planner` acts there."""

    bus: FakeBus
    file: Path
    planner: DnsPlanner


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    """A host where resolved runs, and programs ask it."""
    monkeypatch.setattr(host_dns.netlink, "link_by_name", lambda name: FakeLink())
    monkeypatch.setattr(host_dns, "_NSSWITCH", str(tmp_path / "nsswitch.conf"))
    (tmp_path / "nsswitch.conf").write_text("passwd: files\nhosts: files dns\n")
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.53\n")
    journal = open_journal("mesh0", tmp_path / "run")
    with FakeBus(tmp_path) as bus:
        yield FakeHost(bus, file, DnsPlanner(journal, path=str(file), bus=bus.path))
    journal.close()


@pytest.mark.parametrize("manager", [DnsManager.AUTO, DnsManager.RESOLVED])
def test_resolved_is_told_where_it_runs(host: FakeHost, manager: DnsManager) -> None:
    """Nothing is written."""
    assert host.planner.apply(replace(DNS, manager=manager)) == DnsState(RESOLVED)
    assert host.bus.links[7]["SetLinkDomains"] == [("home.mesh", False)]
    assert host.file.read_text() == "nameserver 127.0.0.53\n"


def test_way_to_resolved_is_checked(host: FakeHost, tmp_path: Path) -> None:
    """A resolv.conf that leads elsewhere is told, unless the C library knows a way."""
    host.file.write_text("nameserver 192.0.2.1\n")
    state = host.planner.apply(DNS)
    assert state.by == RESOLVED
    assert "does not lead to systemd-resolved" in state.problem
    (tmp_path / "nsswitch.conf").write_text("hosts: files resolve [!UNAVAIL=return]\n")
    assert host.planner.look(state) == DnsState(RESOLVED)


def test_without_resolved_nothing_is_written(host: FakeHost) -> None:
    """What can be done is said."""
    host.bus.is_running = False
    state = host.planner.apply(DNS)
    assert state.by == ""
    assert 'manage = "resolv.conf"' in state.problem
    assert host.planner.look(state) == state
    assert host.file.read_text() == "nameserver 127.0.0.53\n"


def test_refusal_is_told(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to end, nor is an interface that has just gone."""
    host.bus.refusal = "org.freedesktop.resolve1.LinkBusy"
    assert "so it is" in host.planner.apply(DNS).problem
    monkeypatch.setattr(host_dns.netlink, "link_by_name", lambda name: None)
    assert "mesh0 is gone" in host.planner.apply(DNS).problem


def test_file_is_written_if_it_is_asked_for(host: FakeHost) -> None:
    """Resolved is told nothing then, and what somebody else writes is noticed."""
    host.planner.apply(DNS)
    state = host.planner.apply(BY_FILE)
    assert state == DnsState(RESOLV_CONF)
    assert not host.bus.links
    assert "nameserver 10.77.0.1\n" in host.file.read_text()
    assert host.planner.look(state) == state
    host.file.write_text("nameserver 192.0.2.1\n")
    assert "somebody else wrote" in host.planner.look(state).problem
    assert host.planner.apply(BY_FILE) == DnsState(RESOLV_CONF)


@pytest.mark.parametrize("manager", [DnsManager.AUTO, DnsManager.OFF])
def test_file_is_given_back_if_it_is_not_asked_for_any_more(
    host: FakeHost, manager: DnsManager
) -> None:
    """Without a restart."""
    host.planner.apply(BY_FILE)
    host.planner.apply(replace(DNS, manager=manager))
    assert host.file.read_text() == "nameserver 127.0.0.53\n"
    assert bool(host.bus.links) is (manager is DnsManager.AUTO)


def test_off_is_off(host: FakeHost) -> None:
    """There is no problem in what nobody wants."""
    host.planner.apply(DNS)
    off = replace(DNS, manager=DnsManager.OFF)
    assert host.planner.apply(off) == DnsState()
    assert host.planner.look(DnsState()) == DnsState()
    assert not host.bus.links


def test_resolveds_own_file_is_not_written(
    host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes that at will."""
    monkeypatch.setattr(host_dns, "_OF_RESOLVED", str(tmp_path / "resolve"))
    (tmp_path / "resolve").mkdir()
    target = host.file.rename(tmp_path / "resolve" / "stub-resolv.conf")
    host.file.symlink_to(target)
    assert 'manage = "resolved"' in host.planner.apply(BY_FILE).problem
    assert target.read_text() == "nameserver 127.0.0.53\n"


def test_file_that_cannot_be_written(host: FakeHost) -> None:
    """Is told, and nothing else happens."""
    host.file.unlink()
    host.file.mkdir()
    assert "cannot read" in host.planner.apply(BY_FILE).problem
    assert "cannot read" in host.planner.look(DnsState(RESOLV_CONF)).problem
